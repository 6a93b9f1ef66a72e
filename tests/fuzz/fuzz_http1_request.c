/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer target of the reader of request heads. Beyond not crashing: a head means the same whole and
 * in pieces, what was refused stays refused whatever follows, and a head that is written anew from its
 * parts is read as the same one.
 *   clang -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -I. tests/fuzz/fuzz_http1_request.c
 *     proxy/http1_*.c proxy/authority.c base/str.c
 */
#include <stdlib.h>
#include <string.h>

#include "proxy/http1_grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
	if (!holds)
		abort();
}

static struct http1_request whole, other;
static struct http1_error error, other_error;

/* A copy as long as it says, so that a read beyond it is seen. */
static char *copy_of(const void *data, size_t size)
{
	char *copy = malloc(size ? size : 1);

	require(copy != NULL);
	memcpy(copy, data, size);
	return copy;
}

static void check_span(struct span span, const char *bytes, size_t len)
{
	static const char slash[] = "/";

	if (span.len == 1 && span.at[0] == slash[0])
		return; /* the path of a URL without one stands elsewhere */
	require(span.at >= bytes && span.at + span.len <= bytes + len);
}

static bool is_same(struct span a, struct span b)
{
	return a.len == b.len && !memcmp(a.at, b.at, a.len);
}

static void check_same(const struct http1_request *a, const struct http1_request *b)
{
	require(is_same(a->request.method, b->request.method));
	require(a->request.body == b->request.body);
	require(a->request.content_length == b->request.content_length);
	require(a->request.is_http11 == b->request.is_http11);
	require(a->request.expects_continue == b->request.expects_continue);
	require(a->wants_close == b->wants_close && a->is_connect == b->is_connect);
	require(a->request.fields.count == b->request.fields.count);
	for (size_t i = 0; i < a->request.fields.count; i++)
		require(is_same(a->fields[i].name, b->fields[i].name) &&
			is_same(a->fields[i].value, b->fields[i].value));
	require(is_same(a->request.target, b->request.target));
}

static void check_head(const struct http1_request *head, const char *bytes, size_t len)
{
	const struct request *request = &head->request;

	require(http1_is_token(request->method));
	check_span(request->target, bytes, len);
	require(head->is_connect || request->target.at[0] == '/' ||
		(request->target.len == 1 && request->target.at[0] == '*'));
	require(request->named_count <= 2);
	require(request->body != BODY_STREAM);
	for (size_t i = 0; i < request->fields.count; i++) {
		struct span name = head->fields[i].name, value = head->fields[i].value;
		check_span(name, bytes, len);
		require(http1_is_token(name) && http1_is_field_value(value));
		require(!value.len || is_same(http1_trim(value), value));
	}
}

/* Writes the head anew and reads that. */
static void check_rewritten(const struct http1_request *head)
{
	struct http1_scan scan = { 0 };
	struct buf out = { 0 };

	buf_append(&out, head->request.method.at, head->request.method.len);
	buf_puts(&out, " ");
	buf_append(&out, head->request.target.at, head->request.target.len);
	buf_puts(&out, head->request.is_http11 ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n");
	for (size_t i = 0; i < head->request.fields.count; i++)
		http1_write_field(&out, head->fields[i].name, head->fields[i].value);
	buf_puts(&out, "\r\n");
	ssize_t used = http1_parse_request(out.data, out.len, &scan, &other, &other_error);
	/* Anew it may be larger than is allowed: `: ` where only `:` was. */
	if (out.len <= HTTP1_HEAD_MAX) {
		require((size_t)used == out.len);
		check_same(head, &other);
	}
	buf_clear(&out);
}

/* A first piece of any length, and then little by little. */
static ssize_t parse_in_pieces(const uint8_t *data, size_t size, char **ret_copy)
{
	struct http1_scan scan = { 0 };
	size_t at = size ? data[0] % size : 0;
	ssize_t used = 0;

	for (; at <= size && !used; at += at > 512 && size - at > 97 ? 97 : 1) {
		free(*ret_copy);
		*ret_copy = copy_of(data, at);
		used = http1_parse_request(*ret_copy, at, &scan, &other, &other_error);
	}
	return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http1_scan scan = { 0 };
	char *bytes = copy_of(data, size), *pieces = NULL;
	ssize_t used = http1_parse_request(bytes, size, &scan, &whole, &error);

	require(used <= (ssize_t)size && used <= HTTP1_HEAD_MAX);
	ssize_t slowly = parse_in_pieces(data, size, &pieces);
	require(slowly == used);
	if (used > 0)
		check_same(&whole, &other);
	if (used < 0)
		require(error.status && error.reason && error.detail);
	if (used > 0) {
		check_head(&whole, bytes, (size_t)used);
		if (!whole.is_connect && !whole.is_absolute)
			check_rewritten(&whole);
	}
	free(bytes);
	free(pieces);
	return 0;
}
