/* SPDX-License-Identifier: Apache-2.0
 *
 * The real credentials: taken out of the environment first thing, or out of what came on standard input,
 * whose bytes are then overwritten, kept in one mapping (mlock where allowed, MADV_DONTDUMP, MADV_DONTFORK), wiped at exit. A value leaves
 * here only into the buffer of a request that goes out.
 */
#ifndef PROXY_TOKENS_H
#define PROXY_TOKENS_H

#include "base/err.h"
#include "proxy/message.h"

enum { TOKENS_MAX = 1024 + 1 }; /* one for each route that may be, and the upstream proxy's */

struct tokens {
	char *arena; /* the mapping */
	size_t arena_size, used;
	struct token {
		unsigned slot; /* EGRESS_PROXY_TOKEN_<slot> */
		struct span value;
	} items[TOKENS_MAX]; /* by slot */
	size_t count;
};

/* Takes every EGRESS_PROXY_TOKEN_n out of environ and wipes it there (proc(5), environ), also when it
 * fails. Nothing may have called setenv(3) before. An error names the variable, never the value: one
 * with CR, LF or a byte that no field value may have. A variable that is empty has no value. */
int tokens_take(struct tokens *ret_tokens, struct err *err) MUST_CHECK;

/* The same out of lines `EGRESS_PROXY_TOKEN_n=value`, each with its LF, which are overwritten too. A line that is
 * none of these is an error. */
int tokens_take_lines(char *lines, size_t len, struct tokens *ret_tokens,
		      struct err *err) MUST_CHECK;

/* The value of `env` (EGRESS_PROXY_TOKEN_<i>), or an empty span. */
struct span tokens_find(const struct tokens *tokens, const char *env);

/* Writes a credential as a field value: the token alone (scheme NULL), `Bearer t`, `token t`, or `Basic
 * b64`, as decision.py's credential_value; no NUL after it. Returns the length, or -ENOSPC. */
int tokens_write_credential(struct span token, const char *scheme, char *out,
			    size_t size) MUST_CHECK;

/* How many bytes always suffice for it, whatever the scheme. */
size_t tokens_credential_bound(struct span token);

void tokens_wipe(struct tokens *tokens);

#endif
