/* SPDX-License-Identifier: Apache-2.0
 *
 * Strings: a growing byte buffer, a list of owned strings, escaping of hostile bytes, and the
 * nearest word for "did you mean".
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* A growing byte buffer; `data` is NUL-terminated past `len` whenever it is not NULL.
 * Zero-initialise. An append that finds no memory sets `failed` and later ones do nothing, so a
 * renderer appends freely and checks once. */
struct buf {
	char *data;
	size_t len;
	size_t cap;
	bool failed;
};

void buf_append(struct buf *buf, const void *bytes, size_t len);
void buf_puts(struct buf *buf, const char *text);
void buf_printf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_quote(struct buf *buf, const char *text); /* one word, in single quotes, for a shell */
void buf_clear(struct buf *buf);		   /* frees the contents */

/* A NULL-terminated list of owned strings (fit for argv and envp). Zero-initialise. */
struct strlist {
	char **items;
	size_t len;
};

/* Copies `text`; 0 or -ENOMEM. */
int strlist_add(struct strlist *list, const char *text) MUST_CHECK;
int strlist_vaddf(struct strlist *list, const char *fmt, va_list ap) MUST_CHECK;
int strlist_addf(struct strlist *list, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_CHECK;
bool strlist_has(const struct strlist *list, const char *text);
void strlist_clear(struct strlist *list);

/* malloc'd printf; NULL when out of memory. */
char *str_printf(const char *fmt, ...) PRINTF_LIKE(1, 2);

bool str_starts(const char *text, const char *prefix);
bool str_ends(const char *text, const char *suffix);

/* Writes `len` bytes of anything as printable ASCII into out[out_size]: C0, DEL, backslash and all
 * bytes ≥ 0x80 as \xNN (\t \n \r by name); cut with "..." when out is too small. Returns `out`. */
char *str_escape(char *out, size_t out_size, const void *bytes, size_t len);

/* The word of the NULL-terminated `words` nearest to `text` (edit distance ≤ 1 + length/4), or NULL. */
const char *str_nearest(const char *text, const char *const *words);

/* Parses a whole decimal number in [min, max], nothing before or after it; 0, -EINVAL or -ERANGE. */
int str_to_u64(const char *text, unsigned long long min, unsigned long long max,
	       unsigned long long *ret_value) MUST_CHECK;

#endif
