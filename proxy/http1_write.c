/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing HTTP/1. Runs in: the proxy's worker. Pure: holds nothing. Every part comes from a parser of
 * this proxy or from its own text, so no byte here can end a line too early.
 */
#include <stdio.h>
#include <string.h>

#include "proxy/http1.h"

/* For answers that came by HTTP/2, which has no phrases, and for the proxy's own. */
static const struct {
	unsigned status;
	struct span phrase;
} phrases[] = {
	{ 100, SPAN("Continue") },
	{ 101, SPAN("Switching Protocols") },
	{ 103, SPAN("Early Hints") },
	{ 200, SPAN("OK") },
	{ 201, SPAN("Created") },
	{ 202, SPAN("Accepted") },
	{ 204, SPAN("No Content") },
	{ 206, SPAN("Partial Content") },
	{ 301, SPAN("Moved Permanently") },
	{ 302, SPAN("Found") },
	{ 303, SPAN("See Other") },
	{ 304, SPAN("Not Modified") },
	{ 307, SPAN("Temporary Redirect") },
	{ 308, SPAN("Permanent Redirect") },
	{ 400, SPAN("Bad Request") },
	{ 401, SPAN("Unauthorized") },
	{ 403, SPAN("Forbidden") },
	{ 404, SPAN("Not Found") },
	{ 409, SPAN("Conflict") },
	{ 421, SPAN("Misdirected Request") },
	{ 429, SPAN("Too Many Requests") },
	{ 431, SPAN("Request Header Fields Too Large") },
	{ 500, SPAN("Internal Server Error") },
	{ 502, SPAN("Bad Gateway") },
	{ 503, SPAN("Service Unavailable") },
	{ 504, SPAN("Gateway Timeout") },
};

static struct span usual_phrase(unsigned status)
{
	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
		if (phrases[i].status == status)
			return phrases[i].phrase;
	return (struct span){ "", 0 };
}

void http1_write_status(struct buf *out, unsigned status, struct span phrase)
{
	char line[] = "HTTP/1.1 000 ";

	if (!phrase.len)
		phrase = usual_phrase(status);
	for (size_t i = 0; i < 3; i++, status /= 10)
		line[11 - i] = (char)('0' + status % 10);
	buf_append(out, line, sizeof(line) - 1);
	buf_append(out, phrase.at, phrase.len);
	buf_append(out, "\r\n", 2);
}

void http1_write_field(struct buf *out, struct span name, struct span value)
{
	buf_append(out, name.at, name.len);
	buf_append(out, ": ", 2);
	buf_append(out, value.at, value.len);
	buf_append(out, "\r\n", 2);
}

size_t http1_chunk_head(char out[static 20], size_t len)
{
	char digits[16];
	size_t count = 0, written = 0;

	do {
		digits[count++] = "0123456789abcdef"[len & 15];
		len >>= 4;
	} while (len);
	while (count)
		out[written++] = digits[--count];
	out[written++] = '\r';
	out[written++] = '\n';
	return written;
}
