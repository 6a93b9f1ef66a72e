/* SPDX-License-Identifier: Apache-2.0
 *
 * Response heads: one length or none (RFC 9112, 6.3), and no field left that belongs to the connection
 * it came by. Runs in: the proxy's worker. Pure: holds nothing.
 *
 * A server that frames an answer in two ways is not asked which one it meant: the answer is refused,
 * since the bytes behind it might be taken for the answer to the next request on that connection.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "proxy/http1_grammar.h"

enum { NAMED_MAX = 64 }; /* fields that Connection may name: each is looked for in the whole head */

struct framing {
	unsigned lengths, codings, upgrades;
	struct span length, coding, upgrade;
	bool has_close, has_keep_alive;
	unsigned named; /* what Connection names beside close, keep-alive and upgrade */
};

static int refuse(struct http1_error *ret_error, const char *detail)
{
	return http1_refuse(ret_error, 502, "upstream_protocol", detail);
}

static void read_connection(struct framing *framing, struct span list)
{
	struct span element;

	while (http1_next_element(&list, &element)) {
		if (http1_equals(element, SPAN("close")))
			framing->has_close = true;
		else if (http1_equals(element, SPAN("keep-alive")))
			framing->has_keep_alive = true;
		else if (!http1_equals(element, SPAN("upgrade")))
			framing->named++;
	}
}

static void read_field(struct framing *framing, const struct field *field)
{
	switch (http1_name_of(field->name)) {
	case NAME_CONTENT_LENGTH:
		framing->lengths++;
		framing->length = field->value;
		break;
	case NAME_TRANSFER_ENCODING:
		framing->codings++;
		framing->coding = field->value;
		break;
	case NAME_UPGRADE:
		framing->upgrades++;
		framing->upgrade = field->value;
		break;
	case NAME_CONNECTION:
		read_connection(framing, field->value);
		break;
	default:
		break;
	}
}

static bool is_end_to_end(struct span name)
{
	switch (http1_name_of(name)) {
	case NAME_CONTENT_LENGTH:
	case NAME_TRANSFER_ENCODING:
	case NAME_UPGRADE:
	case NAME_CONNECTION:
	case NAME_PROXY_CONNECTION:
	case NAME_HOP_BY_HOP:
		return false;
	default:
		return true;
	}
}

static bool is_same_name(struct span a, struct span b)
{
	return a.len == b.len && strncasecmp(a.at, b.at, a.len) == 0;
}

/* Takes their names from the fields that one Connection field names. */
static void unname_listed(struct field *fields, size_t count, struct span list)
{
	struct span element;

	while (http1_next_element(&list, &element))
		for (size_t i = 0; i < count; i++)
			if (is_same_name(fields[i].name, element) && is_end_to_end(element))
				fields[i].name.len = 0;
}

/* Returns how many fields are left. */
static size_t drop_hop_by_hop(const struct framing *framing, struct field *fields, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; framing->named && i < count; i++)
		if (http1_name_of(fields[i].name) == NAME_CONNECTION)
			unname_listed(fields, count, fields[i].value);
	for (size_t i = 0; i < count; i++)
		if (fields[i].name.len && is_end_to_end(fields[i].name))
			fields[kept++] = fields[i];
	return kept;
}

/* Whether RFC 9110 gives the answer no body whatever its fields say. */
static bool has_no_body(unsigned status, struct span method)
{
	if (status < 200 || status == 204 || status == 304)
		return true;
	if (method.len == 4 && !memcmp(method.at, "HEAD", 4))
		return true;
	return method.len == 7 && !memcmp(method.at, "CONNECT", 7) && status < 300;
}

static int check_coding(const struct framing *framing, const struct http1_response *ret,
			struct http1_error *ret_error)
{
	if (framing->lengths)
		return refuse(ret_error, "Content-Length with Transfer-Encoding");
	if (framing->codings > 1 || !http1_equals(framing->coding, SPAN("chunked")))
		return refuse(ret_error, "a Transfer-Encoding other than `chunked`, once");
	if (!ret->is_http11)
		return refuse(ret_error, "Transfer-Encoding in HTTP/1.0");
	return 0;
}

static int read_framing(const struct framing *framing, struct span method,
			struct http1_response *ret, struct http1_error *ret_error)
{
	struct response *response = &ret->response;
	bool is_empty = has_no_body(response->status, method);

	if (framing->codings)
		TRY(check_coding(framing, ret, ret_error));
	if (framing->lengths > 1)
		return refuse(ret_error, "more than one Content-Length");
	if (framing->lengths) {
		if (http1_parse_length(framing->length, &response->content_length) < 0)
			return refuse(ret_error, "a Content-Length that is no decimal number");
		response->has_content_length = true;
	}
	response->body = is_empty	    ? BODY_NONE
			 : framing->codings ? BODY_CHUNKED
			 : framing->lengths ? BODY_LENGTH
					    : BODY_STREAM;
	return 0;
}

/* A server that announces a body where none can be may send it: what follows on its connection is no
 * answer then. (1xx and 204 must have neither field: RFC 9110, 8.6; RFC 9112, 6.1.) */
static bool announces_impossible_body(const struct response *response,
				      const struct framing *framing)
{
	return (response->status < 200 || response->status == 204) &&
	       (framing->codings || response->content_length);
}

static unsigned status_of(struct span version)
{
	const char *digits = version.at + version.len - 3;

	return (unsigned)((digits[0] - '0') * 100 + (digits[1] - '0') * 10 + (digits[2] - '0'));
}

static int read_head(const struct http1_head *head, struct span method, struct http1_response *ret,
		     struct http1_error *ret_error)
{
	struct response *response = &ret->response;
	struct framing framing = { 0 };

	memset(response, 0, sizeof(*response));
	response->status = status_of(head->version);
	response->phrase = head->phrase;
	ret->is_http11 = head->version.at[strlen("HTTP/1.")] == '1';
	for (size_t i = 0; i < head->field_count; i++)
		read_field(&framing, &ret->fields[i]);
	if (framing.named > NAMED_MAX)
		return refuse(ret_error, "a Connection field that names too much");
	TRY(read_framing(&framing, method, ret, ret_error));
	response->fields.items = ret->fields;
	response->fields.count = drop_hop_by_hop(&framing, ret->fields, head->field_count);
	ret->is_websocket = response->status == 101 && framing.upgrades == 1 &&
			    http1_equals(framing.upgrade, SPAN("websocket"));
	ret->wants_close = framing.has_close || response->body == BODY_STREAM ||
			   !(ret->is_http11 || framing.has_keep_alive) ||
			   announces_impossible_body(response, &framing);
	return 0;
}

ssize_t http1_parse_response(const char *bytes, size_t len, struct http1_scan *scan,
			     struct span method, struct http1_response *ret_head,
			     struct http1_error *ret_error)
{
	struct http1_head head = { .is_response = true, .fields = ret_head->fields };
	ssize_t used = http1_follow_head(bytes, len, scan, &head, ret_error);

	if (used < 0)
		return refuse(ret_error, ret_error->detail);
	if (used > 0)
		TRY(read_head(&head, method, ret_head, ret_error));
	return used;
}
