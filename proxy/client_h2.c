/* SPDX-License-Identifier: Apache-2.0
 *
 * A client that speaks HTTP/2 (RFC 9113), inside CONNECT and TLS: each stream is the client's side of one
 * exchange (stream.h). Runs in: the proxy's worker. Holds: the connection, see client.h.
 *
 *   header block whole ──▶ exchange_begin, or exchange_refuse with the rule that was broken
 *   DATA ──▶ the exchange's request_body          its answer_body ──▶ DATA ──▶ END_STREAM
 *   stream closed: the exchange is done, or the client gave it up (exchange_client_gone)
 *
 * A malformed message is answered with 400 and a reason, and ends the connection for new streams (GOAWAY);
 * those under way go on.
 *
 * A stream lives until both nghttp2 has closed it and its exchange has let go.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/client.h"
#include "proxy/exchange.h"
#include "proxy/h2_link.h"

struct client_h2 {
	struct h2_link link; /* first */
	struct client *client;
	uint64_t moved_bytes; /* link.moved_bytes when the deadline was set */
	unsigned patience_ms; /* that was granted then */
};

struct client_stream {
	struct h2_stream h2; /* first */
	struct downstream down;
	bool is_malformed;
	bool is_orphan; /* the connection is gone; the exchange has all it needs and is about to end */
};

static struct client_h2 *owner_of(struct h2_link *link)
{
	return (struct client_h2 *)link;
}

static struct client_stream *of(struct h2_stream *stream)
{
	return (struct client_stream *)stream;
}

static void free_stream(struct client_stream *stream)
{
	if (!stream->is_orphan)
		h2_stream_remove(&stream->h2);
	free(stream);
}

/* The exchange's calls. */

static void send_response(void *ctx, const struct response *response, bool ends)
{
	struct client_stream *stream = ctx;
	struct h2_link *link = stream->h2.link;
	const struct h2_list *list = h2_list_of_response(response);
	nghttp2_data_provider body = h2_stream_provider(&stream->h2);
	int rc;

	if (stream->h2.is_closed)
		return;
	if (response->status < 200)
		rc = nghttp2_submit_headers(link->session, NGHTTP2_FLAG_NONE, stream->h2.id, NULL,
					    list->items, list->count, NULL);
	else
		rc = nghttp2_submit_response(link->session, stream->h2.id, list->items, list->count,
					     ends ? NULL : &body);
	if (rc != 0)
		h2_stream_reset(&stream->h2, NGHTTP2_INTERNAL_ERROR);
	link->ops->defer(link);
}

static void body_ready(void *ctx)
{
	struct client_stream *stream = ctx;

	h2_stream_wake(&stream->h2, &stream->down.exchange->answer_body);
}

static void body_space(void *ctx)
{
	struct client_stream *stream = ctx;

	h2_stream_give_back(&stream->h2, &stream->down.exchange->request_body);
}

static void abort_stream(void *ctx)
{
	struct client_stream *stream = ctx;

	h2_stream_reset(&stream->h2, NGHTTP2_INTERNAL_ERROR);
	h2_stream_give_back(&stream->h2, NULL);
	if (stream->h2.is_closed)
		free_stream(stream);
}

/* The end may still have to be sent. `close_after` is for HTTP/1, where a body that nobody reads is in
 * the way of the next request. */
static void done(void *ctx, bool close_after)
{
	struct client_stream *stream = ctx;

	(void)close_after;
	stream->h2.is_finished = true;
	h2_stream_give_back(&stream->h2, NULL);
	if (stream->h2.is_closed)
		free_stream(stream);
	else
		h2_stream_wake(&stream->h2, NULL);
}

static const struct downstream_ops down_ops = {
	.send_response = send_response,
	.body_ready = body_ready,
	.body_space = body_space,
	.abort = abort_stream,
	.done = done,
};

/* The link's calls. */

static void on_bad_body(struct h2_stream *h2, const char *detail)
{
	struct client_h2 *conn = owner_of(h2->link);

	exchange_bad_request(&of(h2)->down, &conn->client->connect, 400, "bad_http2", detail);
	of(h2)->is_malformed = true;
}

static void refuse(struct client_h2 *conn, struct client_stream *stream,
		   const struct request *request, const struct h2_error *error)
{
	struct verdict verdict = {
		.status = error->status,
		.reason = error->reason,
		.place = conn->client->connect,
	};

	snprintf(verdict.detail, sizeof(verdict.detail), "%s", error->detail);
	stream->is_malformed = !strcmp(error->reason, "bad_http2");
	exchange_refuse(&stream->down, request, &verdict);
}

static void begin(struct client_h2 *conn, int32_t id, bool ends)
{
	struct request request = {
		.is_https = true,
		.connect = &conn->client->connect,
		.sni = conn->client->sni,
	};
	struct client_stream *stream = calloc(1, sizeof(*stream));
	struct h2_error error;

	if (!stream) {
		nghttp2_submit_rst_stream(conn->link.session, NGHTTP2_FLAG_NONE, id,
					  NGHTTP2_REFUSED_STREAM);
		return;
	}
	stream->down.ops = &down_ops;
	stream->down.stream = stream;
	h2_stream_add(&conn->link, &stream->h2, id);
	nghttp2_session_set_stream_user_data(conn->link.session, id, stream);
	stream->h2.has_head = true;
	if (h2_head_to_request(&conn->link.head, ends, &request, &error) < 0) {
		refuse(conn, stream, &request, &error);
		return;
	}
	h2_stream_expect(&stream->h2, request.body, request.content_length);
	exchange_begin(&stream->down, &request);
}

/* Trailers of a request are held to the rules and go no further: the next hop may know none. */
static void on_trailers(struct client_h2 *conn, struct h2_stream *h2, bool ends)
{
	struct h2_error error = { .detail = "out of memory" };
	struct fields *trailers = NULL;
	int rc = h2_head_to_trailers(&conn->link.head, &trailers, &error);

	free(trailers);
	if (!ends)
		h2_stream_spoil(h2, "trailers that do not end the stream");
	else if (rc == -EPROTO)
		h2_stream_spoil(h2, error.detail);
}

static void on_head(struct h2_link *link, struct h2_stream *stream, int32_t id, bool ends)
{
	if (stream)
		on_trailers(owner_of(link), stream, ends);
	else
		begin(owner_of(link), id, ends);
}

static struct pipe *inbound(struct h2_stream *h2)
{
	struct exchange *exchange = of(h2)->down.exchange;

	return exchange ? &exchange->request_body : NULL;
}

static struct pipe *outbound(struct h2_stream *h2)
{
	struct exchange *exchange = of(h2)->down.exchange;

	return exchange ? &exchange->answer_body : NULL;
}

/* After the answer: some clients read nothing that comes after GOAWAY. */
static void retire_malformed(struct client_h2 *conn)
{
	if (conn->link.is_broken)
		return;
	conn->link.is_broken = true;
	h2_link_retire(&conn->link, NGHTTP2_PROTOCOL_ERROR);
}

static void settle(struct h2_stream *h2, unsigned due)
{
	struct client_stream *stream = of(h2);

	if (due & H2_DUE_READY && stream->down.exchange)
		exchange_request_ready(stream->down.exchange);
	if (due & H2_DUE_SPACE && stream->down.exchange)
		exchange_answer_space(stream->down.exchange);
	if (stream->is_malformed && (h2->we_ended || due & H2_DUE_CLOSED))
		retire_malformed(owner_of(h2->link));
	if (!(due & H2_DUE_CLOSED))
		return;
	/* With the whole answer out the exchange is about to let go by itself: see `done`. */
	if (stream->down.exchange && !h2->we_ended)
		exchange_client_gone(stream->down.exchange);
	if (!stream->down.exchange)
		free_stream(stream);
}

/* It is the client that is waited for where it owes a body and there is room, or does not take what is there. */
static unsigned patience(const struct h2_stream *h2)
{
	const struct exchange *exchange = ((const struct client_stream *)h2)->down.exchange;
	bool owes_body = !h2->peer_ended && (!exchange || exchange->request_body.len < PIPE_BYTES);
	bool takes_nothing = exchange && exchange->answer_body.len;

	return owes_body || takes_nothing || h2->we_ended ? CLIENT_STALL_MS : 0;
}

static void on_stalled(struct h2_stream *h2)
{
	struct client_stream *stream = of(h2);

	if (stream->down.exchange && !h2->we_ended)
		exchange_client_gone(stream->down.exchange);
	h2_stream_reset(h2, NGHTTP2_CANCEL);
	h2_stream_give_back(h2, NULL);
}

static void on_broken(struct h2_link *link, const char *detail)
{
	struct client_h2 *conn = owner_of(link);
	struct downstream nobody = { 0 };

	exchange_bad_request(&nobody, &conn->client->connect, 400, "bad_http2", detail);
}

static void defer(struct h2_link *link)
{
	client_defer(owner_of(link)->client);
}

static const struct h2_link_ops link_ops = {
	.on_head = on_head,
	.inbound = inbound,
	.outbound = outbound,
	.on_bad_body = on_bad_body,
	.patience = patience,
	.on_stalled = on_stalled,
	.settle = settle,
	.on_broken = on_broken,
	.defer = defer,
};

/* The connection. */

static void drop_streams(struct client_h2 *conn)
{
	while (conn->link.streams) {
		struct client_stream *stream = of(conn->link.streams);
		h2_stream_remove(&stream->h2);
		stream->is_orphan = stream->h2.is_closed = true;
		if (stream->down.exchange && stream->h2.we_ended)
			continue; /* see `done` */
		if (stream->down.exchange)
			exchange_client_gone(stream->down.exchange);
		free_stream(stream);
	}
}

static void finish(struct client_h2 *conn)
{
	if (conn->link.peer_gone)
		client_close(conn->client);
	else
		client_linger(conn->client);
}

/* A deadline is put off by bytes that move, but for a header block, which is granted its time once. Streams
 * have their own. */
static void set_patience(struct client_h2 *conn)
{
	bool moved = conn->link.moved_bytes != conn->moved_bytes;
	unsigned wanted = 0;

	if (h2_guard_owes_head(&conn->link.guard))
		wanted = CLIENT_HEAD_MS;
	else if (conn->link.backlog_len)
		wanted = CLIENT_STALL_MS;
	else if (!conn->link.streams)
		wanted = CLIENT_IDLE_MS;
	if (wanted == conn->patience_ms && (!moved || wanted == CLIENT_HEAD_MS))
		return;
	conn->patience_ms = wanted;
	conn->moved_bytes = conn->link.moved_bytes;
	client_set_deadline(conn->client, wanted);
}

static void ready(struct client *client)
{
	struct client_h2 *conn = client->protocol;

	if (h2_link_pump(&conn->link))
		set_patience(conn);
	else
		finish(conn);
}

static void due(struct client *client)
{
	struct client_h2 *conn = client->protocol;

	if (conn->link.backlog_len) {
		client_close(client);
		return;
	}
	nghttp2_session_terminate_session(conn->link.session, NGHTTP2_NO_ERROR);
	ready(client);
}

static void drain(struct client *client)
{
	struct client_h2 *conn = client->protocol;

	h2_link_retire(&conn->link, NGHTTP2_NO_ERROR);
}

static void clear(struct client *client)
{
	struct client_h2 *conn = client->protocol;

	drop_streams(conn);
	h2_link_clear(&conn->link);
	free(conn);
	client->protocol = NULL;
}

static const struct client_ops client_ops = {
	.ready = ready,
	.due = due,
	.drain = drain,
	.clear = clear,
};

void client_h2_start(struct client *client)
{
	struct client_h2 *conn = calloc(1, sizeof(*conn));

	if (!conn) {
		client_close(client);
		return;
	}
	conn->client = client;
	client->protocol = conn;
	client->ops = &client_ops;
	if (h2_link_open(&conn->link, &client->io, &link_ops, false) < 0) {
		client_close(client);
		return;
	}
	client_set_deadline(client, CLIENT_IDLE_MS);
	client_defer(client);
}
