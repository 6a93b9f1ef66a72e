/* SPDX-License-Identifier: Apache-2.0
 * Response heads: framing by status, method and fields; what is dropped; what is refused. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/http1.h"

static struct http1_response head;
static struct http1_error error;

static ssize_t parse(const char *bytes, size_t len, struct span method)
{
	struct http1_scan scan = { 0 };
	char *copy = malloc(len ? len : 1);

	memcpy(copy, bytes, len);
	ssize_t used = http1_parse_response(copy, len, &scan, method, &head, &error);
	free(copy);
	return used;
}

/* One byte more each time. */
static ssize_t parse_slowly(const char *bytes, size_t len)
{
	struct http1_scan scan = { 0 };

	for (size_t i = 0; i <= len; i++) {
		ssize_t used = http1_parse_response(bytes, i, &scan, SPAN("GET"), &head, &error);
		if (used)
			return used;
	}
	return 0;
}

#define ROW(bytes)                       \
	{                                \
		bytes, sizeof(bytes) - 1 \
	}
#define OK "HTTP/1.1 200 OK\r\n"

static const struct span refusals[] = {
	ROW("SSH-2.0-x\r\n"),
	ROW("\r\n" OK "\r\n"),
	ROW("http/1.1 200 OK\r\n\r\n"),
	ROW("HTTP/2.0 200 OK\r\n\r\n"),
	ROW("HTTP/1.2 200 OK\r\n\r\n"),
	ROW("HTTP/1.1  200 OK\r\n\r\n"),
	ROW("HTTP/1.1 20 OK\r\n\r\n"),
	ROW("HTTP/1.1 2000 OK\r\n\r\n"),
	ROW("HTTP/1.1 099 OK\r\n\r\n"),
	ROW("HTTP/1.1 200\tOK\r\n\r\n"),
	ROW("HTTP/1.1 200 O\0K\r\n\r\n"),
	ROW("HTTP/1.1 200 OK\n\n"),
	ROW("HTTP/1.1 200\n\n"),
	ROW("HTTP/1.1 200 OK\rX\r\n\r\n"),
	ROW("<html>hello</html>"),
	ROW(OK "X: a\r\n b\r\n\r\n"),
	ROW(OK " X: a\r\n\r\n"),
	ROW(OK "X: a\n\r\n"),
	ROW(OK "X: a\rb\r\n\r\n"),
	ROW(OK "X: a\0\r\n\r\n"),
	ROW(OK "X : a\r\n\r\n"),
	ROW(OK "X\r\n\r\n"),
	ROW(OK "\n"),
	ROW(OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
	ROW(OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
	ROW(OK "Content-Length: 5, 5\r\n\r\n"),
	ROW(OK "Content-Length: -5\r\n\r\n"),
	ROW(OK "Content-Length:\r\n\r\n"),
	ROW(OK "Content-Length: 99999999999999999999\r\n\r\n"),
	ROW(OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
	ROW(OK "Transfer-Encoding: gzip\r\n\r\n"),
	ROW(OK "Transfer-Encoding: gzip, chunked\r\n\r\n"),
	ROW(OK "Transfer-Encoding: chunked, gzip\r\n\r\n"),
	ROW(OK "Transfer-Encoding: xchunked\r\n\r\n"),
	ROW(OK "Transfer-Encoding: identity\r\n\r\n"),
	ROW(OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
	ROW("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
	ROW("HTTP/1.1 304 x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
	ROW("HTTP/1.1 204 x\r\nContent-Length: x\r\n\r\n"),
};

Test(proxy_http1_response, what_has_two_readings_is_refused_whole_and_in_pieces)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		cr_assert_eq(parse(refusals[i].at, refusals[i].len, SPAN("GET")), -EPROTO,
			     "row %zu", i);
		cr_assert_eq(error.status, 502);
		cr_assert_str_eq(error.reason, "upstream_protocol");
		error = (struct http1_error){ 0 };
		cr_assert_eq(parse_slowly(refusals[i].at, refusals[i].len), -EPROTO, "row %zu", i);
		cr_assert_str_eq(error.reason, "upstream_protocol");
	}
}

#define M(method) SPAN(method)

static const struct {
	struct span method;
	const char *bytes;
	enum body_kind body;
	uint64_t length;
	bool wants_close;
} framings[] = {
	{ M("GET"), OK "\r\n", BODY_STREAM, 0, true },
	{ M("GET"), OK "Content-Length: 5\r\n\r\n", BODY_LENGTH, 5, false },
	{ M("GET"), OK "Content-Length: 0\r\n\r\n", BODY_LENGTH, 0, false },
	{ M("GET"), OK "Transfer-Encoding: Chunked\r\n\r\n", BODY_CHUNKED, 0, false },
	{ M("GET"), OK "Content-Length: 5\r\nConnection: x,close\r\n\r\n", BODY_LENGTH, 5, true },
	{ M("HEAD"), OK "\r\n", BODY_NONE, 0, false },
	{ M("HEAD"), OK "Content-Length: 5\r\n\r\n", BODY_NONE, 5, false },
	{ M("HEAD"), OK "Transfer-Encoding: chunked\r\n\r\n", BODY_NONE, 0, false },
	{ M("head"), OK "Content-Length: 5\r\n\r\n", BODY_LENGTH, 5, false },
	{ M("CONNECT"), OK "Content-Length: 5\r\n\r\n", BODY_NONE, 5, false },
	{ M("CONNECT"), "HTTP/1.1 403 no\r\nContent-Length: 5\r\n\r\n", BODY_LENGTH, 5, false },
	{ M("GET"), "HTTP/1.1 204 \r\n\r\n", BODY_NONE, 0, false },
	{ M("GET"), "HTTP/1.1 204\r\nContent-Length: 0\r\n\r\n", BODY_NONE, 0, false },
	{ M("GET"), "HTTP/1.1 204\r\nContent-Length: 5\r\n\r\n", BODY_NONE, 5, true },
	{ M("GET"), "HTTP/1.1 204\r\nTransfer-Encoding: chunked\r\n\r\n", BODY_NONE, 0, true },
	{ M("GET"), "HTTP/1.1 304\r\nContent-Length: 5\r\n\r\n", BODY_NONE, 5, false },
	{ M("GET"), "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", BODY_NONE, 0, false },
	{ M("GET"), "HTTP/1.0 200 OK\r\n\r\n", BODY_STREAM, 0, true },
	{ M("GET"), "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", BODY_LENGTH, 5, true },
	{ M("GET"), "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
	  BODY_LENGTH, 5, false },
};

Test(proxy_http1_response, the_body_is_framed_by_method_status_and_fields)
{
	for (size_t i = 0; i < sizeof(framings) / sizeof(framings[0]); i++) {
		size_t len = strlen(framings[i].bytes);
		cr_assert_eq(parse(framings[i].bytes, len, framings[i].method), len, "row %zu", i);
		cr_assert_eq(head.response.body, framings[i].body, "row %zu", i);
		cr_assert_eq(head.response.content_length, framings[i].length, "row %zu", i);
		cr_assert_eq(head.response.has_content_length,
			     strstr(framings[i].bytes, "Length") != NULL, "row %zu", i);
		cr_assert_eq(head.wants_close, framings[i].wants_close, "row %zu", i);
	}
}

Test(proxy_http1_response, what_belongs_to_the_connection_is_dropped)
{
	static const char bytes[] =
		"HTTP/1.1 200 Fine so\xe4\r\nServer: x\r\nConnection: X-Mine, "
		"keep-alive\r\nX-mine: 1\r\n"
		"Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nTrailer: X-T\r\nTE: x\r\n"
		"Transfer-Encoding: chunked\r\nUpgrade: h2c\r\nX-Kept: 1\r\nconnection: x-other\r\n"
		"x-OTHER: 1\r\nX-Mine: 2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n";
	const struct response *r = &head.response;
	struct http1_scan scan = { 0 };

	cr_assert_eq(
		http1_parse_response(bytes, sizeof(bytes) - 1, &scan, SPAN("GET"), &head, &error),
		sizeof(bytes) - 1);
	cr_assert(r->status == 200 && r->phrase.len == 8 &&
		  !memcmp(r->phrase.at, "Fine so\xe4", 8));
	cr_assert_eq(r->fields.count, 4);
	cr_assert(!memcmp(r->fields.items[0].name.at, "Server", 6));
	cr_assert(!memcmp(r->fields.items[1].name.at, "X-Kept", 6));
	cr_assert(!memcmp(r->fields.items[2].value.at, "a", 1));
	cr_assert(!memcmp(r->fields.items[3].value.at, "b", 1));
	cr_assert(r->body == BODY_CHUNKED && !head.wants_close && !head.is_websocket);
}

Test(proxy_http1_response, connection_may_not_name_without_end)
{
	struct buf bytes = { 0 };

	buf_puts(&bytes, OK "Connection: ");
	for (int i = 0; i < 65; i++)
		buf_puts(&bytes, "x,");
	buf_puts(&bytes, "\r\n\r\n");
	cr_assert_eq(parse(bytes.data, bytes.len, SPAN("GET")), -EPROTO);
	buf_clear(&bytes);
}

Test(proxy_http1_response, a_websocket_is_told_from_other_upgrades)
{
	static const struct {
		const char *bytes;
		bool is_websocket;
	} rows[] = {
		{ "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n", true },
		{ "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n", false },
		{ "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n\r\n", false },
		{ "HTTP/1.1 101 x\r\nUpgrade: websocket, raw\r\n\r\n", false },
		{ "HTTP/1.1 101 x\r\n\r\n", false },
		{ "HTTP/1.1 200 x\r\nUpgrade: websocket\r\n\r\n", false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_assert_gt(parse(rows[i].bytes, strlen(rows[i].bytes), SPAN("GET")), 0);
		cr_assert_eq(head.is_websocket, rows[i].is_websocket, "row %zu", i);
	}
}

Test(proxy_http1_response, one_interim_answer_at_a_time)
{
	static const char bytes[] = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";

	cr_assert_eq(parse(bytes, sizeof(bytes) - 1, SPAN("GET")), 25);
	cr_assert_eq(head.response.status, 100);
	cr_assert_eq(parse(bytes + 25, sizeof(bytes) - 26, SPAN("GET")), 19);
	cr_assert_eq(head.response.status, 200);
}

Test(proxy_http1_response, heads_have_a_largest_size)
{
	char *bytes = malloc(HTTP1_HEAD_MAX);

	memset(bytes, 'a', HTTP1_HEAD_MAX);
	memcpy(bytes, OK "X: ", sizeof(OK "X: ") - 1);
	cr_assert_eq(parse(bytes, HTTP1_HEAD_MAX - 1, SPAN("GET")), 0);
	cr_assert_eq(parse(bytes, HTTP1_HEAD_MAX, SPAN("GET")), -EPROTO);
	cr_assert_eq(parse_slowly(bytes, HTTP1_HEAD_MAX), -EPROTO);
	memcpy(bytes + HTTP1_HEAD_MAX - 4, "\r\n\r\n", 4);
	cr_assert_eq(parse(bytes, HTTP1_HEAD_MAX, SPAN("GET")), HTTP1_HEAD_MAX);
	free(bytes);
}
