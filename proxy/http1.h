/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP/1 messages, strictly (RFC 9110, RFC 9112): heads, chunked bodies, and their writing. Pure, on
 * memory; the enforcement point of step 1, so ours: table-driven, and what has two readings is refused.
 * The same rules as rootfs/mitmproxy/egress_proxy/http1_grammar.py, with the same reasons.
 */
#ifndef PROXY_HTTP1_H
#define PROXY_HTTP1_H

#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"
#include "proxy/message.h"

enum {
	HTTP1_HEAD_MAX = 64 * 1024, /* with its empty line; larger: 431 head_too_large */
	HTTP1_FIELDS_MAX = 256,	    /* more: the same */
};

struct http1_error {
	unsigned status;    /* 400 or 431; 502 for an answer */
	const char *reason; /* static, docs/audit.md; `upstream_protocol` for an answer */
	const char *detail; /* static */
};

/* How far into a head that is not yet whole the grammar was followed. Zero at the front of each head
 * (a parse that succeeds leaves it so); the bytes already looked at must still stand there in the
 * next call, at whatever address. */
struct http1_scan {
	size_t at;	 /* bytes that need not be looked at again */
	uint8_t state;	 /* of http1_grammar.c */
	uint8_t matched; /* characters of the version or status */
};

struct http1_request {
	struct request request; /* named[], target in origin form, body, expects_continue are set */
	bool is_connect;
	struct authority connect_target; /* of a CONNECT */
	bool is_absolute;		 /* an absolute-form target */
	bool is_absolute_https;
	struct field fields[HTTP1_FIELDS_MAX];
	bool wants_close; /* `Connection: close`, or HTTP/1.0 without keep-alive */
};

/* Parses one head at bytes[len]. Returns its length (> 0), 0 when more is needed, or -EPROTO with
 * *ret_error. Malformed input is found as soon as its first bad byte is there, and a head that comes in
 * pieces costs what two whole ones cost. A buffer of HTTP1_HEAD_MAX is enough: once it is full, 0 is not
 * returned. Spans point into `bytes`; one byte there is written: `http://host?q` has no path, and its
 * target becomes `/?q` over the last byte of the host, which was read before. *ret_head counts only
 * when the result is > 0, and one may serve all connections. */
ssize_t http1_parse_request(char *bytes, size_t len, struct http1_scan *scan,
			    struct http1_request *ret_head,
			    struct http1_error *ret_error) MUST_CHECK;

struct http1_response {
	struct response response; /* hop-by-hop fields gone */
	struct field fields[HTTP1_FIELDS_MAX];
	bool is_http11;
	bool wants_close;  /* the connection must not carry another request */
	bool is_websocket; /* a 101 with exactly `Upgrade: websocket` */
};

/* As above, for an answer to a request of `method` (RFC 9112, 6.3); every failure is 502
 * `upstream_protocol`. One head at a time: after a 1xx the caller parses on. */
ssize_t http1_parse_response(const char *bytes, size_t len, struct http1_scan *scan,
			     struct span method, struct http1_response *ret_head,
			     struct http1_error *ret_error) MUST_CHECK;

/* A body on its way in. */
struct http1_body {
	enum body_kind kind;
	uint64_t left;	   /* of the length, or of the chunk */
	unsigned state;	   /* of http1_body.c */
	size_t line_bytes; /* of a chunk's line or the trailers so far */
	bool is_request;
	bool done;
};

void http1_body_start(struct http1_body *body, enum body_kind kind, uint64_t content_length,
		      bool is_request);

/* Consumes some of bytes[len]: *ret_used of them, of which the last *ret_data_len ones at *ret_data are
 * content (0: only framing). Call again until *ret_used is 0 or body->done. Chunk extensions and
 * trailers are checked and dropped. 0 or -EPROTO with *ret_error. */
int http1_body_read(struct http1_body *body, const char *bytes, size_t len, size_t *ret_used,
		    const char **ret_data, size_t *ret_data_len,
		    struct http1_error *ret_error) MUST_CHECK;

/* How many of the bytes that come next are content and nothing else, so that they may be read straight
 * to where content goes; 0 within framing. They still go through http1_body_read. */
size_t http1_body_content(const struct http1_body *body);

/* The input ended. Whether the body is whole (BODY_STREAM: yes). */
bool http1_body_end(struct http1_body *body);

/* Writing: appends to `out`. Lines are written anew from checked parts. An empty phrase is replaced by
 * the usual one where there is one. */
void http1_write_status(struct buf *out, unsigned status, struct span phrase);
void http1_write_field(struct buf *out, struct span name, struct span value);
/* "1f40\r\n"; the caller appends the data and "\r\n". Returns the length in out[20]. */
size_t http1_chunk_head(char out[static 20], size_t len);

#endif
