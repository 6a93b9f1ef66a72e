/* SPDX-License-Identifier: Apache-2.0
 *
 * The wire format of the gate's resolver: one strict question in, one answer out (RFC 1035, EDNS of
 * RFC 6891). Pure: what a name means is the caller's.
 */
#ifndef NETNS_GATE_DNS_H
#define NETNS_GATE_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netns/gate_policy.h"

enum {
	GATE_DNS_QUERY_MAX = 1232, /* no honest query with one question is near it */
	GATE_DNS_ANSWER_MAX = 512, /* RFC 1035 §2.3.4: what every client takes, EDNS or not */
};

enum gate_dns_rcode {
	GATE_DNS_NOERROR = 0,
	GATE_DNS_FORMERR = 1,
	GATE_DNS_NXDOMAIN = 3,
	GATE_DNS_NOTIMP = 4,
	GATE_DNS_REFUSED = 5,
	GATE_DNS_BADVERS = 16, /* its upper bits travel in OPT */
};

enum { GATE_DNS_TYPE_A = 1, GATE_DNS_TYPE_OPT = 41 };

struct gate_dns_question {
	uint16_t id;
	bool recursion_desired;
	uint16_t type;
	uint16_t class;
	size_t bytes;	  /* of the question section, which starts at 12; 0 when it did not parse */
	bool is_hostname; /* every label is of letters, digits, '-' and '_' */
	bool has_edns;
	char name
		[GATE_NAME_BYTES]; /* folded; bytes that are no hostname's are '?': for the log only */
};

/* Reads a query. Returns -1 when it gets no answer at all (too short for a header, or itself a
 * response), else the rcode that its form asks for: NOERROR means go and look the name up. */
int gate_dns_parse(const uint8_t *query, size_t len, struct gate_dns_question *ret_question);

/* Writes the answer to `query` (the bytes that were parsed), with one A record of TTL 0 when
 * `address` (network order) is not NULL. Returns its length. */
size_t gate_dns_answer(const struct gate_dns_question *question, const uint8_t *query, int rcode,
		       const uint8_t *address, uint8_t out[static GATE_DNS_ANSWER_MAX]);

#endif
