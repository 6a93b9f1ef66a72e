/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP/1 with a client: the requests; see client_h1.h. Runs in: the proxy's worker.
 *
 *   HEAD ──begin──▶ BODY ──whole──▶ ANSWER ──done──▶ HEAD …
 *     └─CONNECT─▶ TUNNEL ─▶ client_tls.c          └──▶ CLOSING ─▶ client_linger
 *
 * One request at a time: what a client sends ahead waits in its buffer, then in the socket. A request
 * that is answered before its body was read is the connection's last, and nothing more of it is read.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/block.h"
#include "proxy/client_h1.h"
#include "proxy/exchange.h"
#include "proxy/http1.h"
#include "proxy/reload.h"

/* ---- requests ---- */

static const struct authority *connect_of(const struct client *client)
{
	return client->io.ssl ? &client->connect : NULL;
}

/* Answers and ends. `request` NULL: the bytes are none. */
static void refuse(struct client *client, const struct request *request,
		   const struct authority *place, const struct http1_error *error)
{
	struct verdict verdict = { .status = error->status, .reason = error->reason };

	if (place)
		verdict.place = *place;
	snprintf(verdict.detail, sizeof(verdict.detail), "%s", error->detail);
	h1_of(client)->state = ANSWER;
	h1_of(client)->is_last = true;
	exchange_refuse(&h1_of(client)->down, request, &verdict);
}

static bool is_for(const struct authority *named, const struct authority *place)
{
	return !strcmp(named->host, place->host) && (!named->port || named->port == place->port);
}

static void judge_connect(struct client *client, const struct http1_request *head)
{
	static const struct http1_error mismatch = { 421, "authority_mismatch",
						     "CONNECT and Host name two hosts" };
	struct client_h1 *h1 = h1_of(client);
	const struct authority *target = &head->connect_target;
	struct verdict verdict;

	for (size_t i = 0; i < head->request.named_count; i++) {
		if (!is_for(&head->request.named[i], target)) {
			refuse(client, &head->request, target, &mismatch);
			return;
		}
	}
	decide_connect(target, routes_now(), &verdict);
	h1->state = verdict.is_allowed ? TUNNEL : ANSWER;
	if (!verdict.is_allowed) {
		h1->is_last = true;
		exchange_refuse(&h1->down, &head->request, &verdict);
		return;
	}
	client->connect = *target;
	if (outbound_begin(&h1->out) < 0)
		client_close(client);
	else
		buf_puts(&h1->out.buf, "HTTP/1.1 200 Connection established\r\n\r\n");
}

/* What the bytes alone do not tell: whether this form of request may stand here. NULL: it may. */
static const struct http1_error *misplaced(const struct client *client,
					   const struct http1_request *head)
{
	static const struct http1_error nested = { 400, "nested_connect",
						   "a CONNECT inside a CONNECT" };
	static const struct http1_error scheme = { 400, "bad_authority",
						   "a URL with another scheme than is spoken" };
	static const struct http1_error origin = { 400, "not_a_proxy_request",
						   "a path without a host" };
	bool is_https = client->io.ssl != NULL;

	if (head->is_connect)
		return is_https ? &nested : NULL;
	if (head->is_absolute && head->is_absolute_https != is_https)
		return &scheme;
	return is_https || head->is_absolute ? NULL : &origin;
}

static void begin_request(struct client *client, struct http1_request *head)
{
	struct client_h1 *h1 = h1_of(client);
	struct request *request = &head->request;
	const struct http1_error *error = misplaced(client, head);

	h1->is_http11 = request->is_http11;
	h1->is_head = request->method.len == 4 && !memcmp(request->method.at, "HEAD", 4);
	h1->is_last = head->wants_close && !head->is_connect;
	h1->reads_ahead = !error;
	request->is_https = client->io.ssl != NULL;
	request->connect = connect_of(client);
	request->sni = client->sni;
	if (error) {
		refuse(client, head->is_connect ? NULL : request, connect_of(client), error);
	} else if (head->is_connect) {
		judge_connect(client, head);
	} else {
		http1_body_start(&h1->in.body, request->body, request->content_length, true);
		h1->state = h1->in.body.done ? ANSWER : BODY;
		client_set_deadline(client, h1->in.body.done ? 0 : CLIENT_STALL_MS);
		exchange_begin(&h1->down, request);
	}
}

/* Never beyond the head of a CONNECT, behind which TLS begins: as far as reads may go now; 0: reset. */
static size_t read_limit(const struct client *client)
{
	static char bytes[3 + BLOCK_BYTES];
	const struct inbound *in = &h1_of(client)->in;
	size_t before = in->len < 3 ? in->len : 3;
	const char *end;
	ssize_t n;

	if (client->io.ssl || (in->len && in->data[in->start] != 'C'))
		return SIZE_MAX;
	if (before)
		memcpy(bytes, in->data + in->start + in->len - before, before);
	n = recv(client->io.source.fd, bytes + before, BLOCK_BYTES, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN)
		return 0;
	if (n <= 0 || (!before && bytes[0] != 'C'))
		return SIZE_MAX;
	end = memmem(bytes, before + (size_t)n, "\r\n\r\n", 4);
	return end ? (size_t)(end - bytes) + 4 - before : (size_t)n;
}

/* The look ahead takes the error of a reset; a read after it would find an end like any other. */
static ssize_t fill_in(struct client *client)
{
	size_t limit = read_limit(client);

	return limit ? inbound_fill(&h1_of(client)->in, &client->io, limit) : -ECONNRESET;
}

static bool fill(struct client *client)
{
	struct client_h1 *h1 = h1_of(client);
	bool was_empty = !h1->in.len;
	ssize_t n;

	if (!client->io.may_read)
		return false;
	n = fill_in(client);
	if (n > 0 && was_empty)
		client_set_deadline(client, CLIENT_HEAD_MS);
	if (n == 0)
		client_linger(client);
	else if (n < 0 && n != -EAGAIN)
		client_h1_vanish(client);
	return n > 0;
}

/* Returns whether to go on. */
static bool read_head(struct client *client)
{
	static struct http1_request head;
	struct client_h1 *h1 = h1_of(client);
	struct http1_error error;
	ssize_t used = 0;

	if (h1->in.len)
		used = http1_parse_request(inbound_bytes(&h1->in), h1->in.len, &h1->in.scan, &head,
					   &error);
	if (!used)
		return fill(client);
	if (used < 0) {
		h1->is_http11 = true;
		h1->is_head = h1->reads_ahead = false;
		refuse(client, NULL, connect_of(client), &error);
		return !client->is_closed;
	}
	begin_request(client, &head);
	if (!client->is_closed)
		inbound_use(&h1->in, (size_t)used);
	return !client->is_closed;
}

static void fail_body(struct client *client, const struct http1_error *error)
{
	struct client_h1 *h1 = h1_of(client);

	h1->state = ANSWER;
	h1->is_last = true;
	h1->reads_ahead = false;
	exchange_bad_request(&h1->down, connect_of(client), error->status, error->reason,
			     error->detail);
}

static void tell(struct client_h1 *h1)
{
	h1->has_news = false;
	exchange_request_ready(h1->down.exchange);
}

static void end_body(struct client *client)
{
	struct client_h1 *h1 = h1_of(client);

	h1->state = ANSWER;
	h1->reads_ahead &= !h1->is_raw;
	client_set_deadline(client, h1->is_raw ? CLIENT_SOCKET_MS : 0);
	h1->down.exchange->request_body.ended = true;
	tell(h1);
}

/* The pipe is full. Returns whether the server took some of it at once. */
static bool make_room(struct client *client)
{
	struct client_h1 *h1 = h1_of(client);

	if (h1->has_news)
		tell(h1);
	if (h1->down.exchange->request_body.len < PIPE_BYTES)
		return true;
	if (client->io.is_reset) { /* no read will tell of it while there is no room */
		client_h1_vanish(client);
		return false;
	}
	h1->is_blocked = true; /* it is for the server to have a deadline */
	client_set_deadline(client, 0);
	return false;
}

/* Returns whether to go on. The server is told when there is no more for now: so it gets much at once, and
 * nothing waits. */
static bool judge_body(struct client *client, enum inbound_result result, size_t moved,
		       const struct http1_error *error)
{
	static const struct http1_error cut = { 400, "incomplete_body",
						"closed in the middle of a body" };
	static const struct http1_error memory = { 502, "upstream_error", "out of memory" };
	struct client_h1 *h1 = h1_of(client);

	if (result == INBOUND_DONE) {
		end_body(client);
		return true;
	}
	h1->has_news |= moved > 0;
	if (result == INBOUND_MOVED)
		return true;
	if (result == INBOUND_FULL)
		return make_room(client);
	if (result == INBOUND_AGAIN && h1->has_news)
		tell(h1);
	else if (result == INBOUND_RESET)
		client_h1_vanish(client);
	else if (result == INBOUND_BAD)
		fail_body(client, error);
	else if (result == INBOUND_ENDED)
		fail_body(client, &cut);
	else if (result == INBOUND_NO_MEMORY)
		fail_body(client, &memory);
	return false;
}

static bool read_body(struct client *client, size_t *budget)
{
	struct client_h1 *h1 = h1_of(client);
	struct inbound_step move;
	enum inbound_result result;

	/* Refused, or answered: the rest is of no use. */
	if (!h1->down.exchange || (h1->is_last && h1->is_answered))
		return false;
	result = inbound_move(&h1->in, &client->io, &h1->down.exchange->request_body, &move);
	if (move.moved)
		client_set_deadline(client, h1->is_raw ? CLIENT_SOCKET_MS : CLIENT_STALL_MS);
	if (!judge_body(client, result, move.moved, &move.error) || client->is_closed)
		return false;
	*budget -= move.used < *budget ? move.used : *budget;
	if (*budget)
		return true;
	if (h1->has_news)
		tell(h1);
	client_defer(client);
	return false;
}

/* While the answer is awaited: a reset is found, and the next request is taken in. */
static bool read_ahead(struct client *client)
{
	struct client_h1 *h1 = h1_of(client);
	ssize_t n;

	if (!h1->reads_ahead || !client->io.may_read || client->io.peer_ended ||
	    h1->in.len > BLOCK_BYTES / 2)
		return false;
	n = fill_in(client);
	if (n < 0 && n != -EAGAIN)
		client_h1_vanish(client);
	return n > 0;
}

static bool leave_for_tunnel(struct client *client)
{
	struct client_h1 *h1 = h1_of(client);
	bool has_more = h1->in.len > 0;

	inbound_clear(&h1->in);
	outbound_clear(&h1->out);
	client->protocol = NULL;
	free(h1);
	if (has_more) /* behind other requests: it was read along with them */
		client_tls_refuse(client, "what followed the CONNECT did not wait for its answer");
	else
		client_tls_start(client);
	return false;
}

/* Returns whether there may be more to do. */
static bool step(struct client *client, size_t *budget)
{
	struct client_h1 *h1 = h1_of(client);

	switch (h1->state) {
	case HEAD:
		return read_head(client);
	case BODY:
		return read_body(client, budget);
	case ANSWER:
		return read_ahead(client);
	case TUNNEL:
		return outbound_is_empty(&h1->out) && leave_for_tunnel(client);
	case CLOSING:
		if (outbound_is_empty(&h1->out) && io_flush(&client->io) != -EAGAIN)
			client_linger(client);
		return false;
	}
	return false;
}

void client_h1_run(struct client *client)
{
	size_t budget = IO_SHARE_BYTES;

	h1_of(client)->is_blocked = false;
	do {
		if (!outbound_is_empty(&h1_of(client)->out) || h1_of(client)->is_answering)
			if (!client_h1_write(client))
				return;
	} while (step(client, &budget));
}

/* ---- the connection ---- */

static void on_due(struct client *client)
{
	static const struct http1_error slow_head = { 400, "bad_request_line",
						      "a head that did not come in time" };
	static const struct http1_error slow_body = { 400, "incomplete_body",
						      "a body that did not come in time" };
	struct client_h1 *h1 = h1_of(client);

	if (h1->state == HEAD && h1->in.len) {
		h1->is_http11 = true;
		refuse(client, NULL, connect_of(client), &slow_head);
	} else if (h1->state == BODY && !h1->is_answering) {
		fail_body(client, &slow_body);
	} else if (h1->state == HEAD) {
		client_linger(client);
	} else {
		client_h1_vanish(client);
	}
}

static void on_drain(struct client *client)
{
	struct client_h1 *h1 = h1_of(client);

	if (h1->state == HEAD && !h1->in.len)
		client_linger(client);
}

static void on_clear(struct client *client)
{
	struct client_h1 *h1 = client->protocol;

	if (!h1)
		return;
	inbound_clear(&h1->in);
	outbound_clear(&h1->out);
	free(h1);
}

static const struct client_ops h1_ops = {
	.ready = client_h1_run,
	.due = on_due,
	.drain = on_drain,
	.clear = on_clear,
};

void client_h1_start(struct client *client)
{
	struct client_h1 *h1 = calloc(1, sizeof(*h1));

	if (!h1) {
		client_close(client);
		return;
	}
	h1->down = (struct downstream){ &client_h1_down_ops, client, NULL };
	client->protocol = h1;
	client->ops = &h1_ops;
	client_set_deadline(client, CLIENT_IDLE_MS);
	client_h1_run(client);
}
