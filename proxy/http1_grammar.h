/* SPDX-License-Identifier: Apache-2.0
 *
 * What requests and answers have in common: the classes of bytes, one machine that follows a head, and
 * the fields that frame a message. Inside http1_*.c only, but for the two predicates.
 */
#ifndef PROXY_HTTP1_GRAMMAR_H
#define PROXY_HTTP1_GRAMMAR_H

#include "proxy/http1.h"

/* Classes of bytes (RFC 9110, 5.5 and 5.6.2; RFC 3986). */
enum {
	HTTP1_TOKEN = 1,
	HTTP1_TARGET = 2, /* visible, and the bytes beyond ASCII, which the decision refuses */
	HTTP1_VALUE = 4,  /* field-value and reason-phrase: HTAB, SP, visible, obs-text */
	HTTP1_HEX = 8,
};
extern const uint8_t http1_class[256];

/* The first byte from `at` that is not of the class, or `end`. */
const char *http1_skip(const char *at, const char *end, uint8_t class);
const char *http1_skip_value(const char *at,
			     const char *end); /* the same for HTTP1_VALUE, faster */

bool http1_is_token(struct span text);
bool http1_is_field_value(struct span text);

/* Equal without regard to case; `lower` is written in lower case. */
bool http1_equals(struct span text, struct span lower);
struct span http1_trim(struct span text);

/* Takes the next element off a comma-separated list; false at its end. Empty ones are passed over. */
bool http1_next_element(struct span *list, struct span *ret_element);

/* The fields that say how a message and its connection are framed. */
enum http1_name {
	NAME_OTHER,
	NAME_HOST,
	NAME_CONTENT_LENGTH,
	NAME_TRANSFER_ENCODING,
	NAME_CONNECTION,
	NAME_PROXY_CONNECTION,
	NAME_EXPECT,
	NAME_UPGRADE,
	NAME_HOP_BY_HOP, /* the rest of those that end at each connection */
};
enum http1_name http1_name_of(struct span name);

/* 1 to 18 decimal digits: no sign, no list. 0 or -EINVAL. */
int http1_parse_length(struct span text, uint64_t *ret_length) MUST_CHECK;

struct http1_head {
	bool is_response;     /* in; the rest is out */
	struct field *fields; /* room for HTTP1_FIELDS_MAX */
	size_t field_count;
	struct span method, target;  /* of a request */
	struct span version, phrase; /* `HTTP/1.1`, of an answer with its status */
};

/* Follows the grammar through bytes[len]. As http1_parse_request returns. */
ssize_t http1_follow_head(const char *bytes, size_t len, struct http1_scan *scan,
			  struct http1_head *head, struct http1_error *ret_error) MUST_CHECK;

/* Sets *ret_error; returns -EPROTO. */
int http1_refuse(struct http1_error *ret_error, unsigned status, const char *reason,
		 const char *detail);

#endif
