/* SPDX-License-Identifier: Apache-2.0
 *
 * Searches this process's own memory for secrets. The needles are kept masked, so the search does
 * not find itself; the haystack is masked in a mapping of its own that is left out.
 */
#ifndef TESTS_LIB_MEMSCAN_H
#define TESTS_LIB_MEMSCAN_H

#include <stddef.h>
#include <stdint.h>

enum { MEMSCAN_NEEDLES = 128, MEMSCAN_NEEDLE_BYTES = 80, MEMSCAN_MASK = 0xa5 };

struct memscan {
	struct {
		const char *what;
		uint8_t masked[MEMSCAN_NEEDLE_BYTES];
		size_t len;
	} needles[MEMSCAN_NEEDLES];
	size_t count;
	int quiet; /* name no finds */
};

/* Adds a masked copy; `reversed` adds it last byte first. The caller wipes its own. */
void memscan_add(struct memscan *scan, const char *what, const void *bytes, size_t len,
		 int reversed);

/* Returns how many times a needle was found in readable memory (each is named on stderr), or -errno.
 * Mappings above 512 MiB (a sanitizer's shadow) are passed over. */
int memscan_self(const struct memscan *scan);

#endif
