/* SPDX-License-Identifier: Apache-2.0
 *
 * What the gate may dial: which (name, port), which address. Pure: no system call, no clock, no
 * state but the table that is passed in.
 */
#ifndef NETNS_GATE_POLICY_H
#define NETNS_GATE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "netns/gate.h"

enum {
	GATE_NAME_BYTES = 256, /* a domain name as text is at most 253 bytes (RFC 1035 §2.3.4) */
	GATE_IP_TEXT_BYTES = 64,
};

/* An address. IPv4-mapped IPv6 never gets in: every constructor unmaps it, so what is judged is
 * what the kernel would dial. */
struct gate_ip {
	uint8_t bytes[16];
	uint8_t len; /* 4 or 16 */
	uint32_t scope_id;
};

enum gate_class {
	GATE_CLASS_GLOBAL,   /* global unicast by IANA's registries */
	GATE_CLASS_PRIVATE,  /* every other address that can be dialled: needs allow_private */
	GATE_CLASS_METADATA, /* a cloud's metadata service: needs `address` */
	GATE_CLASS_NEVER, /* unspecified, multicast, broadcast: dialling it means something else */
};

/* Parses an IPv4 or IPv6 literal (RFC 4291 text, no brackets, no zone). */
bool gate_ip_parse(const char *text, struct gate_ip *ret_ip) MUST_CHECK;
bool gate_ip_from_sockaddr(const struct sockaddr *sa, struct gate_ip *ret_ip) MUST_CHECK;
socklen_t gate_ip_to_sockaddr(const struct gate_ip *ip, uint16_t port,
			      struct sockaddr_storage *ret_ss);
const char *gate_ip_format(const struct gate_ip *ip, char out[static GATE_IP_TEXT_BYTES]);
bool gate_ip_equal(const struct gate_ip *a, const struct gate_ip *b);

/* The worst class of the address and of every IPv4 address that is embedded in it (NAT64, 6to4,
 * Teredo, ISATAP, IPv4-compatible). *ret_range names the range that decided; never NULL. */
enum gate_class gate_ip_classify(const struct gate_ip *ip, const char **ret_range);

/* Why this address may not be dialled ("private_address", "metadata_address", "own_address",
 * "never_dialled"), or NULL when it may. `is_own`: the kernel would deliver it to this host. `named`:
 * the route's `address` says it. */
const char *gate_ip_refusal(const struct gate_ip *ip, bool is_own, bool allow_private, bool named,
			    const char **ret_range);

/* Lower case, without a final dot. False when it is empty or too long. */
bool gate_name_fold(const char *name, char ret_name[static GATE_NAME_BYTES]) MUST_CHECK;

/* The table, owned: hosts are folded, literals in their canonical text. */
struct gate_policy {
	struct gate_target *targets;
	size_t count;
};

int gate_policy_init(struct gate_policy *policy, const struct gate_target *targets, size_t count,
		     struct err *err) MUST_CHECK;
void gate_policy_clear(struct gate_policy *policy);

/* The most specific host that matches: the exact one, else the longest "*.suffix", which never
 * matches its apex nor an IP literal. Any port. NULL when the name is not routed. `name` is folded. */
const struct gate_target *gate_policy_match(const struct gate_policy *policy, const char *name);

/* The target of that most specific host which has this port, or NULL. A less specific host that has
 * the port does not count: routes of one name are not mixed with a wildcard's. */
const struct gate_target *gate_policy_find(const struct gate_policy *policy, const char *name,
					   uint16_t port);

#endif
