/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer target of the reader of bodies; the first byte says of which kind. Beyond not crashing: the
 * content and the end are the same whole and in pieces, and chunked content that is written anew is read
 * as the same.
 *   clang -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -I. tests/fuzz/fuzz_http1_body.c
 *     proxy/http1_*.c proxy/authority.c base/str.c
 */
#include <stdlib.h>
#include <string.h>

#include "proxy/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
	if (!holds)
		abort();
}

struct outcome {
	int rc;
	bool done;
	size_t used;
	struct buf content;
};

static struct outcome read_body(struct http1_body body, const char *bytes, size_t len, size_t piece)
{
	struct outcome out = { 0 };
	struct http1_error error = { 0 };

	while (out.used < len && !out.rc && !body.done) {
		size_t size = len - out.used < piece ? len - out.used : piece;
		size_t used = 0, data_len = 0;
		const char *data = NULL;
		char *copy = malloc(size);
		require(copy != NULL);
		memcpy(copy, bytes + out.used, size);
		out.rc = http1_body_read(&body, copy, size, &used, &data, &data_len, &error);
		if (!out.rc) {
			require(used > 0 && used <= size && data_len <= used);
			require(data + data_len == copy + used);
			buf_append(&out.content, data, data_len);
			out.used += used;
		} else {
			require(error.status == (body.is_request ? 400u : 502u) && error.reason);
		}
		free(copy);
	}
	out.done = http1_body_end(&body);
	require(!(out.rc && out.done && body.kind == BODY_CHUNKED));
	return out;
}

static void check_same_content(const struct outcome *a, const struct outcome *b)
{
	require(a->content.len == b->content.len);
	require(!a->content.len || !memcmp(a->content.data, b->content.data, a->content.len));
}

static void check_rewritten(const struct outcome *read)
{
	struct http1_body body;
	struct buf out = { 0 };
	char head[20];

	if (read->content.len) {
		buf_append(&out, head, http1_chunk_head(head, read->content.len));
		buf_append(&out, read->content.data, read->content.len);
		buf_puts(&out, "\r\n");
	}
	buf_puts(&out, "0\r\n\r\n");
	http1_body_start(&body, BODY_CHUNKED, 0, true);
	struct outcome again = read_body(body, out.data, out.len, SIZE_MAX);
	require(again.done && again.used == out.len);
	check_same_content(read, &again);
	buf_clear(&again.content);
	buf_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum body_kind kinds[] = { BODY_CHUNKED, BODY_CHUNKED, BODY_LENGTH,
						BODY_STREAM };
	struct http1_body body;

	if (!size)
		return 0;
	http1_body_start(&body, kinds[data[0] & 3], data[0] >> 3, data[0] & 4);
	const char *bytes = (const char *)data + 1;
	struct outcome whole = read_body(body, bytes, size - 1, SIZE_MAX);
	struct outcome pieces = read_body(body, bytes, size - 1, 1 + data[0] % 7);
	require(whole.rc == pieces.rc && whole.done == pieces.done);
	require(whole.rc || whole.used == pieces.used);
	check_same_content(&whole, &pieces);
	if (whole.done)
		check_rewritten(&whole);
	buf_clear(&whole.content);
	buf_clear(&pieces.content);
	return 0;
}
