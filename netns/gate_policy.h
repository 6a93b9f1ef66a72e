/* SPDX-License-Identifier: Apache-2.0
 *
 * What the gate may dial: which (name, port); base/address.h says which address. Pure: no system
 * call, no clock, no state but the table that is passed in.
 */
#ifndef NETNS_GATE_POLICY_H
#define NETNS_GATE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/err.h"
#include "netns/gate.h"

enum { GATE_NAME_BYTES = 256 }; /* a domain name as text is at most 253 bytes (RFC 1035 §2.3.4) */

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
