/* SPDX-License-Identifier: Apache-2.0
 * Names and their synthetic addresses; see gate_names.h. Runs in: the gate. Pure but for malloc. */
#include "netns/gate_names.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 2 * GATE_NAMES_MAX }; /* at most half full, so a probe always ends */
static_assert(GATE_NAMES_MAX < UINT16_MAX, "a slot holds 1 + index");
static_assert(GATE_NAMES_MAX + 1 < 1 << (32 - GATE_SYNTHETIC_BITS), "the range holds the table");

int gate_names_init(struct gate_names *names, uint32_t base, struct err *err)
{
	*names = (struct gate_names){
		.base = base,
		.names = calloc(GATE_NAMES_MAX, sizeof(*names->names)),
		.slots = calloc(SLOTS, sizeof(*names->slots)),
	};
	if (names->names && names->slots)
		return 0;
	gate_names_clear(names);
	return err_set(err, ENOMEM, "gate: no memory for the table of names");
}

void gate_names_clear(struct gate_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->names[i]);
	free(names->names);
	free(names->slots);
	*names = (struct gate_names){ 0 };
}

static uint32_t hash(const char *name)
{
	uint32_t h =
		2166136261U; /* FNV-1a; a crafted collision costs at most GATE_NAMES_MAX probes */

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 16777619U;
	return h;
}

/* The slot that holds the name, or the free one where it belongs. */
static uint16_t *find_slot(const struct gate_names *names, const char *name)
{
	size_t at = hash(name) % SLOTS;

	while (names->slots[at] && strcmp(names->names[names->slots[at] - 1], name) != 0)
		at = (at + 1) % SLOTS;
	return &names->slots[at];
}

int gate_names_address(struct gate_names *names, const char *name, uint32_t *ret_address)
{
	uint16_t *slot = find_slot(names, name);
	char *owned;

	if (!*slot) {
		if (names->count == GATE_NAMES_MAX)
			return -ENOSPC;
		owned = strdup(name);
		if (!owned)
			return -ENOMEM;
		names->names[names->count++] = owned;
		*slot = (uint16_t)names->count;
	}
	*ret_address = names->base + *slot;
	return 0;
}

bool gate_names_in_range(const struct gate_names *names, uint32_t address)
{
	return (address ^ names->base) >> (32 - GATE_SYNTHETIC_BITS) == 0;
}

const char *gate_names_at(const struct gate_names *names, uint32_t address)
{
	uint32_t index = address - names->base -
			 1; /* wraps below the base, and then is too large */

	return index < names->count ? names->names[index] : NULL;
}
