/* SPDX-License-Identifier: Apache-2.0
 *
 * A token as a field value: tokens_write_credential of tokens.h. Runs in: the proxy's worker. Pure.
 * Holds: one token, while it writes it; no copy stays on the stack.
 *
 * A token for Basic is `user:password`, its base64, or a bare token, which then is the password of
 * `x-access-token` (what GitHub wants; other forges take any user).
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "proxy/tokens.h"

static const struct span BARE_USER = SPAN("x-access-token:");
static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Bytes on their way out. */
struct writer {
	char *out;
	size_t size, len;
	bool is_full;
};

static void put(struct writer *writer, struct span text)
{
	if (text.len > writer->size - writer->len) {
		writer->is_full = true;
		return;
	}
	memcpy(writer->out + writer->len, text.at, text.len);
	writer->len += text.len;
}

/* Byte `i` of two texts, one after the other. */
static unsigned byte_of(struct span first, struct span second, size_t i)
{
	return (unsigned char)(i < first.len ? first.at[i] : second.at[i - first.len]);
}

/* Base64 (RFC 4648, 4) of two texts, one after the other. */
static void put_base64(struct writer *writer, struct span first, struct span second)
{
	size_t len = first.len + second.len;

	for (size_t i = 0; i < len; i += 3) {
		size_t count = len - i < 3 ? len - i : 3;
		unsigned bits = 0;
		char quad[4] = "====";
		for (size_t j = 0; j < 3; j++)
			bits = bits << 8 | (j < count ? byte_of(first, second, i + j) : 0);
		for (size_t j = 0; j <= count; j++)
			quad[j] = DIGITS[bits >> (18 - 6 * j) & 63];
		put(writer, (struct span){ quad, sizeof(quad) });
		explicit_bzero(quad, sizeof(quad));
	}
}

static int digit_value(char c)
{
	const char *found = c ? strchr(DIGITS, c) : NULL;

	return found ? (int)(found - DIGITS) : -1;
}

/* Whether a token is the base64 of `user:password` in printable ASCII. */
static bool is_basic(struct span token)
{
	size_t len = token.len;
	bool has_colon = false;
	unsigned bits = 0;

	if (!len || len % 4)
		return false;
	len -= token.at[len - 1] == '=';
	len -= token.at[len - 1] == '=';
	for (size_t i = 0; i < len; i++) {
		int value = digit_value(token.at[i]);
		if (value < 0)
			return false;
		bits = bits << 6 | (unsigned)value;
		unsigned byte = bits >> (6 - 2 * (i % 4)) & 0xff;
		if (i % 4 && (byte < 0x20 || byte > 0x7e))
			return false;
		has_colon |= i % 4 && byte == ':';
	}
	return has_colon;
}

static void put_basic(struct writer *writer, struct span token)
{
	bool has_user = token.len && memchr(token.at, ':', token.len);

	if (is_basic(token))
		put(writer, token);
	else
		put_base64(writer, has_user ? (struct span){ "", 0 } : BARE_USER, token);
}

int tokens_write_credential(struct span token, const char *scheme, char *out, size_t size)
{
	struct writer writer = { out, size, 0, false };

	if (scheme) {
		put(&writer, (struct span){ scheme, strlen(scheme) });
		put(&writer, SPAN(" "));
	}
	if (scheme && !strcmp(scheme, "Basic"))
		put_basic(&writer, token);
	else
		put(&writer, token);
	return writer.is_full ? -ENOSPC : (int)writer.len;
}

size_t tokens_credential_bound(struct span token)
{
	return sizeof("Bearer ") + (BARE_USER.len + token.len + 2) / 3 * 4;
}
