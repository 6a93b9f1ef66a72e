/* SPDX-License-Identifier: Apache-2.0
 * Header lists of HTTP/2: what RFC 9113 allows, and for each rule what breaks it. */
#include "proxy/h2_head.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS_MAX = 16 };

struct list {
	const char *pairs[PAIRS_MAX][2]; /* name, value; ends with NULL */
	bool has_body;
	unsigned status; /* wanted; 0: a good request */
	const char *reason;
};

#define GET                      \
	{                        \
		":method", "GET" \
	}
#define HTTPS                      \
	{                          \
		":scheme", "https" \
	}
#define PATH                    \
	{                       \
		":path", "/a?b" \
	}
#define AUTHORITY                        \
	{                                \
		":authority", "api.test" \
	}
#define GOOD GET, HTTPS, PATH, AUTHORITY

static struct h2_head head;

static struct span text(const char *string)
{
	return (struct span){ string, strlen(string) };
}

static void fill(const struct list *list)
{
	h2_head_reset(&head);
	for (size_t i = 0; i < PAIRS_MAX && list->pairs[i][0]; i++)
		cr_assert_eq(h2_head_add(&head, text(list->pairs[i][0]), text(list->pairs[i][1])),
			     0);
}

static bool is(struct span span, const char *string)
{
	return span.len == strlen(string) && !memcmp(span.at, string, span.len);
}

static void check_request(const struct list *list, size_t row)
{
	struct request request = { 0 };
	struct h2_error error;
	int rc;

	fill(list);
	rc = h2_head_to_request(&head, !list->has_body, &request, &error);
	cr_expect_eq(rc, list->status ? -EPROTO : 0, "row %zu: %s", row, error.detail);
	cr_expect_eq(error.status, list->status, "row %zu", row);
	if (list->status && error.status)
		cr_expect_str_eq(error.reason, list->reason, "row %zu", row);
}

static const struct list requests[] = {
	{ { GOOD }, .status = 0 },
	{ { GOOD, { "te", "trailers" } }, .status = 0 },
	{ { GOOD, { "host", "api.test" } }, .status = 0 },
	{ { GOOD, { "host", "other.test" } }, .status = 0 }, /* the decision's to judge */
	{ { GET, HTTPS, PATH, { "host", "api.test" } }, .status = 0 },
	{ { PATH, AUTHORITY, HTTPS, GET }, .status = 0 },
	{ { GOOD, { "content-length", "5" } }, .has_body = true, .status = 0 },
	{ { GOOD, { "content-length", "0" } }, .status = 0 },
	/* pseudo-fields: missing, twice, late, unknown, of answers */
	{ { HTTPS, PATH, AUTHORITY }, .status = 400, .reason = "bad_http2" },
	{ { GET, PATH, AUTHORITY }, .status = 400, .reason = "bad_http2" },
	{ { GET, HTTPS, AUTHORITY }, .status = 400, .reason = "bad_http2" },
	{ { GET, HTTPS, PATH }, .status = 400, .reason = "bad_http2" },
	{ { GET, HTTPS, { ":path", "" }, AUTHORITY }, .status = 400, .reason = "bad_http2" },
	{ { { ":method", "" }, HTTPS, PATH, AUTHORITY }, .status = 400, .reason = "bad_http2" },
	{ { GOOD, GET }, .status = 400, .reason = "bad_http2" },
	{ { GOOD, PATH }, .status = 400, .reason = "bad_http2" },
	{ { GOOD, AUTHORITY }, .status = 400, .reason = "bad_http2" },
	{ { GOOD, HTTPS }, .status = 400, .reason = "bad_http2" },
	{ { GET, HTTPS, PATH, { "x", "y" }, AUTHORITY }, .status = 400, .reason = "bad_http2" },
	{ { GOOD, { ":status", "200" } }, .status = 400, .reason = "bad_http2" },
	{ { GOOD, { ":x", "y" } }, .status = 400, .reason = "bad_http2" },
	{ { GOOD, { ":", "y" } }, .status = 400, .reason = "bad_http2" },
	/* names */
	{ { GOOD, { "", "y" } }, .status = 400, .reason = "bad_http2" },
	{ { GOOD, { "X-Upper", "y" } }, .status = 400, .reason = "bad_http2" },
	{ { GOOD, { "connection", "close" } }, .status = 400, .reason = "bad_http2" },
	{ { GOOD, { "keep-alive", "5" } }, .status = 400, .reason = "bad_http2" },
	{ { GOOD, { "proxy-connection", "x" } }, .status = 400, .reason = "bad_http2" },
	{ { GOOD, { "transfer-encoding", "chunked" } }, .status = 400, .reason = "bad_http2" },
	{ { GOOD, { "upgrade", "websocket" } }, .status = 400, .reason = "bad_http2" },
	{ { GOOD, { "te", "gzip" } }, .status = 400, .reason = "bad_http2" },
	{ { GOOD, { "te", "trailers, gzip" } }, .status = 400, .reason = "bad_http2" },
	{ { GOOD, { "x", " y" } }, .status = 400, .reason = "bad_http2" },
	{ { GOOD, { "x", "y\t" } }, .status = 400, .reason = "bad_http2" },
	/* CONNECT, plain and extended (RFC 8441) */
	{ { { ":method", "CONNECT" }, AUTHORITY }, .status = 400, .reason = "nested_connect" },
	{ { { ":method", "CONNECT" }, HTTPS, PATH, AUTHORITY },
	  .status = 400,
	  .reason = "nested_connect" },
	{ { { ":method", "CONNECT" }, { ":protocol", "websocket" }, HTTPS, PATH, AUTHORITY },
	  .status = 400,
	  .reason = "bad_http2" },
	{ { { ":method", "connect" }, HTTPS, PATH, AUTHORITY },
	  .status = 400,
	  .reason = "bad_http2" },
	{ { GET, HTTPS, { ":path", "*" }, AUTHORITY }, .status = 400, .reason = "bad_http2" },
	/* who and where */
	{ { GET, { ":scheme", "http" }, PATH, AUTHORITY },
	  .status = 400,
	  .reason = "bad_authority" },
	{ { GET, { ":scheme", "HTTPS" }, PATH, AUTHORITY },
	  .status = 400,
	  .reason = "bad_authority" },
	{ { GET, HTTPS, PATH, { ":authority", "" } }, .status = 400, .reason = "bad_authority" },
	{ { GET, HTTPS, PATH, { ":authority", "api.test@evil.test" } },
	  .status = 400,
	  .reason = "bad_authority" },
	{ { GOOD, { "host", "a b" } }, .status = 400, .reason = "bad_authority" },
	{ { GOOD, { "host", "api.test" }, { "host", "api.test" } },
	  .status = 400,
	  .reason = "two_hosts" },
	/* length */
	{ { GOOD, { "content-length", "5" } }, .status = 400, .reason = "bad_http2" },
	{ { GOOD, { "content-length", "+5" } },
	  .has_body = true,
	  .status = 400,
	  .reason = "bad_http2" },
	{ { GOOD, { "content-length", "5, 5" } },
	  .has_body = true,
	  .status = 400,
	  .reason = "bad_http2" },
	{ { GOOD, { "content-length", "5" }, { "content-length", "5" } },
	  .has_body = true,
	  .status = 400,
	  .reason = "bad_http2" },
};

Test(proxy_h2_head, requests)
{
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		check_request(&requests[i], i);
}

Test(proxy_h2_head, request_parts)
{
	static const struct list list = {
		.pairs = { { ":method", "POST" },
			   HTTPS,
			   PATH,
			   { ":authority", "API.test:443" },
			   { "cookie", "a=1" },
			   { "x", "y" },
			   { "expect", "100-Continue" },
			   { "cookie", "b=2" },
			   { "host", "api.test" },
			   { "cookie", "c=3" } },
	};
	struct request request = { 0 };
	struct h2_error error;

	fill(&list);
	cr_assert_eq(h2_head_to_request(&head, false, &request, &error), 0);
	cr_expect(is(request.method, "POST") && is(request.target, "/a?b"));
	cr_expect_eq(request.named_count, 2);
	cr_expect_str_eq(request.named[0].host, "api.test");
	cr_expect_eq(request.named[0].port, 443);
	cr_expect(request.is_http2 && request.expects_continue);
	cr_expect_eq(request.body, BODY_STREAM);
	cr_assert_eq(request.fields.count, 4);
	cr_expect(is(request.fields.items[0].name, "cookie"));
	cr_expect(is(request.fields.items[0].value, "a=1; b=2; c=3"));
	cr_expect(is(request.fields.items[3].name, "host"));
}

Test(proxy_h2_head, too_large)
{
	static char value[1024];
	struct request request = { 0 };
	struct h2_error error;
	int rc = 0, added = 0;

	fill(&(struct list){ .pairs = { GOOD } });
	memset(value, 'x', sizeof(value) - 1);
	for (int i = 0; i < 70; i++)
		cr_assert_eq(h2_head_add(&head, text("x"), text(value)), 0);
	cr_expect_lt(head.bytes.len, (size_t)H2_LIST_BYTES);
	cr_expect_eq(h2_head_to_request(&head, true, &request, &error), -EPROTO);
	cr_expect_eq(error.status, 431);
	cr_expect_str_eq(error.reason, "head_too_large");
	while (rc == 0 && added++ < 2000)
		rc = h2_head_add(&head, text("x"), text(value));
	cr_expect_eq(rc, -E2BIG);
	cr_expect_lt(added, 1100);

	fill(&(struct list){ .pairs = { GOOD } });
	for (int i = 0; i < H2_FIELDS_MAX; i++)
		cr_assert_eq(h2_head_add(&head, text("x"), text("")), 0);
	cr_expect_eq(h2_head_to_request(&head, true, &request, &error), -EPROTO);
	cr_expect_eq(error.status, 431);
}

static void check_response(const struct list *list, bool ends, bool is_to_head, size_t row)
{
	struct response response;
	struct h2_error error;
	int rc;

	fill(list);
	rc = h2_head_to_response(&head, ends, is_to_head, &response, &error);
	cr_expect_eq(rc, list->status ? -EPROTO : 0, "row %zu: %s", row, error.detail);
	if (list->status)
		cr_expect_str_eq(error.reason, "upstream_protocol", "row %zu", row);
}

Test(proxy_h2_head, responses)
{
	static const struct list lists[] = {
		{ { { ":status", "200" } }, .status = 0 },
		{ { { ":status", "200" }, { "content-length", "5" } }, .status = 0 },
		{ { { ":status", "103" }, { "link", "</a>" } }, .status = 0 },
		{ { { "x", "y" } }, .status = 502 },
		{ { { ":status", "200" }, { ":status", "200" } }, .status = 502 },
		{ { { ":status", "101" } }, .status = 502 },
		{ { { ":status", "099" } }, .status = 502 },
		{ { { ":status", "20" } }, .status = 502 },
		{ { { ":status", "2000" } }, .status = 502 },
		{ { { ":status", "2x0" } }, .status = 502 },
		{ { { ":status", "200" }, GET }, .status = 502 },
		{ { { ":status", "200" }, { "a\nb", "y" } }, .status = 502 },
		{ { { ":status", "200" }, { "x", "y\r\nz: 1" } }, .status = 502 },
		{ { { ":status", "200" }, { "transfer-encoding", "chunked" } }, .status = 502 },
		{ { { ":status", "200" }, { "content-length", "5" }, { "content-length", "6" } },
		  .status = 502 },
	};
	static const struct list length = { { { ":status", "200" }, { "content-length", "5" } },
					    .status = 502 };
	static const struct list bare = { .pairs = { { ":status", "304" },
						     { "content-length", "5" } } };
	struct list interim = { { { ":status", "100" } }, .status = 502 };

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		check_response(&lists[i], false, false, i);
	check_response(&length, true, false, 100); /* says five bytes and ends */
	check_response(&bare, true, false, 101);
	check_response(&interim, true, false, 102); /* nothing can follow */
	struct list to_head = length;
	to_head.status = 0;
	check_response(&to_head, true, true, 103);
}

Test(proxy_h2_head, response_parts)
{
	static const struct list list = {
		.pairs = { { ":status", "206" }, { "content-length", "5" }, { "x", "y" } }
	};
	struct response response;
	struct h2_error error;

	fill(&list);
	cr_assert_eq(h2_head_to_response(&head, false, false, &response, &error), 0);
	cr_expect_eq(response.status, 206);
	cr_expect_eq(response.body, BODY_LENGTH);
	cr_expect_eq(response.content_length, 5);
	cr_expect_eq(response.fields.count, 1); /* framing is not a field */
}

Test(proxy_h2_head, trailers)
{
	struct fields *fields = NULL;
	struct h2_error error;

	fill(&(struct list){ .pairs = { { "grpc-status", "0" },
					{ "content-length", "5" },
					{ "set-cookie", "a=b" },
					{ "grpc-message", "" } } });
	cr_assert_eq(h2_head_to_trailers(&head, &fields, &error), 0);
	h2_head_reset(&head); /* they stand alone */
	cr_assert_eq(fields->count, 2);
	cr_expect(is(fields->items[0].name, "grpc-status") && is(fields->items[0].value, "0"));
	cr_expect(is(fields->items[1].name, "grpc-message") && is(fields->items[1].value, ""));
	free(fields);

	fill(&(struct list){ .pairs = { { ":status", "200" } } });
	cr_expect_eq(h2_head_to_trailers(&head, &fields, &error), -EPROTO);
	fill(&(struct list){ .pairs = { { "x", "y\r\nz" } } });
	cr_expect_eq(h2_head_to_trailers(&head, &fields, &error), -EPROTO);
	fill(&(struct list){ .pairs = { { "host", "x" } } });
	cr_expect_eq(h2_head_to_trailers(&head, &fields, &error), 0);
	cr_expect_null(fields);
}

Test(proxy_h2_head, lists_out)
{
	struct field fields[] = {
		{ SPAN("X-A"), SPAN("1") },
		{ SPAN("Connection"), SPAN("close") },
		{ SPAN("Keep-Alive"), SPAN("5") },
	};
	struct response response = { .status = 404,
				     .fields = { fields, 3 },
				     .content_length = 12,
				     .has_content_length = true };
	struct h2_list *list = h2_list_of_response(&response);

	cr_assert_eq(list->count, 3);
	cr_expect_eq(memcmp(list->items[0].value, "404", 3), 0);
	cr_expect_eq(list->items[1].namelen, 3);
	cr_expect_eq(list->items[2].valuelen, 2);
	cr_expect_eq(memcmp(list->items[2].value, "12", 2), 0);

	list = h2_list_start();
	h2_list_add(list, SPAN("authorization"), SPAN("Bearer x"), true);
	cr_expect_eq(list->items[0].flags, NGHTTP2_NV_FLAG_NO_INDEX);
	for (int i = 0; i < 1000; i++)
		h2_list_add(list, SPAN("a"), SPAN("b"), false);
	cr_expect_lt(list->count, 300);
}

static bool has_length(unsigned status)
{
	struct response response = { .status = status,
				     .content_length = 5,
				     .has_content_length = true };
	const struct h2_list *list = h2_list_of_response(&response);

	return list->count == 2;
}

Test(proxy_h2_head, a_204_has_no_length)
{
	cr_expect(has_length(200));
	cr_expect(has_length(304));
	cr_expect_not(has_length(204));
	cr_expect_not(has_length(103));
}
