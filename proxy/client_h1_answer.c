/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP/1 with a client: the answers; see client_h1.h. Runs in: the proxy's worker.
 *
 * An answer is framed anew for the client that gets it: with its length where that is known, in chunks,
 * or, for HTTP/1.0, up to the close. What the exchange's upstream side calls comes here, so nothing here
 * calls back but through the exchange.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/client_h1.h"
#include "proxy/exchange.h"
#include "proxy/http1.h"
#include "proxy/reload.h"

void client_h1_vanish(struct client *client)
{
	struct client_h1 *h1 = h1_of(client);

	if (h1->down.exchange)
		exchange_client_gone(h1->down.exchange);
	client_close(client);
}

bool client_h1_write(struct client *client)
{
	struct client_h1 *h1 = h1_of(client);
	struct exchange *exchange = h1->down.exchange;
	size_t moved = 0;
	int rc;

	if (!exchange || !h1->is_answering) {
		rc = outbound_flush(&h1->out, &client->io);
	} else {
		rc = outbound_move(&h1->out, &client->io, &exchange->answer_body, &moved);
		if (moved)
			client_set_deadline(client,
					    h1->is_raw ? CLIENT_SOCKET_MS : CLIENT_STALL_MS);
		if (moved || rc == 1)
			exchange_answer_space(exchange);
		if (rc == 1 && h1->is_raw)
			io_end(&client->io);
		if (rc == 1)
			h1->is_answering = false;
	}
	if (rc < 0 && rc != -EAGAIN) {
		client_h1_vanish(client);
		return false;
	}
	return true;
}

static void put_length(struct buf *buf, uint64_t length)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)length);

	http1_write_field(buf, SPAN("Content-Length"), (struct span){ digits, (size_t)len });
}

/* How an answer's body is framed for this client. */
static enum body_kind framing_for(const struct client_h1 *h1, const struct response *response,
				  bool ends)
{
	if (ends)
		return BODY_NONE;
	if (response->body == BODY_LENGTH)
		return BODY_LENGTH;
	return h1->is_http11 ? BODY_CHUNKED : BODY_STREAM;
}

static bool may_have_body(const struct client_h1 *h1, unsigned status)
{
	return !h1->is_head && status != 204 && status != 304;
}

static void put_framing(struct client_h1 *h1, const struct response *response, enum body_kind kind)
{
	struct buf *buf = &h1->out.buf;

	if (kind == BODY_CHUNKED)
		buf_puts(buf, "Transfer-Encoding: chunked\r\n");
	else if (kind == BODY_LENGTH || (kind == BODY_NONE && response_tells_length(response)))
		put_length(buf, response->content_length);
	else if (kind == BODY_NONE && may_have_body(h1, response->status))
		put_length(buf, 0);
	if (h1->is_last)
		buf_puts(buf, "Connection: close\r\n");
}

static void put_fields(struct buf *buf, const struct response *response)
{
	http1_write_status(buf, response->status, response->phrase);
	for (size_t i = 0; i < response->fields.count; i++)
		http1_write_field(buf, response->fields.items[i].name,
				  response->fields.items[i].value);
}

static void begin_raw(struct client *client, const struct response *response)
{
	struct client_h1 *h1 = h1_of(client);

	put_fields(&h1->out.buf, response);
	buf_puts(&h1->out.buf, "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	outbound_start_body(&h1->out, BODY_STREAM, 0);
	http1_body_start(&h1->in.body, BODY_STREAM, 0, true);
	h1->is_raw = h1->is_answering = h1->is_last = true;
	h1->state = BODY;
	client_set_deadline(client, CLIENT_SOCKET_MS);
}

/* The client was not told to send its body, and now need not (RFC 9110, 10.1.1): what comes next may be the
 * body or another request. */
static bool may_keep_body(const struct client_h1 *h1)
{
	const struct exchange *exchange = h1->down.exchange;

	return h1->state == BODY && exchange && exchange->request.expects_continue &&
	       !exchange->is_continued && !exchange->request_body.total_bytes && !h1->in.len;
}

static void begin_answer(struct client_h1 *h1, const struct response *response, bool ends)
{
	enum body_kind kind = framing_for(h1, response, ends);

	h1->is_last |= response->ends_connection || !h1->is_http11 || reload_is_draining() ||
		       kind == BODY_STREAM || may_keep_body(h1);
	put_fields(&h1->out.buf, response);
	put_framing(h1, response, kind);
	buf_puts(&h1->out.buf, "\r\n");
	outbound_start_body(&h1->out, kind, response->content_length);
	h1->is_answered = h1->is_answering = true;
}

static void on_send_response(void *stream, const struct response *response, bool ends)
{
	struct client *client = stream;
	struct client_h1 *h1 = h1_of(client);

	if (outbound_begin(&h1->out) < 0) {
		client_h1_vanish(client);
		return;
	}
	if (response->status == 101)
		begin_raw(client, response);
	else if (response->status >= 200)
		begin_answer(h1, response, ends);
	else if (h1->is_http11)
		buf_puts(&h1->out.buf, "HTTP/1.1 100 Continue\r\n\r\n");
	/* The first of a body comes at once in most cases, and leaves with the head. */
	if (ends)
		client_h1_write(client);
	else
		client_defer(client);
}

static void on_body_ready(void *stream)
{
	client_h1_write(stream);
}

static void on_body_space(void *stream)
{
	struct client *client = stream;

	if (h1_of(client)->is_blocked)
		client_h1_run(client);
}

/* Closed before the answer's end. Where only the close tells the end it must not look like one. */
static void on_abort(void *stream)
{
	static const struct linger reset = { .l_onoff = 1 };
	struct client *client = stream;

	if (h1_of(client)->out.kind == BODY_STREAM && !client->io.ssl)
		setsockopt(client->io.source.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	client_close(client);
}

static void on_done(void *stream, bool close_after)
{
	struct client *client = stream;
	struct client_h1 *h1 = h1_of(client);

	h1->is_answered = h1->is_answering = h1->is_raw = false;
	/* At SIGTERM a head that was out already had said nothing of the end. */
	h1->state = close_after || h1->is_last || reload_is_draining() ? CLOSING : HEAD;
	client_set_deadline(client, CLIENT_IDLE_MS);
	client_h1_run(client);
}

const struct downstream_ops client_h1_down_ops = {
	.send_response = on_send_response,
	.body_ready = on_body_ready,
	.body_space = on_body_space,
	.abort = on_abort,
	.done = on_done,
};
