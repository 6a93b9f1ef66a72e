/* SPDX-License-Identifier: Apache-2.0
 *
 * Header lists coming in; see h2_head.h. Runs in: the proxy's worker. Pure.
 *
 * What every recipient of HTTP/2 must refuse is refused here with `bad_http2`: fields of the connection,
 * upper case, pseudo-fields that are unknown, twice, late or missing. Which bytes a name, a value, a
 * method or a path may hold is left to the decision, which judges HTTP/1 and HTTP/2 alike.
 */
#include "proxy/h2_head.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/authority.h"
#include "proxy/http1_grammar.h"

struct lengths {
	uint32_t name, value;
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool is_word(struct span text, const char *word)
{
	return text.len == strlen(word) && !memcmp(text.at, word, text.len);
}

void h2_head_reset(struct h2_head *head)
{
	buf_clear(&head->bytes);
	buf_clear(&head->cookie);
	*head = (struct h2_head){ 0 };
}

/* Keeps the first fault. */
static void spoil(struct h2_head *head, unsigned status, const char *reason, const char *detail)
{
	if (!head->error.status)
		head->error = (struct h2_error){ status, reason, detail };
}

static bool has_upper_case(struct span name)
{
	for (size_t i = 0; i < name.len; i++)
		if (name.at[i] >= 'A' && name.at[i] <= 'Z')
			return true;
	return false;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

bool h2_is_connection_specific(struct span name)
{
	static const struct span forbidden[] = {
		SPAN("connection"),	   SPAN("keep-alive"), SPAN("proxy-connection"),
		SPAN("transfer-encoding"), SPAN("upgrade"),
	};

	for (size_t i = 0; i < COUNT(forbidden); i++)
		if (http1_equals(name, forbidden[i]))
			return true;
	return false;
}

/* RFC 9113, 8.2 and 8.3: what one field alone can do wrong. NULL: nothing. */
static const char *field_problem(const struct h2_head *head, struct span name, struct span value)
{
	if (!name.len)
		return "a field without a name";
	if (name.at[0] == ':')
		return head->is_past_pseudo ? "a pseudo-field after other fields" : NULL;
	if (has_upper_case(name))
		return "a field name in upper case";
	if (h2_is_connection_specific(name))
		return "a field that belongs to HTTP/1 connections";
	if (is_word(name, "te") && !is_word(value, "trailers"))
		return "te is not trailers";
	if (value.len && (is_blank(value.at[0]) || is_blank(value.at[value.len - 1])))
		return "a field value with white space around it";
	return NULL;
}

static void keep(struct h2_head *head, struct span name, struct span value)
{
	struct lengths lengths = { (uint32_t)name.len, (uint32_t)value.len };

	buf_append(&head->bytes, &lengths, sizeof(lengths));
	buf_append(&head->bytes, name.at, name.len);
	buf_append(&head->bytes, value.at, value.len);
	if (head->bytes.failed)
		spoil(head, 502, "upstream_error", "out of memory");
}

int h2_head_add(struct h2_head *head, struct span name, struct span value)
{
	const char *problem = field_problem(head, name, value);

	head->list_bytes += name.len + value.len + 32;
	head->fields++;
	head->cookies += is_word(name, "cookie");
	if (head->list_bytes > H2_LIST_ABSURD)
		return -E2BIG;
	if (head->list_bytes > H2_LIST_BYTES || head->fields > H2_FIELDS_MAX)
		spoil(head, 431, "head_too_large", "more than 64 KiB or 256 fields");
	if (problem)
		spoil(head, 400, "bad_http2", problem);
	head->is_past_pseudo |= !name.len || name.at[0] != ':';
	if (!head->error.status)
		keep(head, name, value);
	return 0;
}

static bool next_field(const struct h2_head *head, size_t *at, struct field *ret)
{
	struct lengths lengths;
	const char *bytes;

	if (*at >= head->bytes.len)
		return false;
	bytes = head->bytes.data + *at;
	memcpy(&lengths, bytes, sizeof(lengths));
	bytes += sizeof(lengths);
	ret->name = (struct span){ bytes, lengths.name };
	ret->value = (struct span){ bytes + lengths.name, lengths.value };
	*at += sizeof(lengths) + lengths.name + lengths.value;
	return true;
}

/* Pseudo-fields of one kind of message. */
struct pseudo {
	const char *name;
	struct span *value;
	bool is_seen;
};

static void take_pseudo(struct h2_head *head, struct pseudo *wanted, size_t count,
			const struct field *field)
{
	for (size_t i = 0; i < count; i++) {
		if (!is_word(field->name, wanted[i].name))
			continue;
		if (wanted[i].is_seen)
			spoil(head, 400, "bad_http2", "a pseudo-field twice");
		wanted[i].is_seen = true;
		*wanted[i].value = field->value;
		return;
	}
	spoil(head, 400, "bad_http2", "a pseudo-field that is unknown here");
}

/* RFC 9113, 8.2.3: crumbs of one cookie, which HTTP/1 knows only whole. */
static void join_cookies(struct h2_head *head)
{
	struct field field;
	size_t at = 0;

	while (head->cookies > 1 && next_field(head, &at, &field)) {
		if (!is_word(field.name, "cookie"))
			continue;
		if (head->cookie.len)
			buf_puts(&head->cookie, "; ");
		buf_append(&head->cookie, field.value.at, field.value.len);
	}
	if (head->cookie.failed)
		spoil(head, 502, "upstream_error", "out of memory");
}

/* The table that the fields of the message at hand stand in; who begins an exchange copies them. */
static struct field table[H2_FIELDS_MAX];

/* Splits the list, as far as it is good, into pseudo-fields and the rest. */
static void sort_fields(struct h2_head *head, struct pseudo *wanted, size_t count,
			struct fields *ret_fields)
{
	bool has_cookie = false;
	struct field field;
	size_t at = 0;

	*ret_fields = (struct fields){ table, 0 };
	join_cookies(head);
	while (next_field(head, &at, &field)) {
		if (field.name.at[0] == ':') {
			take_pseudo(head, wanted, count, &field);
			continue;
		}
		if (head->cookies > 1 && is_word(field.name, "cookie")) {
			if (has_cookie)
				continue;
			has_cookie = true;
			field.value = (struct span){ head->cookie.data, head->cookie.len };
		}
		table[ret_fields->count++] = field;
	}
}

/* 0, 1, or -EPROTO: whether there is a content-length, which is one and a number. */
static int find_length(struct h2_head *head, const struct fields *fields, uint64_t *ret_length)
{
	int found = 0;

	for (size_t i = 0; i < fields->count; i++) {
		if (!is_word(fields->items[i].name, "content-length"))
			continue;
		if (found++ || http1_parse_length(fields->items[i].value, ret_length) < 0) {
			spoil(head, 400, "bad_http2", "content-length is not one number");
			return -EPROTO;
		}
	}
	return found;
}

static void frame_request(struct h2_head *head, bool ends, struct request *request)
{
	uint64_t length = 0;
	int found = find_length(head, &request->fields, &length);

	if (found < 0)
		return;
	if (ends && length)
		spoil(head, 400, "bad_http2", "content-length without a body");
	request->body = found ? BODY_LENGTH : ends ? BODY_NONE : BODY_STREAM;
	request->content_length = length;
}

static void name_host(struct h2_head *head, struct span host, struct request *request)
{
	const char *problem = "";

	if (authority_parse_or_say(host, &request->named[request->named_count], &problem) < 0)
		spoil(head, 400, "bad_authority", problem);
	else
		request->named_count++;
}

/* :authority and Host; one of them must be there (8.3.1), and the decision compares them. */
static void name_hosts(struct h2_head *head, const struct pseudo *authority,
		       struct request *request)
{
	bool has_host = false;

	if (authority->is_seen)
		name_host(head, *authority->value, request);
	for (size_t i = 0; i < request->fields.count; i++) {
		if (!is_word(request->fields.items[i].name, "host"))
			continue;
		if (has_host)
			spoil(head, 400, "two_hosts", "more than one Host");
		else
			name_host(head, request->fields.items[i].value, request);
		has_host = true;
	}
	if (!authority->is_seen && !has_host)
		spoil(head, 400, "bad_http2", "neither :authority nor host");
}

static void check_expect(struct request *request)
{
	for (size_t i = 0; i < request->fields.count; i++)
		request->expects_continue |= is_word(request->fields.items[i].name, "expect") &&
					     http1_equals(request->fields.items[i].value,
							  SPAN("100-continue"));
}

static int outcome(struct h2_head *head, struct h2_error *ret_error)
{
	*ret_error = head->error;
	return head->error.status ? -EPROTO : 0;
}

int h2_head_to_request(struct h2_head *head, bool ends, struct request *ret_request,
		       struct h2_error *ret_error)
{
	struct span scheme = { 0 }, authority_text = { 0 }, protocol = { 0 };
	struct pseudo wanted[] = {
		{ ":method", &ret_request->method, false },
		{ ":path", &ret_request->target, false },
		{ ":scheme", &scheme, false },
		{ ":authority", &authority_text, false },
		{ ":protocol", &protocol, false },
	};

	sort_fields(head, wanted, COUNT(wanted), &ret_request->fields);
	ret_request->is_http2 = true;
	ret_request->named_count = 0;
	if (wanted[4].is_seen)
		spoil(head, 400, "bad_http2", "extended CONNECT was not offered");
	if (is_word(ret_request->method, "CONNECT"))
		spoil(head, 400, "nested_connect", "CONNECT inside CONNECT");
	if (http1_equals(ret_request->method, SPAN("connect")))
		spoil(head, 400, "bad_http2", "methods are case-sensitive");
	if (is_word(ret_request->target, "*") && !is_word(ret_request->method, "OPTIONS"))
		spoil(head, 400, "bad_http2", "* as a path is for OPTIONS alone");
	if (!ret_request->method.len || !ret_request->target.len || !wanted[2].is_seen)
		spoil(head, 400, "bad_http2", "a pseudo-field is missing or empty");
	if (!is_word(scheme, "https"))
		spoil(head, 400, "bad_authority", ":scheme is not https");
	if (!head->error.status)
		name_hosts(head, &wanted[3], ret_request);
	if (!head->error.status)
		frame_request(head, ends, ret_request);
	if (!head->error.status)
		check_expect(ret_request);
	return outcome(head, ret_error);
}

static bool is_framing(struct span name)
{
	return is_word(name, "content-length") || is_word(name, "te") || is_word(name, "trailer");
}

static void drop_framing(struct fields *fields)
{
	size_t kept = 0;

	for (size_t i = 0; i < fields->count; i++)
		if (!is_framing(fields->items[i].name))
			fields->items[kept++] = fields->items[i];
	fields->count = kept;
}

/* Three digits, 100 to 599; 101 has no meaning here (8.6). 0: none of them. */
static unsigned status_of(struct span text)
{
	unsigned status = 0;

	for (size_t i = 0; i < text.len && text.len == 3; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return 0;
		status = status * 10 + (unsigned)(text.at[i] - '0');
	}
	return status >= 100 && status < 1000 && status != 101 ? status : 0;
}

/* An answer goes on by HTTP/1 too, where a byte too many is another answer. */
static void check_bytes(struct h2_head *head, const struct fields *fields)
{
	for (size_t i = 0; i < fields->count; i++)
		if (!http1_is_token(fields->items[i].name) ||
		    !http1_is_field_value(fields->items[i].value))
			spoil(head, 502, "upstream_protocol", "a header field with a bad byte");
}

static void frame_response(struct h2_head *head, bool ends, bool is_to_head,
			   struct response *response)
{
	uint64_t length = 0;
	bool is_bare = is_to_head || response->status == 204 || response->status == 304;
	int found = find_length(head, &response->fields, &length);

	if (found < 0)
		return;
	if (ends && length && !is_bare)
		spoil(head, 502, "upstream_protocol", "content-length without a body");
	response->has_content_length = found;
	response->content_length = length;
	response->body = ends ? BODY_NONE : found ? BODY_LENGTH : BODY_STREAM;
}

int h2_head_to_response(struct h2_head *head, bool ends, bool is_to_head,
			struct response *ret_response, struct h2_error *ret_error)
{
	struct span status = { 0 };
	struct pseudo wanted[] = { { ":status", &status, false } };

	*ret_response = (struct response){ 0 };
	sort_fields(head, wanted, COUNT(wanted), &ret_response->fields);
	ret_response->status = status_of(status);
	if (!ret_response->status || (ret_response->status < 200 && ends))
		spoil(head, 502, "upstream_protocol", "no status, or one that cannot be");
	if (!head->error.status)
		check_bytes(head, &ret_response->fields);
	if (!head->error.status)
		frame_response(head, ends, is_to_head, ret_response);
	drop_framing(&ret_response->fields);
	if (head->error.status) {
		head->error.status = 502;
		head->error.reason = "upstream_protocol";
	}
	return outcome(head, ret_error);
}

/* RFC 9110, 6.5.1: what frames, routes or identifies must stand in front of the body. */
static bool may_trail(struct span name)
{
	static const char *const never[] = {
		"authorization", "content-encoding", "content-length",
		"content-range", "content-type",     "cookie",
		"host",		 "set-cookie",	     "te",
		"trailer",
	};

	for (size_t i = 0; i < COUNT(never); i++)
		if (is_word(name, never[i]))
			return false;
	return true;
}

static size_t keep_trailing(struct fields *fields)
{
	size_t kept = 0, bytes = 0;

	for (size_t i = 0; i < fields->count; i++) {
		if (!may_trail(fields->items[i].name))
			continue;
		bytes += fields->items[i].name.len + fields->items[i].value.len;
		fields->items[kept++] = fields->items[i];
	}
	fields->count = kept;
	return bytes;
}

static struct span copy_to(char **out, struct span text)
{
	struct span copy = { *out, text.len };

	memcpy(*out, text.at, text.len);
	*out += text.len;
	return copy;
}

static struct fields *copy_fields(const struct fields *fields, size_t bytes)
{
	struct fields *copy = malloc(sizeof(*copy) + fields->count * sizeof(struct field) + bytes);
	char *out;

	if (!copy)
		return NULL;
	copy->items = (struct field *)(copy + 1);
	copy->count = fields->count;
	out = (char *)(copy->items + copy->count);
	for (size_t i = 0; i < copy->count; i++) {
		copy->items[i].name = copy_to(&out, fields->items[i].name);
		copy->items[i].value = copy_to(&out, fields->items[i].value);
	}
	return copy;
}

int h2_head_to_trailers(struct h2_head *head, struct fields **ret_fields,
			struct h2_error *ret_error)
{
	struct fields fields;
	size_t bytes;

	sort_fields(head, NULL, 0, &fields);
	if (!head->error.status)
		check_bytes(head, &fields);
	TRY(outcome(head, ret_error));
	bytes = keep_trailing(&fields);
	*ret_fields = NULL;
	if (!fields.count)
		return 0;
	*ret_fields = copy_fields(&fields, bytes);
	return *ret_fields ? 0 : -ENOMEM;
}
