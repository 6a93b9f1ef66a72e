/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP/1 to a server; see upstream.h. Runs in: the proxy's worker. Holds: a request's credential until it
 * is written.
 *
 *   idle ─take─▶ request goes out, answer comes in, at the same time ─▶ both whole ─▶ idle, or closed
 *
 * An answer may end before its request: the exchange then ends and aborts us. A failure that is found
 * while a call comes from the client's side is told by a task, see stream.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/exchange.h"
#include "proxy/pool.h"
#include "proxy/upstream.h"
#include "proxy/upstream_head.h"
#include "proxy/websocket.h"

struct upstream_h1 {
	struct upstream up; /* up.exchange NULL: idle */
	bool is_reused;
	bool is_sent;	   /* the request, to its last byte */
	bool has_head;	   /* of the final answer, or a 101 */
	bool is_whole;	   /* the answer */
	bool is_raw;	   /* a WebSocket */
	bool is_blocked;   /* the pipe was full */
	bool has_news;	   /* bytes in the pipe of which the exchange was not told */
	bool is_broken;	   /* for writing; what there is to read is still read */
	bool wants_close;  /* the connection serves no other request */
	const char *error; /* to be told by a task: a detail of upstream_error */
};

static void read_answer(struct upstream_conn *conn);

static struct upstream_h1 *h1_of(const struct upstream_conn *conn)
{
	return conn->protocol;
}

/* ---- ends ---- */

static void fail(struct upstream_conn *conn, const char *reason, const char *detail)
{
	struct upstream_h1 *h1 = h1_of(conn);
	struct exchange *exchange = h1->up.exchange;
	bool may_be_stale = h1->is_reused && !h1->has_head && !conn->in.len;

	h1->up.exchange = NULL;
	upstream_close(conn);
	if (may_be_stale && exchange_retry(exchange))
		return;
	exchange_upstream_failed(exchange, 502, reason, detail);
}

/* Nothing unasked has come and the server has not closed. */
static bool is_quiet(struct upstream_conn *conn)
{
	char byte;

	return !conn->in.len && (!conn->io.may_read || io_read(&conn->io, &byte, 1) == -EAGAIN);
}

static void end_exchange(struct upstream_conn *conn)
{
	struct upstream_h1 *h1 = h1_of(conn);
	struct exchange *exchange = h1->up.exchange;

	h1->up.exchange = NULL;
	exchange_upstream_done(exchange);
	if (h1->wants_close || h1->is_raw || conn->in.len || conn->io.peer_ended) {
		upstream_close(conn);
		return;
	}
	upstream_set_deadline(conn, UPSTREAM_IDLE_MS);
	pool_release(conn, true);
}

static void end_when_complete(struct upstream_conn *conn)
{
	struct upstream_h1 *h1 = h1_of(conn);

	if (h1->up.exchange && h1->is_sent && h1->is_whole)
		end_exchange(conn);
}

/* ---- the request ---- */

static void send_more(struct upstream_conn *conn)
{
	struct upstream_h1 *h1 = h1_of(conn);
	struct exchange *exchange = h1->up.exchange;
	size_t moved;
	int rc;

	if (h1->is_sent || h1->is_broken)
		return;
	rc = outbound_move(&conn->out, &conn->io, &exchange->request_body, &moved);
	if (moved) {
		upstream_set_deadline(conn, h1->is_raw ? 0 : UPSTREAM_ANSWER_MS);
		exchange_request_space(exchange);
	}
	if (rc == 1) {
		h1->is_sent = true;
		if (h1->is_raw)
			io_end(&conn->io);
	} else if (rc < 0 && rc != -EAGAIN) {
		h1->is_broken = h1->wants_close = true;
		h1->error = rc == -ENOMEM ? "out of memory" : NULL;
		upstream_defer(conn);
	}
}

static void on_send_request(void *stream)
{
	struct upstream_conn *conn = stream;
	struct upstream_h1 *h1 = h1_of(conn);
	const struct request *request = &h1->up.exchange->request;
	enum body_kind framing = upstream_framing(request);

	if (upstream_write_request(&conn->out, h1->up.exchange) < 0) {
		h1->error = "out of memory";
		upstream_defer(conn);
		return;
	}
	outbound_start_body(&conn->out, framing, request->content_length);
	/* The first of the body is most often here already, and leaves with the head. */
	if (h1->up.exchange->request_body.ended || h1->up.exchange->request_body.len)
		send_more(conn);
	else
		upstream_defer(conn);
}

static void on_body_ready(void *stream)
{
	send_more(stream);
	end_when_complete(stream);
}

/* ---- the answer ---- */

static bool begin_websocket(struct upstream_conn *conn, const struct http1_response *head)
{
	struct upstream_h1 *h1 = h1_of(conn);
	const struct exchange *exchange = h1->up.exchange;

	if (!exchange->verdict.is_websocket || !head->is_websocket ||
	    !websocket_is_accepted(&exchange->request.fields, &head->response.fields))
		return false;
	h1->is_raw = h1->has_head = true;
	h1->is_sent = false;
	outbound_start_body(&conn->out, BODY_STREAM, 0);
	http1_body_start(&conn->in.body, BODY_STREAM, 0, false);
	upstream_set_deadline(conn, 0);
	return true;
}

static void pass_final(struct upstream_conn *conn, struct http1_response *head)
{
	struct upstream_h1 *h1 = h1_of(conn);

	h1->has_head = true;
	h1->wants_close |= head->wants_close;
	http1_body_start(&conn->in.body, head->response.body, head->response.content_length, false);
	head->response.ends_connection = head->response.body == BODY_STREAM;
	h1->is_whole = conn->in.body.done;
	exchange_answer_head(h1->up.exchange, &head->response, h1->is_whole);
}

/* Interim answers but for 100 are no business of the client's. false: failed. */
static bool pass_head(struct upstream_conn *conn, struct http1_response *head)
{
	unsigned status = head->response.status;

	if (status < 200 && !exchange_admit_interim(h1_of(conn)->up.exchange)) {
		h1_of(conn)->is_reused = false;
		fail(conn, "upstream_protocol", "interim answers without an end");
		return false;
	}
	if (status >= 200) {
		pass_final(conn, head);
	} else if (status == 101) {
		if (!begin_websocket(conn, head)) {
			h1_of(conn)->is_reused = false;
			fail(conn, "upstream_protocol", "a 101 that was not asked for");
			return false;
		}
		exchange_answer_head(h1_of(conn)->up.exchange, &head->response, false);
	} else if (status == 100) {
		exchange_answer_head(h1_of(conn)->up.exchange, &head->response, false);
	}
	return true;
}

static void fail_reading(struct upstream_conn *conn, ssize_t rc)
{
	if (rc == -ENOMEM)
		fail(conn, "upstream_error", "out of memory");
	else if (conn->io.is_flooded)
		fail(conn, "upstream_tls", "handshake messages without an end");
	else if (h1_of(conn)->has_head)
		fail(conn, "upstream_closed", "the server closed in the middle of its answer");
	else
		fail(conn, "upstream_closed", "the server closed before its answer");
}

/* Takes `bytes` off the share. false: it is used up, and a task goes on. */
static bool spend(struct upstream_conn *conn, size_t *budget, size_t bytes)
{
	*budget -= bytes < *budget ? bytes : *budget;
	if (!*budget)
		upstream_defer(conn);
	return *budget > 0;
}

/* One head, if it is there. false: wait, or failed. */
static bool read_head(struct upstream_conn *conn, size_t *budget)
{
	static struct http1_response head;
	struct http1_error error;
	struct upstream_h1 *h1 = h1_of(conn);
	struct span method = conn->is_refused ? SPAN("CONNECT") : h1->up.exchange->request.method;
	ssize_t used = 0;

	if (conn->in.len)
		used = http1_parse_response(inbound_bytes(&conn->in), conn->in.len, &conn->in.scan,
					    method, &head, &error);
	if (used < 0) {
		fail(conn, error.reason, error.detail);
		return false;
	}
	if (used > 0) {
		if (!pass_head(conn, &head))
			return false;
		inbound_use(&conn->in, (size_t)used);
		return spend(conn, budget, (size_t)used);
	}
	used = inbound_fill(&conn->in, &conn->io, SIZE_MAX);
	if (used <= 0 && used != -EAGAIN)
		fail_reading(conn, used);
	return used > 0;
}

static void tell(struct upstream_h1 *h1)
{
	h1->has_news = false;
	exchange_answer_ready(h1->up.exchange);
}

/* The pipe is full. Returns whether the client took some of it at once. */
static bool make_room(struct upstream_conn *conn)
{
	struct upstream_h1 *h1 = h1_of(conn);

	if (h1->has_news)
		tell(h1);
	if (h1->up.exchange->answer_body.len < PIPE_BYTES)
		return true;
	h1->is_blocked = true; /* it is for the client to have a deadline */
	upstream_set_deadline(conn, 0);
	return false;
}

/* What one step of the body came to. Returns whether to go on. The client is told when there is no more
 * for now: so it gets much at once, and nothing waits. */
static bool judge_body(struct upstream_conn *conn, enum inbound_result result, size_t moved,
		       const struct http1_error *error)
{
	struct upstream_h1 *h1 = h1_of(conn);
	struct exchange *exchange = h1->up.exchange;

	switch (result) {
	case INBOUND_DONE:
		h1->is_whole = exchange->answer_body.ended = true;
		tell(h1);
		return false;
	case INBOUND_MOVED:
		h1->has_news |= moved > 0;
		return true;
	case INBOUND_FULL:
		return make_room(conn);
	case INBOUND_AGAIN:
		if (h1->has_news)
			tell(h1);
		return false;
	case INBOUND_BAD:
		fail(conn, error->reason, error->detail);
		return false;
	case INBOUND_NO_MEMORY:
		fail_reading(conn, -ENOMEM);
		return false;
	case INBOUND_ENDED:
	case INBOUND_RESET:
		fail_reading(conn, 0);
		return false;
	}
	return false;
}

static bool read_body(struct upstream_conn *conn, size_t *budget)
{
	struct exchange *exchange = h1_of(conn)->up.exchange;
	struct inbound_step move;
	enum inbound_result result = inbound_move(&conn->in, &conn->io, &exchange->answer_body,
						  &move);

	if (move.moved && !h1_of(conn)->is_raw)
		upstream_set_deadline(conn, UPSTREAM_STALL_MS);
	if (!judge_body(conn, result, move.moved, &move.error))
		return false;
	if (spend(conn, budget, move.used))
		return true;
	if (h1_of(conn)->has_news)
		tell(h1_of(conn));
	return false;
}

static void read_answer(struct upstream_conn *conn)
{
	struct upstream_h1 *h1 = h1_of(conn);
	size_t budget = IO_SHARE_BYTES;

	h1->is_blocked = false;
	while (h1->up.exchange && !h1->is_whole)
		if (!(h1->has_head ? read_body(conn, &budget) : read_head(conn, &budget)))
			break;
	if (!conn->is_closed)
		end_when_complete(conn);
}

static void on_body_space(void *stream)
{
	struct upstream_conn *conn = stream;

	if (!h1_of(conn)->is_blocked)
		return;
	if (!h1_of(conn)->is_raw)
		upstream_set_deadline(conn, UPSTREAM_STALL_MS);
	read_answer(conn);
}

static void on_abort(void *stream)
{
	upstream_close(stream);
}

static const struct upstream_ops up_ops = {
	.send_request = on_send_request,
	.body_ready = on_body_ready,
	.body_space = on_body_space,
	.abort = on_abort,
};

/* ---- the connection ---- */

static void on_ready(struct upstream_conn *conn)
{
	struct upstream_h1 *h1 = h1_of(conn);

	if (!h1->up.exchange) {
		if (!is_quiet(conn))
			upstream_close(conn);
		return;
	}
	if (h1->error) {
		h1->is_reused = false;
		fail(conn, "upstream_error", h1->error);
		return;
	}
	send_more(conn);
	read_answer(conn);
	/* Nothing more can be written, and there was no answer to read: none will come. */
	if (!conn->is_closed && h1->up.exchange && h1->is_broken && (h1->is_raw || !h1->has_head))
		fail(conn, "upstream_closed", "the server closed before its answer");
}

static void on_due(struct upstream_conn *conn)
{
	if (h1_of(conn)->up.exchange)
		fail(conn, "upstream_closed", "the server went silent");
	else
		upstream_close(conn);
}

/* The pool found it idle, but it may have been closed meanwhile. */
static void replace(struct upstream_conn *conn, struct exchange *exchange)
{
	upstream_close(conn);
	exchange->wish.wants_fresh = true;
	pool_acquire(exchange);
}

static void on_take(struct upstream_conn *conn, struct exchange *exchange)
{
	struct upstream_h1 *h1 = h1_of(conn);

	if (conn->is_used && !is_quiet(conn)) {
		replace(conn, exchange);
		return;
	}
	*h1 = (struct upstream_h1){ .up = { &up_ops, conn, exchange }, .is_reused = conn->is_used };
	conn->is_used = true;
	exchange->up = &h1->up;
	upstream_set_deadline(conn, UPSTREAM_ANSWER_MS);
	if (conn->is_refused) {
		h1->is_sent = h1->wants_close = true;
		exchange_mark_refused_upstream(exchange);
		upstream_defer(conn);
		return;
	}
	h1->up.ops->send_request(conn);
}

static bool has_room(const struct upstream_conn *conn)
{
	return !h1_of(conn)->up.exchange;
}

static void on_clear(struct upstream_conn *conn)
{
	free(conn->protocol);
	conn->protocol = NULL;
}

static const struct upstream_conn_ops conn_ops = {
	.ready = on_ready,
	.due = on_due,
	.take = on_take,
	.has_room = has_room,
	.clear = on_clear,
};

int upstream_h1_start(struct upstream_conn *conn)
{
	conn->protocol = calloc(1, sizeof(struct upstream_h1));
	if (!conn->protocol)
		return -ENOMEM;
	conn->ops = &conn_ops;
	return 0;
}
