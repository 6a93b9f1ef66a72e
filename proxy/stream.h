/* SPDX-License-Identifier: Apache-2.0
 *
 * The seam between one exchange (a request and its answer) and the two connections that it stands
 * between. A side is an HTTP/1 connection (client_h1.c, upstream_h1.c) or one stream of HTTP/2
 * (client_h2.c, upstream_h2.c); the exchange does not know which.
 *
 *          client_h1/h2                  exchange                    upstream_h1/h2
 *   head parsed ──────▶ exchange_begin   decides, asks the pool ──▶  up->send_request
 *   body bytes  ──▶ [request_body pipe]  ─── up->body_ready ──────▶  writes them
 *   down->send_response ◀──────────────  exchange_answer_head  ◀───  head parsed
 *   writes them ◀── down->body_ready ──  [answer_body pipe]    ◀───  body bytes
 *
 * Bodies go through two pipes of at most PIPE_BYTES (a long one by HTTP/2: PIPE_WIDE_BYTES). Who fills a pipe calls its `…_ready` on the
 * exchange; who drains it calls `…_space`. A side that finds a pipe full stops reading its socket until
 * it is told of space: so the memory of an exchange is bounded in both directions.
 *
 * Nothing here is called from inside a call in the other direction for the same exchange (`…_space`,
 * `done` and the upstream's `abort` come by tasks), with one exception: exchange_begin, _refuse and
 * _bad_request may call send_response, body_ready and abort for an answer of the proxy's own; a side must
 * be ready for that. An exchange is freed by a task, never under the feet of a caller.
 */
#ifndef PROXY_STREAM_H
#define PROXY_STREAM_H

#include "proxy/message.h"

enum {
	PIPE_BYTES = 64 * 1024,
	PIPE_WIDE_BYTES = 512 * 1024, /* of a long body that comes by HTTP/2, see h2_link.h */
	/* Heads below 200 before one that counts: a server that says 102 each 20 s may do so for as long
	 * as it is waited for. */
	INTERIMS_MAX = 32,
};

/* Bytes of a body on their way. `data` is allocated with the first byte and given back when empty. */
struct pipe {
	uint8_t *data;
	size_t start, len, cap; /* linear: data[start .. start+len); moved to the front when full */
	uint64_t total_bytes;	/* that ever went in */
	bool ended;		/* no more comes: the message is complete once len is 0 */
	/* Of an answer that came by HTTP/2 and may go on by it (gRPC); set before `ended`. Owned, one
	 * allocation with its bytes; NULL: none. A side that cannot carry them lets them be. */
	struct fields *trailers;
};

struct exchange;

/* The client's side. `stream` is the side's own object. */
struct downstream {
	const struct downstream_ops *ops;
	void *stream;
	struct exchange *exchange; /* NULL before begin and after the exchange let go */
};

struct downstream_ops {
	/* Status ≥ 200 comes once; 1xx (also 101 for an admitted upgrade, after which both pipes
	 * carry raw bytes) may come before. `ends`: no body follows. */
	void (*send_response)(void *stream, const struct response *response, bool ends);
	/* answer_body has bytes, or ended. */
	void (*body_ready)(void *stream);
	/* request_body has room again. */
	void (*body_space)(void *stream);
	/* The answer cannot be completed: break off so that the client sees it (HTTP/1: close without
	 * the end; HTTP/2: RST_STREAM). The exchange has let go; `done` does not follow. */
	void (*abort)(void *stream);
	/* The exchange is over for the client: the side may go on with its next request.
	 * `close_after`: it must not be reused. */
	void (*done)(void *stream, bool close_after);
};

struct upstream {
	const struct upstream_ops *ops;
	void *stream;
	struct exchange *exchange;
};

struct upstream_ops {
	/* Writes the head that the exchange's verdict holds (exchange_outgoing). */
	void (*send_request)(void *stream);
	void (*body_ready)(void *stream); /* request_body has bytes, or ended */
	void (*body_space)(void *stream); /* answer_body has room again */
	/* The exchange no longer wants it: the client left, or the answer came before the request's
	 * body was through. HTTP/1: close the connection; HTTP/2: RST_STREAM(CANCEL). */
	void (*abort)(void *stream);
};

/* Room in a pipe, made if need be. → where to write, *ret_room bytes (0: full, or, where it is empty, out
 * of memory). A pipe takes PIPE_BYTES in all. */
uint8_t *pipe_room(struct pipe *pipe, size_t *ret_room);
/* Of a full pipe: it takes PIPE_WIDE_BYTES until it is empty. False: it does already, or out of memory. */
bool pipe_widen(struct pipe *pipe);
void pipe_commit(struct pipe *pipe, size_t len);
void pipe_consume(struct pipe *pipe, size_t len);
void pipe_clear(struct pipe *pipe); /* frees the trailers too */

#endif
