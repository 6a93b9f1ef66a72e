/* SPDX-License-Identifier: Apache-2.0
 *
 * Request heads: what the grammar let through is one request for one place with one length, or is
 * refused here. Runs in: the proxy's worker. Pure: holds nothing.
 */
#include <errno.h>
#include <string.h>

#include "proxy/authority.h"
#include "proxy/http1_grammar.h"

/* What the fields say of framing and of the connection. */
struct framing {
	unsigned hosts, lengths, codings;
	struct span host, length, coding;
	bool has_close, has_keep_alive, has_continue;
};

static void read_connection(struct framing *framing, struct span list)
{
	struct span element;

	while (http1_next_element(&list, &element)) {
		framing->has_close |= http1_equals(element, SPAN("close"));
		framing->has_keep_alive |= http1_equals(element, SPAN("keep-alive"));
	}
}

static void read_field(struct framing *framing, const struct field *field)
{
	switch (http1_name_of(field->name)) {
	case NAME_HOST:
		framing->hosts++;
		framing->host = field->value;
		break;
	case NAME_CONTENT_LENGTH:
		framing->lengths++;
		framing->length = field->value;
		break;
	case NAME_TRANSFER_ENCODING:
		framing->codings++;
		framing->coding = field->value;
		break;
	case NAME_CONNECTION:
	case NAME_PROXY_CONNECTION:
		read_connection(framing, field->value);
		break;
	case NAME_EXPECT:
		framing->has_continue |= http1_equals(field->value, SPAN("100-continue"));
		break;
	default:
		break;
	}
}

static int refuse(struct http1_error *ret_error, const char *reason, const char *detail)
{
	return http1_refuse(ret_error, 400, reason, detail);
}

static int parse_authority(struct span raw, struct authority *ret, struct http1_error *ret_error)
{
	const char *problem;

	if (memchr(raw.at, '@', raw.len))
		return refuse(ret_error, "userinfo", "user information in a URL");
	if (authority_parse_or_say(raw, ret, &problem) < 0)
		return refuse(ret_error, "bad_authority", problem);
	return 0;
}

static void add_authority(struct request *request, const struct authority *authority)
{
	request->named[request->named_count++] = *authority;
}

static int parse_connect(struct http1_request *ret, struct http1_error *ret_error)
{
	TRY(parse_authority(ret->request.target, &ret->connect_target, ret_error));
	if (!ret->connect_target.port)
		return refuse(ret_error, "bad_authority", "CONNECT without a port");
	ret->is_connect = true;
	ret->request.target.len = 0;
	return 0;
}

/* Takes `http://` or `https://` off the front. */
static bool take_scheme(struct span *target, bool *ret_is_https)
{
	static const struct span schemes[] = { SPAN("http://"), SPAN("https://") };

	for (size_t i = 0; i < 2; i++) {
		size_t len = schemes[i].len;
		if (target->len < len ||
		    !http1_equals((struct span){ target->at, len }, schemes[i]))
			continue;
		*target = (struct span){ target->at + len, target->len - len };
		*ret_is_https = i == 1;
		return true;
	}
	return false;
}

static int parse_absolute(char *bytes, struct http1_request *ret, struct http1_error *ret_error)
{
	struct span rest = ret->request.target;
	struct authority authority;
	size_t len = 0;

	if (!take_scheme(&rest, &ret->is_absolute_https))
		return refuse(ret_error, "bad_target", "neither a path nor an http(s) URL");
	while (len < rest.len && rest.at[len] != '/' && rest.at[len] != '?' && rest.at[len] != '#')
		len++;
	TRY(parse_authority((struct span){ rest.at, len }, &authority, ret_error));
	add_authority(&ret->request, &authority);
	ret->is_absolute = true;
	if (len < rest.len && rest.at[len] != '/')
		bytes[rest.at + --len - bytes] = '/'; /* see http1.h; the host has a byte to give */
	ret->request.target = len < rest.len ? (struct span){ rest.at + len, rest.len - len }
					     : SPAN("/");
	return 0;
}

static int parse_target(char *bytes, struct http1_request *ret, struct http1_error *ret_error)
{
	struct span method = ret->request.method, target = ret->request.target;

	if (method.len == 7 && !memcmp(method.at, "CONNECT", 7))
		return parse_connect(ret, ret_error);
	if (http1_equals(method, SPAN("connect")))
		return refuse(ret_error, "bad_request_line", "methods are case-sensitive");
	if (target.at[0] == '/')
		return 0;
	if (target.len == 1 && target.at[0] == '*' && method.len == 7 &&
	    !memcmp(method.at, "OPTIONS", 7))
		return 0;
	return parse_absolute(bytes, ret, ret_error);
}

static int parse_host(const struct framing *framing, struct http1_request *ret,
		      struct http1_error *ret_error)
{
	struct authority host;

	if (framing->hosts > 1)
		return refuse(ret_error, "two_hosts", "more than one Host field");
	if (!framing->hosts) {
		/* RFC 9112, 3.2, also where the target is a URL. Not so for a CONNECT: it goes no
		 * further than here, and there are clients that send nothing but its line. */
		if (ret->request.is_http11 && !ret->is_connect)
			return refuse(ret_error, "no_host", "HTTP/1.1 without a Host field");
		return 0;
	}
	TRY(parse_authority(framing->host, &host, ret_error));
	add_authority(&ret->request, &host);
	return 0;
}

static int parse_body(const struct framing *framing, struct request *request,
		      struct http1_error *ret_error)
{
	request->body = BODY_NONE;
	request->content_length = 0;
	if (framing->codings && framing->lengths)
		return refuse(ret_error, "length_and_chunked",
			      "Content-Length with Transfer-Encoding");
	if (framing->lengths > 1)
		return refuse(ret_error, "two_lengths", "more than one Content-Length");
	if (framing->codings) {
		if (framing->codings > 1 || !http1_equals(framing->coding, SPAN("chunked")) ||
		    !request->is_http11)
			return refuse(ret_error, "bad_transfer_encoding",
				      "only `chunked`, once, in HTTP/1.1");
		request->body = BODY_CHUNKED;
		return 0;
	}
	if (!framing->lengths)
		return 0;
	if (http1_parse_length(framing->length, &request->content_length) < 0)
		return refuse(ret_error, "bad_length",
			      "a Content-Length that is no decimal number");
	request->body = BODY_LENGTH;
	return 0;
}

/* Whether any body follows: a length of 0 says that none does. */
static bool has_body(const struct request *request)
{
	return request->body == BODY_CHUNKED || request->content_length > 0;
}

static int read_head(char *bytes, const struct http1_head *head, struct http1_request *ret,
		     struct http1_error *ret_error)
{
	struct request *request = &ret->request;
	struct framing framing = { 0 };

	memset(request, 0, sizeof(*request));
	ret->is_connect = ret->is_absolute = ret->is_absolute_https = false;
	request->method = head->method;
	request->target = head->target;
	request->is_http11 = head->version.at[head->version.len - 1] == '1';
	request->fields = (struct fields){ ret->fields, head->field_count };
	for (size_t i = 0; i < head->field_count; i++)
		read_field(&framing, &ret->fields[i]);
	TRY(parse_target(bytes, ret, ret_error));
	TRY(parse_host(&framing, ret, ret_error));
	TRY(parse_body(&framing, request, ret_error));
	if (ret->is_connect && has_body(request))
		return refuse(ret_error, "bad_framing", "a CONNECT with a body");
	request->expects_continue = framing.has_continue && request->is_http11 && has_body(request);
	ret->wants_close = framing.has_close || !(request->is_http11 || framing.has_keep_alive);
	return 0;
}

ssize_t http1_parse_request(char *bytes, size_t len, struct http1_scan *scan,
			    struct http1_request *ret_head, struct http1_error *ret_error)
{
	struct http1_head head = { .fields = ret_head->fields };
	ssize_t used = http1_follow_head(bytes, len, scan, &head, ret_error);

	if (used > 0)
		TRY(read_head(bytes, &head, ret_head, ret_error));
	return used;
}
