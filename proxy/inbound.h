/* SPDX-License-Identifier: Apache-2.0
 *
 * The reading half of an HTTP/1 connection: bytes that were read and not yet used, and the body that
 * is under way. The same for clients and for servers.
 */
#ifndef PROXY_INBOUND_H
#define PROXY_INBOUND_H

#include "proxy/http1.h"
#include "proxy/io.h"
#include "proxy/stream.h"

struct inbound {
	char *data; /* data[start .. start+len); NULL while there is nothing */
	size_t start, len, cap;
	struct http1_scan scan; /* of the head at `start` */
	struct http1_body body;
};

enum inbound_result {
	INBOUND_MOVED, /* ret_step->moved bytes, may be 0; call again */
	INBOUND_DONE,  /* the body is whole; ret_step->moved bytes came with its end */
	INBOUND_AGAIN, /* the socket has no more for now */
	INBOUND_FULL,  /* the pipe has no room */
	INBOUND_ENDED, /* the peer ended its side in the middle of the body */
	INBOUND_RESET, /* or the connection broke */
	INBOUND_BAD,   /* ret_step->error says what */
	INBOUND_NO_MEMORY,
};

/* Reads once, at most `limit` bytes, to the end of what is there. > 0 bytes; 0: the peer ended; -EAGAIN;
 * -ENOBUFS: HTTP1_HEAD_MAX bytes are there; -ENOMEM; another -errno: broken. */
ssize_t inbound_fill(struct inbound *in, struct io *io, size_t limit) MUST_CHECK;

char *inbound_bytes(struct inbound *in);
void inbound_use(struct inbound *in, size_t len);

/* What inbound_move did. */
struct inbound_step {
	size_t moved; /* bytes of content, into the pipe */
	size_t used;  /* bytes of the connection, framing too: what it cost */
	struct http1_error error;
};

/* Moves what is there, or one read's worth, of the body into the pipe. Long content is read straight
 * into it. Does not set pipe->ended. */
enum inbound_result inbound_move(struct inbound *in, struct io *io, struct pipe *pipe,
				 struct inbound_step *ret_step) MUST_CHECK;

void inbound_clear(struct inbound *in);

#endif
