/* SPDX-License-Identifier: Apache-2.0
 *
 * The readers of HTTP/1 as a filter, for tests/mitmproxy/test_same_http1.py. A question is a letter, a
 * length (32 bits, little-endian) and that many bytes; the answer is a line: `more`, `no STATUS REASON`,
 * or what was read, each text in hexadecimal. R: a request head; B, b: a chunked body of a request, of an
 * answer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/http1.h"

enum { BYTES_MAX = 1 << 20 };

static struct http1_request head;
static struct http1_error error;

static void print_hex(struct span text)
{
	putchar(' ');
	for (size_t i = 0; i < text.len; i++)
		printf("%02x", (unsigned char)text.at[i]);
	putchar('.');
}

static void print_authority(const struct authority *authority)
{
	printf(" %s|%u", authority->host, authority->port);
}

static void print_refusal(void)
{
	printf("no %u %s", error.status, error.reason);
}

static void print_head(ssize_t used)
{
	const struct request *request = &head.request;

	printf("ok %zd", used);
	print_hex(request->method);
	print_hex(request->target);
	printf(" %d %d %d", request->is_http11, head.is_absolute, head.is_absolute_https);
	if (head.is_connect)
		print_authority(&head.connect_target);
	for (size_t i = 0; i < request->named_count; i++)
		print_authority(&request->named[i]);
	if (request->body == BODY_CHUNKED)
		printf(" chunked");
	else
		printf(" %llu", (unsigned long long)request->content_length);
	for (size_t i = 0; i < request->fields.count; i++) {
		print_hex(request->fields.items[i].name);
		print_hex(request->fields.items[i].value);
	}
}

static void ask_request(char *bytes, size_t len)
{
	struct http1_scan scan = { 0 };
	ssize_t used = http1_parse_request(bytes, len, &scan, &head, &error);

	if (used < 0)
		print_refusal();
	else if (!used)
		printf("more");
	else
		print_head(used);
}

static void ask_body(const char *bytes, size_t len, bool is_request)
{
	struct http1_body body;
	struct buf content = { 0 };
	size_t at = 0;

	http1_body_start(&body, BODY_CHUNKED, 0, is_request);
	while (at < len && !body.done) {
		size_t used, data_len;
		const char *data;
		if (http1_body_read(&body, bytes + at, len - at, &used, &data, &data_len, &error) <
		    0) {
			print_refusal();
			buf_clear(&content);
			return;
		}
		buf_append(&content, data, data_len);
		at += used;
	}
	printf(body.done ? "ok %zu" : "more", at);
	if (body.done)
		print_hex((struct span){ content.data, content.len });
	buf_clear(&content);
}

int main(void)
{
	static char bytes[BYTES_MAX];
	unsigned char lead[5];

	while (fread(lead, sizeof(lead), 1, stdin) == 1) {
		size_t len = lead[1] | (size_t)lead[2] << 8 | (size_t)lead[3] << 16 |
			     (size_t)lead[4] << 24;
		if (len > sizeof(bytes) || fread(bytes, 1, len, stdin) != len)
			return EXIT_FAILURE;
		if (lead[0] == 'R')
			ask_request(bytes, len);
		else
			ask_body(bytes, len, lead[0] == 'B');
		putchar('\n');
	}
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
