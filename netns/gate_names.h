/* SPDX-License-Identifier: Apache-2.0
 *
 * Names and their synthetic addresses. An address is given to one name and never to a second, so a
 * connection to it says which name is meant, however long a resolver or a proxy cached it.
 */
#ifndef NETNS_GATE_NAMES_H
#define NETNS_GATE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	GATE_NAMES_MAX = 4096,
	GATE_SYNTHETIC_BITS = 15,
};

#define GATE_SYNTHETIC_BASE 0xc6120000U /* 198.18.0.0, the benchmarking range of RFC 2544 */

struct gate_names {
	uint32_t base;	 /* host order; name i lives at base + 1 + i */
	char **names;	 /* GATE_NAMES_MAX, owned; filled from the front */
	uint16_t *slots; /* open hash: 1 + index, 0 free */
	size_t count;
};

int gate_names_init(struct gate_names *names, uint32_t base, struct err *err) MUST_CHECK;
void gate_names_clear(struct gate_names *names);

/* The address of a folded name, given now if it has none. 0, -ENOSPC when the table is full, or
 * -ENOMEM. */
int gate_names_address(struct gate_names *names, const char *name,
		       uint32_t *ret_address) MUST_CHECK;

bool gate_names_in_range(const struct gate_names *names, uint32_t address);

/* The name behind an address, or NULL. Lives as long as the table. */
const char *gate_names_at(const struct gate_names *names, uint32_t address);

#endif
