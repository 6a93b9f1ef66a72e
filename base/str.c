/* SPDX-License-Identifier: Apache-2.0
 * Strings; see str.h. Runs in: every process. */
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool buf_reserve(struct buf *buf, size_t more)
{
	size_t cap = buf->cap ? buf->cap : 256;
	char *grown;

	if (buf->failed || more > SIZE_MAX / 2 - buf->len - 1) {
		buf->failed = true;
		return false;
	}
	while (cap < buf->len + more + 1)
		cap *= 2;
	if (cap == buf->cap)
		return true;
	grown = realloc(buf->data, cap);
	if (!grown) {
		buf->failed = true;
		return false;
	}
	buf->data = grown;
	buf->cap = cap;
	return true;
}

void buf_append(struct buf *buf, const void *bytes, size_t len)
{
	if (!buf_reserve(buf, len))
		return;
	if (len)
		memcpy(buf->data + buf->len, bytes, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
}

void buf_puts(struct buf *buf, const char *text)
{
	buf_append(buf, text, strlen(text));
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0 || !buf_reserve(buf, (size_t)len)) {
		buf->failed = true;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(buf->data + buf->len, (size_t)len + 1, fmt, ap);
	va_end(ap);
	buf->len += (size_t)len;
}

void buf_quote(struct buf *buf, const char *text)
{
	buf_puts(buf, "'");
	for (; *text; text++)
		if (*text == '\'')
			buf_puts(buf, "'\\''");
		else
			buf_append(buf, text, 1);
	buf_puts(buf, "'");
}

void buf_clear(struct buf *buf)
{
	free(buf->data);
	*buf = (struct buf){ 0 };
}

static int strlist_take(struct strlist *list, char *owned)
{
	char **grown;

	if (!owned)
		return -ENOMEM;
	grown = realloc(list->items, (list->len + 2) * sizeof(*grown));
	if (!grown) {
		free(owned);
		return -ENOMEM;
	}
	list->items = grown;
	list->items[list->len++] = owned;
	list->items[list->len] = NULL;
	return 0;
}

int strlist_add(struct strlist *list, const char *text)
{
	return strlist_take(list, strdup(text));
}

int strlist_vaddf(struct strlist *list, const char *fmt, va_list ap)
{
	char *text = NULL;

	return strlist_take(list, vasprintf(&text, fmt, ap) < 0 ? NULL : text);
}

int strlist_addf(struct strlist *list, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = strlist_vaddf(list, fmt, ap);
	va_end(ap);
	return rc;
}

bool strlist_has(const struct strlist *list, const char *text)
{
	for (size_t i = 0; i < list->len; i++)
		if (strcmp(list->items[i], text) == 0)
			return true;
	return false;
}

void strlist_clear(struct strlist *list)
{
	for (size_t i = 0; i < list->len; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct strlist){ 0 };
}

char *str_printf(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	return len < 0 ? NULL : text;
}

bool str_starts(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *text, const char *suffix)
{
	size_t text_len = strlen(text), suffix_len = strlen(suffix);

	return text_len >= suffix_len && strcmp(text + text_len - suffix_len, suffix) == 0;
}

static size_t escape_one(char unit[static 5], unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	const char *named = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : NULL;

	if (named) {
		memcpy(unit, named, 2);
		return 2;
	}
	if (c >= 0x20 && c < 0x7f && c != '\\') {
		unit[0] = (char)c;
		return 1;
	}
	memcpy(unit, (char[]){ '\\', 'x', hex[c >> 4], hex[c & 15] }, 4);
	return 4;
}

char *str_escape(char *out, size_t out_size, const void *bytes, size_t len)
{
	const unsigned char *in = bytes;
	size_t used = 0;

	if (!out_size)
		return out;
	for (size_t i = 0; i < len; i++) {
		char unit[5];
		size_t unit_len = escape_one(unit, in[i]);

		/* Room for "..." and the NUL is kept until the last byte is seen to fit. */
		if (used + unit_len + (i + 1 < len ? 4 : 1) > out_size) {
			size_t dots = out_size - 1 - used < 3 ? out_size - 1 - used : 3;

			memcpy(out + used, "...", dots);
			used += dots;
			break;
		}
		memcpy(out + used, unit, unit_len);
		used += unit_len;
	}
	out[used] = '\0';
	return out;
}

enum { NEAREST_MAX = 64 };

static size_t edit_distance(const char *a, const char *b)
{
	size_t row[NEAREST_MAX + 1];
	size_t a_len = strlen(a), b_len = strlen(b);

	if (a_len > NEAREST_MAX || b_len > NEAREST_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[b_len];
}

const char *str_nearest(const char *text, const char *const *words)
{
	size_t best = 2 + strlen(text) / 4;
	const char *nearest = NULL;

	for (; *words; words++) {
		size_t distance = edit_distance(text, *words);

		/* `path_allow` for `path_allowlist`: a prefix counts as near. */
		if (strlen(text) >= 4 && str_starts(*words, text))
			distance = 1;
		if (distance < best) {
			best = distance;
			nearest = *words;
		}
	}
	return nearest;
}

int str_to_u64(const char *text, unsigned long long min, unsigned long long max,
	       unsigned long long *ret_value)
{
	unsigned long long value = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return -EINVAL;
		if (__builtin_mul_overflow(value, 10ULL, &value) ||
		    __builtin_add_overflow(value, (unsigned long long)(*text - '0'), &value))
			return -ERANGE;
	}
	if (value < min || value > max)
		return -ERANGE;
	*ret_value = value;
	return 0;
}
