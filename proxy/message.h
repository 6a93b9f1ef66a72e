/* SPDX-License-Identifier: Apache-2.0
 *
 * A request and an answer as every part of the proxy sees them, whichever version of HTTP brought
 * them (RFC 9110). Everything here is borrowed: spans point into the buffer of the connection that
 * parsed the head, or into an arena of its own for HTTP/2, and live until that exchange's head was
 * sent on.
 */
#ifndef PROXY_MESSAGE_H
#define PROXY_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HOST_BYTES = 256 };

struct span {
	const char *at;
	size_t len;
};

struct field {
	struct span name, value; /* name as it came; value without surrounding white space */
};

struct fields {
	struct field *items;
	size_t count;
};

/* A host in its one form: a lower-case name of A-labels without a final dot, or an IP literal in its
 * shortest form without brackets. */
struct authority {
	char host[HOST_BYTES]; /* "": none */
	uint16_t port;	       /* 0: none was given */
};

enum body_kind {
	BODY_NONE,
	BODY_LENGTH,  /* content_length bytes */
	BODY_CHUNKED, /* RFC 9112, 7.1 */
	BODY_STREAM, /* until the peer ends it: HTTP/2 END_STREAM, or an HTTP/1 answer up to the close */
};

struct request {
	bool is_https;	 /* it came inside CONNECT and TLS */
	bool is_http2;	 /* by HTTP/2 */
	bool is_http11;	 /* by HTTP/1.1, not 1.0 */
	bool is_upgrade; /* set by the exchange: an admitted WebSocket handshake */
	bool expects_continue;
	struct span method;
	struct span target; /* as sent, in origin form, or `*` */
	struct authority
		named[2]; /* what the URL and Host (:authority and host) name, each canonical */
	size_t named_count;
	const struct authority *connect; /* of the CONNECT around it, or NULL */
	const char *sni;		 /* of the TLS around it, as sent, or NULL */
	struct fields fields;		 /* without pseudo-fields; Host may be among them */
	enum body_kind body;
	uint64_t content_length; /* with BODY_LENGTH */
};

struct response {
	unsigned status;
	struct span phrase;   /* HTTP/1 only; may be empty */
	struct fields fields; /* hop-by-hop fields and framing are gone */
	enum body_kind body;
	uint64_t content_length;
	bool has_content_length; /* also where there is no body: HEAD, 304 */
	bool ends_connection;	 /* HTTP/1: the client's connection is not used after it */
};

/* RFC 9110, 8.6: an interim answer and a 204 say none, whatever the server said. */
static inline bool response_tells_length(const struct response *response)
{
	return response->has_content_length && response->status >= 200 && response->status != 204;
}

#define SPAN(literal) ((struct span){ (literal), sizeof(literal) - 1 })

#endif
