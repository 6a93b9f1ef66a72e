/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer target of the reader of response heads; the first byte chooses the method. Beyond not
 * crashing: a head means the same whole and in pieces, no field of the connection or of framing is left,
 * and the body has one framing.
 *   clang -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -I. tests/fuzz/fuzz_http1_response.c
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

static struct http1_response whole, other;
static struct http1_error error;
static const struct span methods[] = { SPAN("GET"), SPAN("HEAD"), SPAN("CONNECT"), SPAN("POST") };

static char *copy_of(const void *data, size_t size)
{
	char *copy = malloc(size ? size : 1);

	require(copy != NULL);
	memcpy(copy, data, size);
	return copy;
}

static bool is_same(struct span a, struct span b)
{
	return a.len == b.len && !memcmp(a.at, b.at, a.len);
}

static void check_head(const struct http1_response *head, struct span method, const char *bytes,
		       size_t len)
{
	const struct response *response = &head->response;

	require(response->status >= 100 && response->status <= 999);
	require(http1_is_field_value(response->phrase));
	require(response->body != BODY_LENGTH || response->has_content_length);
	require(response->body != BODY_STREAM || head->wants_close);
	if (is_same(method, SPAN("HEAD")) || response->status < 200 || response->status == 204)
		require(response->body == BODY_NONE);
	for (size_t i = 0; i < response->fields.count; i++) {
		struct span name = response->fields.items[i].name;
		struct span value = response->fields.items[i].value;
		require(name.at >= bytes && value.at + value.len <= bytes + len);
		require(http1_is_token(name) && http1_is_field_value(value));
		enum http1_name is = http1_name_of(name);
		require(is == NAME_OTHER || is == NAME_HOST || is == NAME_EXPECT);
	}
}

static void check_pieces(const char *bytes, size_t size, struct span method, ssize_t wanted)
{
	struct http1_scan scan = { 0 };
	size_t at = size ? (uint8_t)bytes[size - 1] % size : 0;
	char *copy = NULL;
	ssize_t used = 0;

	for (; at <= size && !used; at += at > 512 && size - at > 97 ? 97 : 1) {
		free(copy);
		copy = copy_of(bytes, at);
		used = http1_parse_response(copy, at, &scan, method, &other, &error);
	}
	require(used == wanted);
	if (used > 0) {
		require(whole.response.status == other.response.status);
		require(whole.response.body == other.response.body);
		require(whole.response.content_length == other.response.content_length);
		require(whole.wants_close == other.wants_close);
		require(whole.response.fields.count == other.response.fields.count);
		for (size_t i = 0; i < whole.response.fields.count; i++)
			require(is_same(whole.fields[i].value, other.fields[i].value));
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http1_scan scan = { 0 };

	if (!size)
		return 0;
	struct span method = methods[data[0] % 4];
	size_t len = size - 1;
	char *bytes = copy_of(data + 1, len);
	ssize_t used = http1_parse_response(bytes, len, &scan, method, &whole, &error);
	require(used <= (ssize_t)len && used <= HTTP1_HEAD_MAX);
	if (used < 0)
		require(error.status == 502 && !strcmp(error.reason, "upstream_protocol"));
	if (used > 0)
		check_head(&whole, method, bytes, (size_t)used);
	check_pieces(bytes, len, method, used);
	free(bytes);
	return 0;
}
