/* SPDX-License-Identifier: Apache-2.0
 *
 * A server that speaks HTTP/2 (RFC 9113): each stream is the server's side of one exchange (stream.h).
 * Runs in: the proxy's worker. Holds: a credential, from the moment a request is submitted until it is
 * written: the session's memory and what it wrote are overwritten (h2_session.c).
 *
 * The pool gives a connection as many exchanges as the server allows, all of one route. A stream that
 * ends badly fails its exchange alone. Pushed streams were refused in our SETTINGS.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "proxy/authority.h"
#include "proxy/exchange.h"
#include "proxy/h2_link.h"
#include "proxy/pool.h"
#include "proxy/settings.h"
#include "proxy/upstream.h"

struct upstream_h2 {
	struct h2_link link; /* first */
	struct upstream_conn *conn;
	uint64_t moved_bytes; /* link.moved_bytes when the deadline was set */
	unsigned patience_ms; /* that was granted then */
	size_t told_count;    /* streams when the pool was told last */
	bool is_over;
	const char *problem; /* what the server did wrong; static; or NULL */
};

struct upstream_stream {
	struct h2_stream h2; /* first */
	struct upstream up;
	bool is_to_head; /* the request was HEAD */
};

static struct upstream_h2 *owner_of(const struct h2_link *link)
{
	return (struct upstream_h2 *)link;
}

static struct upstream_stream *of(struct h2_stream *stream)
{
	return (struct upstream_stream *)stream;
}

static struct exchange *let_go(struct upstream_stream *stream)
{
	return take_ptr(stream->up.exchange);
}

static void fail(struct upstream_stream *stream, const char *reason, const char *detail)
{
	struct exchange *exchange = let_go(stream);

	if (exchange)
		exchange_upstream_failed(exchange, 502, reason, detail);
}

/* The request. */

static void add_credential(struct h2_list *list, const struct proxy_route *route, char *value,
			   size_t size)
{
	struct span token = tokens_find(proxy_tokens, route->token_env);
	int len = tokens_write_credential(token, route->auth_scheme, value, size);
	struct span name = { route->auth_header, strlen(route->auth_header) };

	if (len >= 0)
		h2_list_add(list, name, (struct span){ value, (size_t)len }, true);
}

/* Submits what the list says; nghttp2 copies it. */
static int submit(struct upstream_stream *stream, struct h2_list *list)
{
	const struct request *request = &stream->up.exchange->request;
	nghttp2_data_provider body = h2_stream_provider(&stream->h2);
	bool has_body = request->body != BODY_NONE;
	struct h2_link *link = stream->h2.link;
	int32_t id = nghttp2_submit_request(link->session, NULL, list->items, list->count,
					    has_body ? &body : NULL, stream);

	if (id < 0)
		return -ENOMEM;
	stream->h2.id = id;
	return 0;
}

static void add_head(struct h2_list *list, const struct exchange *exchange, struct span authority)
{
	const struct request *request = &exchange->request;

	h2_list_add(list, SPAN(":method"), request->method, false);
	h2_list_add(list, SPAN(":scheme"), SPAN("https"), false);
	h2_list_add(list, SPAN(":authority"), authority, false);
	h2_list_add(list, SPAN(":path"), request->target, false);
	for (size_t i = 0; i < request->fields.count; i++)
		h2_list_add(list, request->fields.items[i].name, request->fields.items[i].value,
			    false);
	if (request->body == BODY_LENGTH)
		h2_list_add_length(list, request->content_length);
}

static int write_request(struct upstream_stream *stream)
{
	const struct exchange *exchange = stream->up.exchange;
	const struct verdict *verdict = &exchange->verdict;
	char authority[AUTHORITY_BYTES], *credential = NULL;
	size_t len = authority_render(&verdict->place, true, authority, sizeof(authority));
	struct h2_list *list = h2_list_start();
	size_t bound = 0;
	int rc;

	add_head(list, exchange, (struct span){ authority, len });
	if (decision_has_credential(&exchange->request, verdict)) {
		bound = tokens_credential_bound(
			tokens_find(proxy_tokens, verdict->route->token_env));
		credential = malloc(bound);
		if (!credential)
			return -ENOMEM;
		add_credential(list, verdict->route, credential, bound);
	}
	rc = submit(stream, list);
	if (credential)
		explicit_bzero(credential, bound);
	free(credential);
	return rc;
}

static void send_request(void *ctx)
{
	struct upstream_stream *stream = ctx;
	struct h2_link *link = stream->h2.link;

	if (write_request(stream) < 0) {
		fail(stream, "upstream_error", "out of memory");
		free(stream);
		return;
	}
	h2_stream_add(link, &stream->h2, stream->h2.id);
	link->ops->defer(link);
}

/* The exchange's other calls. */

static void body_ready(void *ctx)
{
	struct upstream_stream *stream = ctx;

	h2_stream_wake(&stream->h2, &stream->up.exchange->request_body);
}

static void body_space(void *ctx)
{
	struct upstream_stream *stream = ctx;

	h2_stream_give_back(&stream->h2, &stream->up.exchange->answer_body);
}

static void abort_stream(void *ctx)
{
	struct upstream_stream *stream = ctx;

	stream->up.exchange = NULL;
	h2_stream_reset(&stream->h2, NGHTTP2_CANCEL);
	h2_stream_give_back(&stream->h2, NULL);
}

static const struct upstream_ops up_ops = {
	.send_request = send_request,
	.body_ready = body_ready,
	.body_space = body_space,
	.abort = abort_stream,
};

/* The link's calls. */

static void on_bad_body(struct h2_stream *h2, const char *detail)
{
	fail(of(h2), "upstream_protocol", detail);
	h2_stream_reset(h2, NGHTTP2_PROTOCOL_ERROR);
}

static void on_answer(struct upstream_stream *stream, bool ends)
{
	struct h2_link *link = stream->h2.link;
	struct exchange *exchange = stream->up.exchange;
	struct response response;
	struct h2_error error;
	bool is_bare;

	if (h2_head_to_response(&link->head, ends, stream->is_to_head, &response, &error) < 0) {
		h2_stream_spoil(&stream->h2, error.detail);
		return;
	}
	if (response.status >= 200) {
		is_bare = stream->is_to_head || response.status == 204 || response.status == 304;
		stream->h2.has_head = true;
		h2_stream_expect(&stream->h2, is_bare ? BODY_NONE : response.body,
				 response.content_length);
		ends |= is_bare;
	} else if (exchange && !exchange_admit_interim(exchange)) {
		h2_stream_spoil(&stream->h2, "interim answers without an end");
		return;
	}
	if (exchange)
		exchange_answer_head(exchange, &response, ends);
}

static void on_trailers(struct upstream_stream *stream, bool ends)
{
	struct exchange *exchange = stream->up.exchange;
	struct h2_error error = { .detail = "out of memory" };
	struct fields *trailers = NULL;
	int rc = h2_head_to_trailers(&stream->h2.link->head, &trailers, &error);

	if (rc < 0)
		h2_stream_spoil(&stream->h2, error.detail);
	else if (!ends)
		h2_stream_spoil(&stream->h2, "trailers that do not end the stream");
	else if (exchange && !exchange->answer_body.trailers)
		exchange->answer_body.trailers = take_ptr(trailers);
	free(trailers);
}

static void on_head(struct h2_link *link, struct h2_stream *h2, int32_t id, bool ends)
{
	(void)id;
	if (!h2)
		return; /* of a stream that was given up */
	if (h2->has_head)
		on_trailers(of(h2), ends);
	else
		on_answer(of(h2), ends);
	(void)link;
}

static struct pipe *inbound(struct h2_stream *h2)
{
	struct exchange *exchange = of(h2)->up.exchange;

	return exchange ? &exchange->answer_body : NULL;
}

static struct pipe *outbound(struct h2_stream *h2)
{
	struct exchange *exchange = of(h2)->up.exchange;

	return exchange ? &exchange->request_body : NULL;
}

static void free_stream(struct upstream_stream *stream)
{
	h2_stream_remove(&stream->h2);
	free(stream);
}

/* The answer is whole: the exchange needs nothing more from here. */
static void complete(struct upstream_stream *stream)
{
	exchange_upstream_done(let_go(stream));
	if (!stream->h2.we_ended)
		h2_stream_reset(&stream->h2, NGHTTP2_CANCEL);
}

/* The stream ended without a whole answer. A refused one was not looked at (RFC 9113, 8.7). */
static void lose(struct upstream_stream *stream, bool may_retry, const char *detail)
{
	bool is_flooded = stream->h2.link->io->is_flooded;
	const char *problem = owner_of(stream->h2.link)->problem;
	struct exchange *exchange = let_go(stream);

	if (!exchange || (may_retry && exchange_retry(exchange)))
		return;
	if (is_flooded)
		exchange_upstream_failed(exchange, 502, "upstream_tls",
					 "handshake messages without an end");
	else
		exchange_upstream_failed(exchange, 502,
					 problem ? "upstream_protocol" : "upstream_closed",
					 problem ? problem : detail);
}

/* It is the server that is waited for where the request is out, where it does not take what is there of it (the
 * whole of it, where it lowered the number of streams before the head went out), and where there is room for what
 * it has to send. */
static unsigned patience(const struct h2_stream *h2)
{
	const struct exchange *exchange = ((const struct upstream_stream *)h2)->up.exchange;

	if (!exchange || exchange->request_body.len)
		return UPSTREAM_STALL_MS;
	if (h2->has_head)
		return exchange->answer_body.len < PIPE_BYTES ? UPSTREAM_STALL_MS : 0;
	if (h2->we_ended)
		return UPSTREAM_ANSWER_MS;
	return exchange->request_body.ended ? UPSTREAM_STALL_MS : 0;
}

static void on_stalled(struct h2_stream *h2)
{
	lose(of(h2), false, "no answer in time");
	h2_stream_reset(h2, NGHTTP2_CANCEL);
}

static void settle(struct h2_stream *h2, unsigned due)
{
	struct upstream_stream *stream = of(h2);

	if (due & H2_DUE_SPACE && stream->up.exchange)
		exchange_request_space(stream->up.exchange);
	if (due & H2_DUE_READY && stream->up.exchange)
		exchange_answer_ready(stream->up.exchange);
	if (h2->peer_ended && stream->up.exchange)
		complete(stream);
	if (!(due & H2_DUE_CLOSED))
		return;
	lose(stream, h2->close_code == NGHTTP2_REFUSED_STREAM, "the server reset the stream");
	free_stream(stream);
}

/* What the server did wrong is told to the exchanges when their streams end with the connection. */
static void on_broken(struct h2_link *link, const char *detail)
{
	owner_of(link)->problem = detail;
}

static void defer(struct h2_link *link)
{
	upstream_defer(owner_of(link)->conn);
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

static bool has_room(const struct upstream_conn *conn)
{
	const struct upstream_h2 *h2 = conn->protocol;
	uint32_t allowed = nghttp2_session_get_remote_settings(
		h2->link.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

	return !h2->is_over && !h2->link.peer_gone && !pool_is_stale(conn) &&
	       h2->link.stream_count < H2_STREAMS_MAX && h2->link.stream_count < allowed &&
	       nghttp2_session_check_request_allowed(h2->link.session);
}

static void take(struct upstream_conn *conn, struct exchange *exchange)
{
	struct upstream_h2 *h2 = conn->protocol;
	struct upstream_stream *stream = calloc(1, sizeof(*stream));
	struct span method = exchange->request.method;

	conn->is_used = true;
	if (!stream) {
		exchange_upstream_failed(exchange, 502, "upstream_error", "out of memory");
		return;
	}
	stream->h2.link = &h2->link;
	stream->is_to_head = method.len == 4 && !memcmp(method.at, "HEAD", 4);
	stream->up = (struct upstream){ &up_ops, stream, exchange };
	exchange->up = &stream->up;
	up_ops.send_request(stream);
}

/* Every exchange on it fails, or where nothing was answered goes elsewhere. */
static void finish(struct upstream_h2 *h2, const char *detail)
{
	h2->is_over = true;
	while (h2->link.streams) {
		struct upstream_stream *stream = of(h2->link.streams);
		lose(stream, !stream->h2.has_head, detail);
		free_stream(stream);
	}
	upstream_close(h2->conn);
}

static void set_patience(struct upstream_h2 *h2)
{
	bool moved = h2->link.moved_bytes != h2->moved_bytes;
	unsigned wanted = 0; /* streams have their own */

	if (h2->link.backlog_len)
		wanted = UPSTREAM_STALL_MS;
	else if (!h2->link.streams)
		wanted = UPSTREAM_IDLE_MS;
	if (wanted == h2->patience_ms && !moved)
		return;
	h2->patience_ms = wanted;
	h2->moved_bytes = h2->link.moved_bytes;
	upstream_set_deadline(h2->conn, wanted);
}

/* May close the connection. */
static void tell_pool(struct upstream_h2 *h2)
{
	size_t had = h2->told_count;

	h2->told_count = h2->link.stream_count;
	if (h2->told_count < had && (has_room(h2->conn) || !h2->told_count))
		pool_release(h2->conn, !h2->told_count);
}

static void ready(struct upstream_conn *conn)
{
	struct upstream_h2 *h2 = conn->protocol;

	if (h2->told_count < h2->link.stream_count)
		h2->told_count = h2->link.stream_count;
	if (!h2_link_pump(&h2->link)) {
		finish(h2, "the server closed the connection");
		return;
	}
	set_patience(h2);
	tell_pool(h2);
}

static void due(struct upstream_conn *conn)
{
	finish(conn->protocol, "no answer in time");
}

static void clear(struct upstream_conn *conn)
{
	struct upstream_h2 *h2 = conn->protocol;

	while (h2->link.streams)
		free_stream(of(h2->link.streams));
	h2_link_clear(&h2->link);
	free(h2);
	conn->protocol = NULL;
}

static const struct upstream_conn_ops conn_ops = {
	.ready = ready,
	.due = due,
	.take = take,
	.has_room = has_room,
	.clear = clear,
};

int upstream_h2_start(struct upstream_conn *conn)
{
	struct upstream_h2 *h2 = calloc(1, sizeof(*h2));

	if (!h2)
		return -ENOMEM;
	h2->conn = conn;
	if (h2_link_open(&h2->link, &conn->io, &link_ops, true) < 0) {
		nghttp2_session_del(h2->link.session);
		free(h2);
		return -ENOMEM;
	}
	conn->protocol = h2;
	conn->ops = &conn_ops;
	upstream_defer(conn);
	return 0;
}
