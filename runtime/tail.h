/* SPDX-License-Identifier: Apache-2.0
 *
 * The end of what the proxy printed, for the error that says how it ended. Hostile: escape it.
 *
 * Runs in: the launcher, with either backend.
 */
#ifndef RUNTIME_TAIL_H
#define RUNTIME_TAIL_H

#include <stddef.h>

enum { TAIL_BYTES = 4096 };

struct tail {
	char bytes[TAIL_BYTES]; /* the oldest go first */
	size_t len;
};

void tail_append(struct tail *tail, const char *bytes, size_t len);

/* Its last three lines, of at most 600 bytes, escaped; "" when nothing was printed. */
void tail_text(const struct tail *tail, char *out, size_t out_size);

#endif
