/* SPDX-License-Identifier: Apache-2.0
 * Bodies in all framings, in pieces of every size; what is refused; what is written. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/http1.h"

static struct http1_error error;

struct outcome {
	int rc;
	bool done;
	size_t used;
	struct buf content;
};

/* Reads `piece` bytes at a time, each time out of a block of their own. */
static struct outcome read_body(enum body_kind kind, uint64_t length, bool is_request,
				const char *bytes, size_t len, size_t piece)
{
	struct outcome out = { 0 };
	struct http1_body body;

	http1_body_start(&body, kind, length, is_request);
	while (out.used < len && !out.rc && !body.done) {
		size_t size = len - out.used < piece ? len - out.used : piece, at = 0;
		char *copy = malloc(size);
		memcpy(copy, bytes + out.used, size);
		while (at < size) {
			size_t used = 0, data_len = 0;
			const char *data;
			out.rc = http1_body_read(&body, copy + at, size - at, &used, &data,
						 &data_len, &error);
			if (out.rc || !used)
				break;
			cr_assert(data_len <= used && data + data_len == copy + at + used);
			buf_append(&out.content, data, data_len);
			at += used;
		}
		free(copy);
		out.used += at;
	}
	out.done = http1_body_end(&body);
	return out;
}

#define GOOD(bytes, content)                            \
	{                                               \
		bytes, sizeof(bytes) - 1, content, NULL \
	}
#define BAD(bytes, content, reason)                       \
	{                                                 \
		bytes, sizeof(bytes) - 1, content, reason \
	}
#define TEN	      "xxxxxxxxxx"
#define HUNDRED	      TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define THOUSAND      HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED
#define MANY_TRAILERS "X: " THOUSAND "\r\nY: " THOUSAND "\r\n"

static const struct {
	const char *bytes;
	size_t len;
	const char *content;
	const char *reason;
} chunked[] = {
	GOOD("0\r\n\r\n", ""),
	GOOD("000\r\n\r\n", ""),
	GOOD("5\r\nhello\r\n0\r\n\r\n", "hello"),
	GOOD("5\r\nhello\r\n1;ext=1\r\n!\r\n0\r\nX-Trailer: dropped\r\n\r\n", "hello!"),
	GOOD("000000000000005\r\nhello\r\n0\r\n\r\n", "hello"),
	GOOD("A\r\n0123456789\r\n00b\r\n0123456789a\r\n0;x\r\nA:b\r\nC:\r\n\r\n",
	     "01234567890123456789a"),
	GOOD("2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
	GOOD("1 ;a=\"b\"\r\nx\r\n0\r\n\r\n", "x"),
	GOOD("1;" THOUSAND "\r\nx\r\n0\r\n\r\n", "x"),
	BAD("zz\r\n", "", "bad_chunk"),
	BAD("\r\n", "", "bad_chunk"),
	BAD(";a\r\n", "", "bad_chunk"),
	BAD(" 5\r\n", "", "bad_chunk"),
	BAD("0x5\r\n", "", "bad_chunk"),
	BAD("-5\r\n", "", "bad_chunk"),
	BAD("+5\r\n", "", "bad_chunk"),
	BAD("5_0\r\n", "", "bad_chunk"),
	BAD("5\n", "", "bad_chunk"),
	BAD("5\rh", "", "bad_chunk"),
	BAD("5;a\n", "", "bad_chunk"),
	BAD("5;a\rb", "", "bad_chunk"),
	BAD("5;a\0", "", "bad_chunk"),
	BAD("5 5\r\n", "", "bad_chunk"),
	BAD("5 x\r\n", "", "bad_chunk"),
	BAD("5\0\r\n", "", "bad_chunk"),
	BAD("8000000000000000\r\n", "", "bad_chunk"),
	BAD("ffffffffffffffff\r\n", "", "bad_chunk"),
	BAD("10000000000000005\r\n", "", "bad_chunk"),
	BAD("0000000000000005\r\n", "", "bad_chunk"),
	BAD("1;" THOUSAND HUNDRED "\r\n", "", "bad_chunk"),
	BAD("3\r\nhello\r\n0\r\n\r\n", "hel", "bad_chunk"),
	BAD("5\r\nhello\n0\r\n\r\n", "hello", "bad_chunk"),
	BAD("5\r\nhello\r0\r\n\r\n", "hello", "bad_chunk"),
	BAD("5\r\nhello0\r\n\r\n", "hello", "bad_chunk"),
	BAD("5\r\nhello\r\n\r\n", "hello", "bad_chunk"),
	BAD("0\r\n\n", "", "bad_field"),
	BAD("0\r\n\rX", "", "bad_chunk"),
	BAD("0\r\n X: a\r\n\r\n", "", "obs_fold"),
	BAD("0\r\nX: a\r\n b\r\n\r\n", "", "obs_fold"),
	BAD("0\r\nX : a\r\n\r\n", "", "bad_field"),
	BAD("0\r\nX\r\n\r\n", "", "bad_field"),
	BAD("0\r\n: a\r\n\r\n", "", "bad_field"),
	BAD("0\r\nX: a\n\r\n", "", "bad_field"),
	BAD("0\r\nX: a\rb\r\n", "", "bad_chunk"),
	BAD("0\r\nX: \0\r\n\r\n", "", "bad_field"),
	BAD("0\r\nGET /hidden HTTP/1.1\r\n\r\n", "", "bad_field"),
	BAD("0\r\n" MANY_TRAILERS MANY_TRAILERS MANY_TRAILERS MANY_TRAILERS MANY_TRAILERS
		    MANY_TRAILERS MANY_TRAILERS MANY_TRAILERS MANY_TRAILERS,
	    "", "bad_chunk"),
};

Test(proxy_http1_body, chunks_are_read_strictly_in_pieces_of_every_size)
{
	for (size_t i = 0; i < sizeof(chunked) / sizeof(chunked[0]); i++)
		for (size_t piece = 1; piece < 64; piece++) {
			struct outcome out = read_body(BODY_CHUNKED, 0, true, chunked[i].bytes,
						       chunked[i].len, piece);
			cr_assert_eq(out.content.len, strlen(chunked[i].content), "row %zu", i);
			cr_assert(!memcmp(out.content.data ? out.content.data : "",
					  chunked[i].content, out.content.len),
				  "row %zu", i);
			cr_assert_eq(out.rc, chunked[i].reason ? -EPROTO : 0, "row %zu", i);
			cr_assert_eq(out.done, !chunked[i].reason, "row %zu", i);
			if (chunked[i].reason) {
				cr_assert_str_eq(error.reason, chunked[i].reason, "row %zu", i);
				cr_assert_eq(error.status, 400);
			} else {
				cr_assert_eq(out.used, chunked[i].len);
			}
			buf_clear(&out.content);
		}
}

Test(proxy_http1_body, what_follows_the_last_chunk_is_not_touched)
{
	static const char bytes[] = "1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n";
	struct outcome out = read_body(BODY_CHUNKED, 0, true, bytes, sizeof(bytes) - 1, 4096);

	cr_assert(out.done && out.used == 11 && out.content.len == 1);
	buf_clear(&out.content);
}

Test(proxy_http1_body, an_answer_may_pad_its_sizes_and_is_refused_with_502)
{
	static const char padded[] = "5  \r\nhello\r\n0 \r\n\r\n", bad[] = "5 5\r\n";

	struct outcome out = read_body(BODY_CHUNKED, 0, false, padded, sizeof(padded) - 1, 3);
	cr_assert(out.done && out.content.len == 5);
	buf_clear(&out.content);
	out = read_body(BODY_CHUNKED, 0, true, padded, sizeof(padded) - 1, 3);
	cr_assert(out.rc == -EPROTO && error.status == 400);
	buf_clear(&out.content);
	out = read_body(BODY_CHUNKED, 0, false, bad, sizeof(bad) - 1, 3);
	cr_assert_eq(out.rc, -EPROTO);
	cr_assert(error.status == 502 && !strcmp(error.reason, "upstream_protocol"));
	buf_clear(&out.content);
}

Test(proxy_http1_body, a_length_is_kept_to)
{
	for (size_t piece = 1; piece < 16; piece++) {
		struct outcome out = read_body(BODY_LENGTH, 5, true, "hello!", 6, piece);
		cr_assert(out.done && out.used == 5 && !memcmp(out.content.data, "hello", 5));
		buf_clear(&out.content);
		out = read_body(BODY_LENGTH, 7, true, "hello!", 6, piece);
		cr_assert(!out.done && out.used == 6);
		buf_clear(&out.content);
	}
}

Test(proxy_http1_body, a_stream_ends_with_its_connection_and_nothing_is_at_its_end_at_once)
{
	struct outcome out = read_body(BODY_STREAM, 0, false, "hello!", 6, 4);
	struct http1_body body;

	cr_assert(out.done && out.used == 6 && out.content.len == 6);
	buf_clear(&out.content);
	http1_body_start(&body, BODY_NONE, 5, true);
	cr_assert(body.done);
	http1_body_start(&body, BODY_LENGTH, 0, true);
	cr_assert(body.done);
	http1_body_start(&body, BODY_CHUNKED, 0, true);
	cr_assert(!body.done && !http1_body_end(&body));
	http1_body_start(&body, BODY_STREAM, 0, true);
	cr_assert(!body.done);
}

Test(proxy_http1_body, a_body_cut_off_anywhere_is_not_whole)
{
	static const char bytes[] = "5\r\nhello\r\n0\r\nX: a\r\n\r\n";

	for (size_t len = 0; len < sizeof(bytes) - 1; len++) {
		struct outcome out = read_body(BODY_CHUNKED, 0, true, bytes, len, 64);
		cr_assert(!out.rc && !out.done && out.used == len, "%zu", len);
		buf_clear(&out.content);
	}
}

Test(proxy_http1_body, lines_and_chunks_are_written)
{
	struct buf out = { 0 };
	char line[20];

	http1_write_status(&out, 200, SPAN("Fine"));
	http1_write_field(&out, SPAN("A"), SPAN("b c"));
	http1_write_field(&out, SPAN("Empty"), SPAN(""));
	http1_write_status(&out, 502, SPAN(""));
	http1_write_status(&out, 299, SPAN(""));
	cr_assert_str_eq(out.data, "HTTP/1.1 200 Fine\r\nA: b c\r\nEmpty: \r\n"
				   "HTTP/1.1 502 Bad Gateway\r\nHTTP/1.1 299 \r\n");
	buf_clear(&out);
	cr_assert(http1_chunk_head(line, 8000) == 6 && !memcmp(line, "1f40\r\n", 6));
	cr_assert(http1_chunk_head(line, 1) == 3 && !memcmp(line, "1\r\n", 3));
	cr_assert(http1_chunk_head(line, SIZE_MAX) == 18 && !memcmp(line, "ffffffffffffffff", 16));
}
