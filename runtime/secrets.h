/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokens and the CA key: one mapping, the only place in the launcher where they stand. Locked in
 * memory, absent in forked children (MADV_DONTFORK), absent in core dumps (MADV_DONTDUMP), with a
 * page without access on either side. The launcher's first act moves the tokens there and wipes
 * the environment block they came from, which /proc/<pid>/environ shows.
 *
 * Runs in: the launcher; environ_wipe in its children too.
 */
#ifndef RUNTIME_SECRETS_H
#define RUNTIME_SECRETS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct secrets {
	char *base;  /* first usable byte; NULL: not initialised */
	size_t size; /* usable bytes */
	size_t used;
	bool locked; /* false: RLIMIT_MEMLOCK is too small, pages may go to swap; worth a warning */
	char also_in[64]; /* a variable that held a token's value too and was emptied, or "" */
};

/* A variable and who wants it, for the sentence: { "GITHUB_TOKEN", "egress.routes[0].auth" }. */
struct secret_ref {
	const char *name;
	const char *where; /* or NULL */
};

enum { SECRETS_BYTES = 64 * 1024 }; /* what the oldest default of RLIMIT_MEMLOCK allows */

int secrets_init(struct secrets *secrets, struct err *err) MUST_CHECK;

/* Moves the values of these variables out of the environment: into the mapping, and the names out
 * of `environ`; every string of the block with such a name is zeroed (also a second one), and every
 * other place in the block where one of the values (of 8 bytes or more) stands. A variable that is
 * unset or empty, or a value that is shorter than 4 bytes or has CR, LF or a control character, is an
 * error that names it and leaves the environment wiped all the same. Call before anything changed
 * `environ`. */
int secrets_take_env(struct secrets *secrets, const struct secret_ref *refs, size_t count,
		     struct err *err) MUST_CHECK;

/* The value, NUL-terminated, in the mapping; NULL when not there. ret_len may be NULL. */
const char *secrets_get(const struct secrets *secrets, const char *name, size_t *ret_len);

/* Room in the mapping (for the CA's PEM), zeroed, aligned to 16; NULL when it is full. */
void *secrets_alloc(struct secrets *secrets, size_t size);

/* Whether a token (of 8 bytes or more) stands in these bytes: for what is about to be written. */
bool secrets_found_in(const struct secrets *secrets, const void *bytes, size_t len);

/* Zeroes and unmaps all. */
void secrets_wipe(struct secrets *secrets);

/* PR_SET_DUMPABLE 0 (no core, no ptrace and no /proc/<pid>/mem for the same uid) and limits_no_core();
 * for what becomes dumpable again by an execve, the proxy, also a filter of core dumps that leaves out
 * all memory: it is inherited.
 * /proc/self then belongs to root: open what you need of it before. */
int secrets_no_dump(struct err *err) MUST_CHECK;

/* Zeroes the strings of the whole environment block and empties `environ`; for forked children. */
void environ_wipe(void);

#endif
