/* SPDX-License-Identifier: Apache-2.0
 *
 * The writing half of an HTTP/1 connection: heads and framing wait in a buffer, a body goes out of its
 * pipe. The same for clients and for servers.
 */
#ifndef PROXY_OUTBOUND_H
#define PROXY_OUTBOUND_H

#include "base/str.h"
#include "proxy/io.h"
#include "proxy/stream.h"

struct outbound {
	struct buf buf; /* heads and framing; buf.data[at ..] is still to be written */
	size_t at;
	enum body_kind kind; /* of the body under way; BODY_NONE: none */
	uint64_t left;	     /* with BODY_LENGTH */
	bool holds_secret;   /* wiped once it is written */
};

/* Before each head: room for a usual one without a realloc(3). 0 or -ENOMEM. */
int outbound_begin(struct outbound *out) MUST_CHECK;

/* A body follows what is in the buffer. */
void outbound_start_body(struct outbound *out, enum body_kind kind, uint64_t content_length);

/* Writes what waits in the buffer. 0: all; -EAGAIN; -ENOMEM: an append failed; another -errno. */
int outbound_flush(struct outbound *out, struct io *io) MUST_CHECK;

/* Writes what is in the buffer and in the pipe, and sets *ret_moved to what was taken off the pipe.
 * 1: the body is whole and written; 0: all that there is; -EAGAIN; -EPIPE and others: broken; -EMSGSIZE:
 * the body is not as long as was said. */
int outbound_move(struct outbound *out, struct io *io, struct pipe *pipe,
		  size_t *ret_moved) MUST_CHECK;

bool outbound_is_empty(const struct outbound *out);
void outbound_clear(struct outbound *out);

#endif
