/* SPDX-License-Identifier: Apache-2.0
 * Request heads: what they mean, what is refused and why, and at which byte. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/http1_grammar.h"

#define GET  "GET /p HTTP/1.1\r\nHost: a.test\r\n"
#define POST "POST /p HTTP/1.1\r\nHost: a.test\r\n"

static struct http1_request head;
static struct http1_error error;

/* A copy on the heap, exactly as long as it says, so that a sanitizer sees a read beyond it. */
static ssize_t parse_copy(const char *bytes, size_t len, struct http1_scan *scan, char **ret_copy)
{
	free(*ret_copy);
	*ret_copy = malloc(len ? len : 1);
	memcpy(*ret_copy, bytes, len);
	memset(&error, 0, sizeof(error));
	return http1_parse_request(*ret_copy, len, scan, &head, &error);
}

static ssize_t parse(const char *bytes, size_t len, char **ret_copy)
{
	struct http1_scan scan = { 0 };

	return parse_copy(bytes, len, &scan, ret_copy);
}

/* One byte more each time, at another address each time. */
static ssize_t parse_slowly(const char *bytes, size_t len, char **ret_copy)
{
	struct http1_scan scan = { 0 };

	for (size_t i = 0; i <= len; i++) {
		ssize_t used = parse_copy(bytes, i, &scan, ret_copy);
		if (used)
			return used;
	}
	return 0;
}

static bool is_text(struct span span, const char *text)
{
	return span.len == strlen(text) && !memcmp(span.at, text, span.len);
}

#define ROW(bytes, reason)                       \
	{                                        \
		bytes, sizeof(bytes) - 1, reason \
	}

static const struct {
	const char *bytes;
	size_t len;
	const char *reason;
} refusals[] = {
	ROW("\r\n" GET "\r\n", "bad_request_line"),
	ROW("\n" GET "\r\n", "bad_request_line"),
	ROW(" " GET "\r\n", "bad_request_line"),
	ROW("\x16\x03\x01", "bad_request_line"),
	ROW("SSH-2.0-OpenSSH_9.2\r\n", "bad_request_line"),
	ROW("GET /p\r\n\r\n", "bad_request_line"),
	ROW("GET  /p HTTP/1.1\r\n", "bad_request_line"),
	ROW("GET /p  HTTP/1.1\r\n", "bad_request_line"),
	ROW("GET /p HTTP/1.1 \r\n", "bad_request_line"),
	ROW("GET\t/p HTTP/1.1\r\n", "bad_request_line"),
	ROW("GET /p HTTP/1.2\r\n", "bad_request_line"),
	ROW("GET /p HTTP/0.9\r\n", "bad_request_line"),
	ROW("GET /p http/1.1\r\n", "bad_request_line"),
	ROW("GET /p HTTP/1.10\r\n", "bad_request_line"),
	ROW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad_request_line"),
	ROW("GET /\x7f HTTP/1.1\r\n", "bad_request_line"),
	ROW("GET /\0 HTTP/1.1\r\n", "bad_request_line"),
	ROW("G(T / HTTP/1.1\r\n", "bad_request_line"),
	ROW("connect a.test:443 HTTP/1.1\r\n\r\n", "bad_request_line"),
	ROW("GET /p HTTP/1.1\nHost: a.test\n\n", "bare_cr_or_lf"),
	ROW("GET /p HTTP/1.1\r\nHost: a.test\n", "bare_cr_or_lf"),
	ROW(GET "X: a\nY: b\r\n\r\n", "bare_cr_or_lf"),
	ROW(GET "X: a\rY: b\r\n\r\n", "bare_cr_or_lf"),
	ROW(GET "X: a\r\r\n\r\n", "bare_cr_or_lf"),
	ROW(GET "\n", "bare_cr_or_lf"),
	ROW(GET "\r\r\n", "bare_cr_or_lf"),
	ROW(GET "X: a\r\n b\r\n\r\n", "obs_fold"),
	ROW(GET "X: a\r\n\tb\r\n\r\n", "obs_fold"),
	ROW("GET /p HTTP/1.1\r\n Host: a.test\r\n\r\n", "obs_fold"),
	ROW(GET "X : a\r\n\r\n", "bad_field"),
	ROW(GET "X\t: a\r\n\r\n", "bad_field"),
	ROW(GET ": a\r\n\r\n", "bad_field"),
	ROW(GET "nonsense\r\n\r\n", "bad_field"),
	ROW(GET "X: a\0b\r\n\r\n", "bad_field"),
	ROW(GET "X: a\x7f\r\n\r\n", "bad_field"),
	ROW(GET "X: \x0b\r\n\r\n", "bad_field"),
	ROW(GET "X: 0123456789abcdef\x1f"
		"0123456789\r\n\r\n",
	    "bad_field"),
	ROW(GET "X\xc3\xa9: a\r\n\r\n", "bad_field"),
	ROW(GET "\0: a\r\n\r\n", "bad_field"),
	ROW("GET /p HTTP/1.1\r\n\r\n", "no_host"),
	ROW("GET http://a.test/p HTTP/1.1\r\n\r\n", "no_host"),
	ROW(GET "Host: b.test\r\n\r\n", "two_hosts"),
	ROW(GET "hOST: a.test\r\n\r\n", "two_hosts"),
	ROW("GET /p HTTP/1.1\r\nHost:\r\n\r\n", "bad_authority"),
	ROW("GET /p HTTP/1.1\r\nHost: a b\r\n\r\n", "bad_authority"),
	ROW("GET /p HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n", "bad_authority"),
	ROW("GET /p HTTP/1.1\r\nHost: u@a.test\r\n\r\n", "userinfo"),
	ROW("GET http://u:p@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "userinfo"),
	ROW("GET http:///p HTTP/1.1\r\nHost: a.test\r\n\r\n", "bad_authority"),
	ROW("GET http://?q HTTP/1.1\r\nHost: a.test\r\n\r\n", "bad_authority"),
	ROW("GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "bad_target"),
	ROW("GET http:/p HTTP/1.1\r\nHost: a.test\r\n\r\n", "bad_target"),
	ROW("GET a.test HTTP/1.1\r\nHost: a.test\r\n\r\n", "bad_target"),
	ROW("GET * HTTP/1.1\r\nHost: a.test\r\n\r\n", "bad_target"),
	ROW("CONNECT a.test HTTP/1.1\r\n\r\n", "bad_authority"),
	ROW("CONNECT /p HTTP/1.1\r\n\r\n", "bad_authority"),
	ROW("CONNECT a.test:0 HTTP/1.1\r\n\r\n", "bad_authority"),
	ROW("CONNECT u@a.test:443 HTTP/1.1\r\n\r\n", "userinfo"),
	ROW("CONNECT a.test:443 HTTP/1.1\r\nContent-Length: 4\r\n\r\n", "bad_framing"),
	ROW("CONNECT a.test:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "bad_framing"),
	ROW(POST "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "two_lengths"),
	ROW(POST "Content-Length: 1\r\ncontent-length: 1\r\n\r\n", "two_lengths"),
	ROW(POST "Content-Length: 1, 1\r\n\r\n", "bad_length"),
	ROW(POST "Content-Length: +1\r\n\r\n", "bad_length"),
	ROW(POST "Content-Length: -1\r\n\r\n", "bad_length"),
	ROW(POST "Content-Length: 0x1\r\n\r\n", "bad_length"),
	ROW(POST "Content-Length: 1_0\r\n\r\n", "bad_length"),
	ROW(POST "Content-Length:\r\n\r\n", "bad_length"),
	ROW(POST "Content-Length: 1 1\r\n\r\n", "bad_length"),
	ROW(POST "Content-Length: 1234567890123456789\r\n\r\n", "bad_length"),
	ROW(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "length_and_chunked"),
	ROW(POST "Transfer-Encoding: x\r\nContent-Length: 5\r\n\r\n", "length_and_chunked"),
	ROW(POST "Transfer-Encoding: xchunked\r\n\r\n", "bad_transfer_encoding"),
	ROW(POST "Transfer-Encoding: gzip, chunked\r\n\r\n", "bad_transfer_encoding"),
	ROW(POST "Transfer-Encoding: chunked, identity\r\n\r\n", "bad_transfer_encoding"),
	ROW(POST "Transfer-Encoding: \"chunked\"\r\n\r\n", "bad_transfer_encoding"),
	ROW(POST "Transfer-Encoding: chunked;q=1\r\n\r\n", "bad_transfer_encoding"),
	ROW(POST "Transfer-Encoding:\r\n\r\n", "bad_transfer_encoding"),
	ROW(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
	    "bad_transfer_encoding"),
	ROW("POST /p HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n",
	    "bad_transfer_encoding"),
};

Test(proxy_http1_request, what_has_two_readings_is_refused_whole_and_in_pieces)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		char *copy = NULL;
		ssize_t used = parse(refusals[i].bytes, refusals[i].len, &copy);
		cr_assert_eq(used, -EPROTO, "row %zu: %zd", i, used);
		cr_assert_str_eq(error.reason, refusals[i].reason, "row %zu", i);
		cr_assert_eq(error.status, 400, "row %zu", i);
		cr_assert(error.detail && *error.detail, "row %zu", i);
		used = parse_slowly(refusals[i].bytes, refusals[i].len, &copy);
		cr_assert_eq(used, -EPROTO, "row %zu in pieces: %zd", i, used);
		cr_assert_str_eq(error.reason, refusals[i].reason, "row %zu in pieces", i);
		free(copy);
	}
}

/* Each ends with its first bad byte. */
static const struct {
	const char *bytes;
	size_t len;
	const char *reason;
} first_bad_bytes[] = {
	ROW("\x16", "bad_request_line"),
	ROW("\r", "bad_request_line"),
	ROW("GE\t", "bad_request_line"),
	ROW("GET\r", "bad_request_line"),
	ROW("GET  ", "bad_request_line"),
	ROW("GET /\r", "bad_request_line"),
	ROW("GET /\n", "bare_cr_or_lf"),
	ROW("GET / h", "bad_request_line"),
	ROW("GET / HTTQ", "bad_request_line"),
	ROW("PRI * HTTP/2", "bad_request_line"),
	ROW("GET / HTTP/1.1 ", "bad_request_line"),
	ROW("GET / HTTP/1.1\n", "bare_cr_or_lf"),
	ROW("GET / HTTP/1.1\rH", "bare_cr_or_lf"),
	ROW("GET / HTTP/1.1\r\n ", "obs_fold"),
	ROW("GET / HTTP/1.1\r\n:", "bad_field"),
	ROW("GET / HTTP/1.1\r\nX ", "bad_field"),
	ROW("GET / HTTP/1.1\r\nX: a\n", "bare_cr_or_lf"),
	ROW("GET / HTTP/1.1\r\nX: a\rb", "bare_cr_or_lf"),
	ROW("GET / HTTP/1.1\r\nX: abcdefghijklmnop\0", "bad_field"),
	ROW("GET / HTTP/1.1\r\nX: a\r\n\t", "obs_fold"),
	ROW("GET / HTTP/1.1\r\nX: a\r\n\rb", "bare_cr_or_lf"),
};

Test(proxy_http1_request, the_first_bad_byte_is_enough)
{
	for (size_t i = 0; i < sizeof(first_bad_bytes) / sizeof(first_bad_bytes[0]); i++) {
		size_t len = first_bad_bytes[i].len;
		char *copy = NULL;
		cr_assert_eq(parse(first_bad_bytes[i].bytes, len - 1, &copy), 0, "row %zu", i);
		cr_assert_eq(parse(first_bad_bytes[i].bytes, len, &copy), -EPROTO, "row %zu", i);
		cr_assert_str_eq(error.reason, first_bad_bytes[i].reason, "row %zu", i);
		free(copy);
	}
}

Test(proxy_http1_request, a_head_means_the_same_whole_and_in_pieces)
{
	static const char bytes[] = "PUT /a?b=c HTTP/1.1\r\nhost: A.test:8443\r\nX-Empty:\r\n"
				    "X-Tabs:\t a\tb \t\r\nX-High: \xc3\xa9\xff\r\n"
				    "Expect: 100-Continue\r\nCONTENT-length: 012\r\n\r\nhello";

	for (int slowly = 0; slowly < 2; slowly++) {
		char *copy = NULL;
		ssize_t used = (slowly ? parse_slowly : parse)(bytes, sizeof(bytes) - 1, &copy);
		const struct request *r = &head.request;
		cr_assert_eq(used, sizeof(bytes) - 1 - 5);
		cr_assert(is_text(r->method, "PUT") && is_text(r->target, "/a?b=c"));
		cr_assert(r->is_http11 && r->expects_continue && !head.wants_close);
		cr_assert(r->body == BODY_LENGTH && r->content_length == 12);
		cr_assert(r->named_count == 1 && r->named[0].port == 8443);
		cr_assert_str_eq(r->named[0].host, "a.test");
		cr_assert_eq(r->fields.count, 6);
		cr_assert(is_text(r->fields.items[0].name, "host"));
		cr_assert(is_text(r->fields.items[1].value, ""));
		cr_assert(is_text(r->fields.items[2].value, "a\tb"));
		cr_assert(is_text(r->fields.items[3].value, "\xc3\xa9\xff"));
		free(copy);
	}
}

Test(proxy_http1_request, a_second_head_may_follow_the_first)
{
	static const char bytes[] =
		"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n";
	struct http1_scan scan = { 0 };
	char copy[sizeof(bytes)];

	memcpy(copy, bytes, sizeof(bytes));
	cr_assert_eq(http1_parse_request(copy, 20, &scan, &head, &error), 0);
	cr_assert_gt(scan.at, 0);
	ssize_t used = http1_parse_request(copy, sizeof(bytes) - 1, &scan, &head, &error);
	cr_assert_eq(used, 28);
	cr_assert(is_text(head.request.target, "/1"));
	cr_assert_eq(scan.at, 0);
	used = http1_parse_request(copy + 28, sizeof(bytes) - 29, &scan, &head, &error);
	cr_assert_eq(used, 28);
	cr_assert(is_text(head.request.target, "/2"));
}

static const struct {
	const char *line, *target, *host;
	uint16_t port;
	bool is_https;
} absolutes[] = {
	{ "http://a.test/p?q", "/p?q", "a.test", 0, false },
	{ "HTTPS://A.Test:8443/p", "/p", "a.test", 8443, true },
	{ "http://a.test", "/", "a.test", 0, false },
	{ "http://a.test?q=1", "/?q=1", "a.test", 0, false },
	{ "http://a.test:81?", "/?", "a.test", 81, false },
	{ "http://a.test#f", "/#f", "a.test", 0, false },
	{ "http://[::1]:81/p", "/p", "::1", 81, false },
	{ "http://a.test//p", "//p", "a.test", 0, false },
};

Test(proxy_http1_request, a_url_becomes_a_path_and_a_place)
{
	for (size_t i = 0; i < sizeof(absolutes) / sizeof(absolutes[0]); i++) {
		char bytes[256], *copy = NULL;
		int len = snprintf(bytes, sizeof(bytes), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n",
				   absolutes[i].line);
		for (int slowly = 0; slowly < 2; slowly++) {
			ssize_t used = (slowly ? parse_slowly : parse)(bytes, (size_t)len, &copy);
			cr_assert_eq(used, len, "row %zu", i);
			cr_assert(head.is_absolute && !head.is_connect);
			cr_assert_eq(head.is_absolute_https, absolutes[i].is_https, "row %zu", i);
			cr_assert(is_text(head.request.target, absolutes[i].target), "row %zu", i);
			cr_assert_eq(head.request.named_count, 2);
			cr_assert_str_eq(head.request.named[0].host, absolutes[i].host);
			cr_assert_eq(head.request.named[0].port, absolutes[i].port);
			cr_assert_str_eq(head.request.named[1].host, "h");
		}
		free(copy);
	}
}

Test(proxy_http1_request, connect_names_its_place)
{
	static const char bytes[] = "CONNECT [2001:DB8::1]:443 HTTP/1.1\r\nHost: b.test\r\n\r\n";
	char *copy = NULL;

	cr_assert_eq(parse(bytes, sizeof(bytes) - 1, &copy), sizeof(bytes) - 1);
	cr_assert(head.is_connect && head.connect_target.port == 443);
	cr_assert_str_eq(head.connect_target.host, "2001:db8::1");
	cr_assert(head.request.named_count == 1 && head.request.body == BODY_NONE);
	cr_assert_str_eq(head.request.named[0].host, "b.test");
	free(copy);
}

static const struct {
	const char *version, *fields;
	bool wants_close;
} closings[] = {
	{ "1.1", "", false },
	{ "1.1", "Connection: close\r\n", true },
	{ "1.1", "Connection: x , CLOSE\r\n", true },
	{ "1.1", "Connection: closed\r\n", false },
	{ "1.1", "Connection: x\r\nConnection: close\r\n", true },
	{ "1.1", "Proxy-Connection: close\r\n", true },
	{ "1.0", "", true },
	{ "1.0", "Connection: Keep-Alive\r\n", false },
	{ "1.0", "Connection: keep-alive, close\r\n", true },
};

Test(proxy_http1_request, it_is_known_whether_the_connection_goes_on)
{
	for (size_t i = 0; i < sizeof(closings) / sizeof(closings[0]); i++) {
		char bytes[256], *copy = NULL;
		int len = snprintf(bytes, sizeof(bytes), "GET / HTTP/%s\r\nHost: a\r\n%s\r\n",
				   closings[i].version, closings[i].fields);
		cr_assert_eq(parse(bytes, (size_t)len, &copy), len, "row %zu", i);
		cr_assert_eq(head.wants_close, closings[i].wants_close, "row %zu", i);
		free(copy);
	}
}

Test(proxy_http1_request, heads_have_a_largest_size)
{
	char *bytes = malloc(HTTP1_HEAD_MAX + 64), *copy = NULL;
	int start = snprintf(bytes, 64, GET "X: ");

	memset(bytes + start, 'a', HTTP1_HEAD_MAX);
	memcpy(bytes + HTTP1_HEAD_MAX - 4, "\r\n\r\n", 4);
	cr_assert_eq(parse(bytes, HTTP1_HEAD_MAX + 10, &copy), HTTP1_HEAD_MAX);
	cr_assert_eq(parse(bytes, HTTP1_HEAD_MAX - 1, &copy), 0);
	memcpy(bytes + HTTP1_HEAD_MAX - 4, "a\r\n\r\n", 5);
	cr_assert_eq(parse(bytes, HTTP1_HEAD_MAX + 1, &copy), -EPROTO);
	cr_assert(error.status == 431 && !strcmp(error.reason, "head_too_large"));
	cr_assert_eq(parse(bytes, HTTP1_HEAD_MAX, &copy), -EPROTO);
	cr_assert_eq(parse_slowly(bytes, HTTP1_HEAD_MAX, &copy), -EPROTO);
	free(bytes);
	free(copy);
}

Test(proxy_http1_request, heads_have_a_largest_number_of_fields)
{
	struct buf bytes = { 0 };
	char *copy = NULL;

	buf_puts(&bytes, GET);
	for (int i = 1; i < HTTP1_FIELDS_MAX; i++)
		buf_puts(&bytes, "X: y\r\n");
	size_t before = bytes.len;
	buf_puts(&bytes, "\r\n");
	cr_assert_eq(parse(bytes.data, bytes.len, &copy), bytes.len);
	cr_assert_eq(head.request.fields.count, HTTP1_FIELDS_MAX);
	cr_assert_eq(parse_slowly(bytes.data, bytes.len, &copy), bytes.len);
	bytes.len = before;
	buf_puts(&bytes, "X: y\r\n\r\n");
	cr_assert_eq(parse(bytes.data, bytes.len, &copy), -EPROTO);
	cr_assert_eq(error.status, 431);
	cr_assert_eq(parse_slowly(bytes.data, bytes.len, &copy), -EPROTO);
	buf_clear(&bytes);
	free(copy);
}

Test(proxy_http1_request, every_byte_has_its_class)
{
	for (int c = 0; c < 256; c++) {
		char byte = (char)c;
		bool is_alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
				(c >= 'A' && c <= 'Z');
		bool is_token = is_alnum || (c && strchr("!#$%&'*+-.^_`|~", c));
		bool is_value = c == '\t' || (c >= ' ' && c != 0x7f);
		cr_assert_eq(http1_is_token((struct span){ &byte, 1 }), is_token, "%d", c);
		for (size_t at = 0; at < 20; at++) {
			char text[20];
			memset(text, 'x', sizeof(text));
			text[at] = byte;
			cr_assert_eq(http1_is_field_value((struct span){ text, 20 }), is_value,
				     "%d at %zu", c, at);
		}
	}
	cr_assert(!http1_is_token((struct span){ "", 0 }));
	cr_assert(http1_is_field_value((struct span){ "", 0 }));
}
