/* SPDX-License-Identifier: Apache-2.0
 *
 * A header list of HTTP/2 (RFC 9113, 8) on its way in and out: what nghttp2 decoded, held to the rules of
 * the RFC, as a `struct request` or `struct response`; and an answer or a request as nghttp2 wants
 * it. Pure.
 *
 * nghttp2's own checks of messages are off (nghttp2_option_set_no_http_messaging): it resets the stream,
 * and a program would never read why. Here each fault has a reason, and the client an answer.
 */
#ifndef PROXY_H2_HEAD_H
#define PROXY_H2_HEAD_H

#include <nghttp2/nghttp2.h>

#include "base/str.h"
#include "proxy/message.h"

enum h2_head_limits {
	H2_LIST_BYTES = 64 *
			1024, /* as SETTINGS_MAX_HEADER_LIST_SIZE counts: 32 more for each field */
	H2_FIELDS_MAX = 256,
	H2_LIST_ABSURD = 1024 * 1024, /* the peer saw our limit: this is an attack on our time */
};

struct h2_error {
	unsigned status;    /* 0: no fault */
	const char *reason; /* static, docs/audit.md */
	const char *detail; /* static */
};

/* A list being received. Zero-initialise; one serves a connection, since header blocks do not
 * interleave. */
struct h2_head {
	struct buf bytes; /* each field: two lengths, its name, its value */
	struct buf cookie;
	size_t list_bytes;
	size_t fields, cookies;
	bool is_past_pseudo;
	struct h2_error error; /* the first */
};

void h2_head_reset(struct h2_head *head);

/* One decoded field. Faults are kept in head->error; the rest of the list is still to be decoded, since
 * the connection's compression state depends on it. -E2BIG: give the connection up. */
int h2_head_add(struct h2_head *head, struct span name, struct span value) MUST_CHECK;

/* The whole list of a request; `ends`: no body follows. Spans point into `head` and a table that the
 * next call uses again. Sets method, target, fields, named, body and expects_continue. 0 or -EPROTO
 * with *ret_error. Cookies are joined to one field (8.2.3). */
int h2_head_to_request(struct h2_head *head, bool ends, struct request *ret_request,
		       struct h2_error *ret_error) MUST_CHECK;

/* The same for an answer; `no_body`: to HEAD. The faults are 502 `upstream_protocol`. */
int h2_head_to_response(struct h2_head *head, bool ends, bool is_to_head,
			struct response *ret_response, struct h2_error *ret_error) MUST_CHECK;

/* Trailers: *ret_fields (one allocation, the caller's) has those that may go on, NULL when there are
 * none. 0, -EPROTO with *ret_error, or -ENOMEM. */
int h2_head_to_trailers(struct h2_head *head, struct fields **ret_fields,
			struct h2_error *ret_error) MUST_CHECK;

/* Header lists on their way out: one at a time, nghttp2 copies at submission. */
struct h2_list {
	nghttp2_nv *items; /* room for H2_FIELDS_MAX + 16 */
	size_t count;
	char status[4], length[24];
};

/* An empty one. */
struct h2_list *h2_list_start(void);
/* What does not fit is left out. `is_secret`: never in the compression tables (RFC 7541, 7.1.3). */
void h2_list_add(struct h2_list *list, struct span name, struct span value, bool is_secret);
void h2_list_add_length(struct h2_list *list, uint64_t content_length);
/* `:status`, the fields without those that HTTP/2 forbids, content-length. */
struct h2_list *h2_list_of_response(const struct response *response);
struct h2_list *h2_list_of_fields(const struct fields *fields);

/* Whether an HTTP/2 message may hold the field at all (8.2.2); names in any case. */
bool h2_is_connection_specific(struct span name);

#endif
