/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors as values. A fallible function returns 0 or -errno and fills a `struct err`: the function
 * that knows the object writes the sentence, callers may put context in front of it, and only
 * who ends a program or a run by it prints it (log.h; in the proxy main.c and reload.c). The buffer is fixed, so reporting "out of memory"
 * needs none, and a child can send its error to its parent as it is.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum { ERR_TEXT_BYTES = 1024 };

struct err {
	char text[ERR_TEXT_BYTES]; /* one line, NUL-terminated, no trailing newline */
};

#define MUST_CHECK	       __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* Writes the sentence and returns -code (code > 0: an errno value). `err` may be NULL. */
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* As err_set, with ": <strerror(code)>" at the end. Pass errno itself as the code. */
int err_sys(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* As err_sys, of a fork(2) or clone(2): EAGAIN is a limit of processes, and which ones there are is said. */
int err_fork(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* As err_sys, of a folder of bottle's own that is to be made or written in: where that is refused, the
 * way out is said, which is the `variable` that leads to another folder. */
int err_folder(struct err *err, int code, const char *variable, const char *fmt, ...)
	PRINTF_LIKE(4, 5);

/* Puts "<context>: " in front of the sentence and returns `code` (negative) unchanged. */
int err_context(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The one control-flow macro of the tree: hands a failure up. */
#define TRY(expr)                       \
	do {                            \
		int try_rc_ = (expr);   \
		if (try_rc_ < 0)        \
			return try_rc_; \
	} while (0)

#endif
