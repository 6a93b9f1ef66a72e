/* SPDX-License-Identifier: Apache-2.0
 *
 * IP addresses, and which of them may be dialled for somebody who is not trusted. Pure: no system call,
 * no clock, no state.
 */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

enum { ADDRESS_TEXT_BYTES = 64 };

/* An address. IPv4-mapped IPv6 never gets in: every constructor unmaps it, so what is judged is
 * what the kernel would dial. */
struct address {
	uint8_t bytes[16];
	uint8_t len; /* 4 or 16 */
	uint32_t scope_id;
};

enum address_class {
	ADDRESS_GLOBAL,	  /* global unicast by IANA's registries */
	ADDRESS_PRIVATE,  /* every other address that can be dialled: needs allow_private */
	ADDRESS_METADATA, /* a cloud's metadata service: needs `address` */
	ADDRESS_NEVER,	  /* unspecified, multicast, broadcast: dialling it means something else */
};

/* Parses an IPv4 or IPv6 literal (RFC 4291 text, no brackets, no zone). */
bool address_parse(const char *text, struct address *ret_ip) MUST_CHECK;
bool address_from_sockaddr(const struct sockaddr *sa, struct address *ret_ip) MUST_CHECK;
socklen_t address_to_sockaddr(const struct address *ip, uint16_t port,
			      struct sockaddr_storage *ret_ss);
const char *address_format(const struct address *ip, char out[static ADDRESS_TEXT_BYTES]);
bool address_equal(const struct address *a, const struct address *b);

/* The worst class of the address and of every IPv4 address that is embedded in it (NAT64, 6to4,
 * Teredo, ISATAP, IPv4-compatible). *ret_range names the range that decided; never NULL. */
enum address_class address_classify(const struct address *ip, const char **ret_range);

/* Why this address may not be dialled ("private_address", "metadata_address", "own_address",
 * "never_dialled"), or NULL when it may. `is_own`: the kernel would deliver it to this host. `named`:
 * the route's `address` says it. */
const char *address_refusal(const struct address *ip, bool is_own, bool allow_private, bool named,
			    const char **ret_range);

#endif
