/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening connections outward; see upstream.h. Runs in: the proxy's worker. Holds: the upstream proxy's
 * credential, for the time of a write.
 *
 * A connection goes through those of the steps below that apply to it, in their order, and then to
 * the pool. Each may wait for its socket; one deadline stands over all.
 */
#include "proxy/upstream.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/exchange.h"
#include "proxy/http1.h"
#include "proxy/pool.h"
#include "proxy/settings.h"
#include "proxy/tls.h"
#include "proxy/upstream_head.h"

enum step { DIAL, PARENT_TLS, CONNECT, TLS, OPEN };

#define OWNER(pointer, member) \
	((struct upstream_conn *)((char *)(pointer)-offsetof(struct upstream_conn, member)))

static void begin_next_step(struct upstream_conn *conn);

/* ---- any connection ---- */

static void on_due(struct timer *timer)
{
	struct upstream_conn *conn = OWNER(timer, timer);
	uint64_t now = loop_now_ms();

	if (!conn->due_ms)
		return;
	if (conn->due_ms > now)
		timer_set(timer, conn->due_ms - now);
	else
		conn->ops->due(conn);
}

/* The timer is left where it stands if that is early enough: most deadlines are moved on. */
void upstream_set_deadline(struct upstream_conn *conn, uint64_t after_ms)
{
	conn->due_ms = after_ms ? loop_now_ms() + after_ms : 0;
	if (after_ms && (!conn->timer.heap_at || conn->timer.due_ms > conn->due_ms))
		timer_set(&conn->timer, after_ms);
}

static void on_again(struct task *task)
{
	struct upstream_conn *conn = OWNER(task, again);

	conn->ops->ready(conn);
}

static void on_ready(struct io *io)
{
	struct upstream_conn *conn = OWNER(io, io);

	conn->ops->ready(conn);
}

void upstream_defer(struct upstream_conn *conn)
{
	if (!conn->is_closed)
		loop_defer(&conn->again);
}

static void on_free(struct task *task)
{
	free(OWNER(task, free_task));
}

void upstream_close(struct upstream_conn *conn)
{
	if (conn->is_closed)
		return;
	conn->is_closed = true;
	pool_forget(conn);
	if (conn->dial)
		dial_cancel(conn->dial);
	conn->dial = NULL;
	timer_cancel(&conn->timer);
	loop_undefer(&conn->again);
	if (conn->ops->clear)
		conn->ops->clear(conn);
	inbound_clear(&conn->in);
	outbound_clear(&conn->out);
	io_close(&conn->io);
	loop_defer(&conn->free_task);
}

/* ---- opening ---- */

static void fail(struct upstream_conn *conn, const char *reason, const char *detail)
{
	pool_failed(conn, 502, reason, detail);
}

static bool is_through_tls(const struct upstream_conn *conn)
{
	return conn->key.is_through && proxy_settings->upstream.is_https;
}

static bool needs_connect(const struct upstream_conn *conn)
{
	return conn->key.is_through && conn->key.is_https;
}

static void begin_tls(struct upstream_conn *conn, const struct authority *place, bool offers_h2)
{
	struct err err = { "" };
	SSL *ssl = tls_connect_new(place->host, place->port, conn->key.route, offers_h2,
				   conn->key.is_through, &err);

	if (!ssl) {
		fail(conn, "upstream_tls", err.text);
		return;
	}
	if (!conn->io.ssl) {
		io_start_tls(&conn->io, ssl);
	} else if (io_nest_tls(&conn->io, ssl) < 0) {
		SSL_free(ssl);
		fail(conn, "upstream_error", "out of memory");
		return;
	}
	conn->ops->ready(conn);
}

static void shake_hands(struct upstream_conn *conn)
{
	char detail[256];
	const char *reason;
	int rc = io_handshake(&conn->io);

	if (rc == -EAGAIN)
		return;
	if (rc < 0) {
		reason = tls_connect_failure(conn->io.ssl, detail, sizeof(detail));
		fail(conn, reason, detail);
		return;
	}
	conn->phases.tls += (uint32_t)(clock_us() - conn->step_us);
	begin_next_step(conn);
}

/* What the upstream proxy says to the CONNECT. Its 403 is left where it is, for the client. */
static void judge_connect(struct upstream_conn *conn, const struct http1_response *head, size_t len)
{
	unsigned status = head->response.status;
	char detail[64];

	if (status == 403) {
		conn->is_refused = true;
		begin_next_step(conn);
		return;
	}
	inbound_use(&conn->in, len);
	if (status / 100 == 2 && conn->in.len) {
		fail(conn, "upstream_protocol", "bytes of a server before its TLS");
	} else if (status / 100 == 2) {
		begin_next_step(conn);
	} else {
		snprintf(detail, sizeof(detail), "the upstream proxy answered %u to CONNECT",
			 status);
		fail(conn, "upstream_proxy_refused", detail);
	}
}

/* > 0: a head that counts; 0: none is whole; < 0: failed, conn is closed. */
static ssize_t parse_connect_head(struct upstream_conn *conn, struct http1_response *ret_head)
{
	struct http1_error error = { 0 };

	while (conn->in.len) {
		ssize_t used = http1_parse_response(inbound_bytes(&conn->in), conn->in.len,
						    &conn->in.scan, SPAN("CONNECT"), ret_head,
						    &error);
		if (used < 0)
			fail(conn, "upstream_protocol", error.detail);
		if (used <= 0 || ret_head->response.status >= 200)
			return used;
		if (++conn->interims > INTERIMS_MAX) {
			fail(conn, "upstream_protocol", "interim answers without an end");
			return -EPROTO;
		}
		inbound_use(&conn->in, (size_t)used);
	}
	return 0;
}

/* > 0: a head; 0: wait; < 0: failed, conn is closed. A share of work at a time. */
static ssize_t read_connect_head(struct upstream_conn *conn, struct http1_response *ret_head)
{
	for (size_t share = IO_SHARE_BYTES; share;) {
		ssize_t n = parse_connect_head(conn, ret_head);

		if (n)
			return n;
		n = inbound_fill(&conn->in, &conn->io, SIZE_MAX);
		if (n == -EAGAIN)
			return 0;
		if (n <= 0) {
			fail(conn, "upstream_closed", "the upstream proxy closed in its answer");
			return -EPIPE;
		}
		share -= (size_t)n < share ? (size_t)n : share;
	}
	upstream_defer(conn);
	return 0;
}

static void go_on_connect(struct upstream_conn *conn)
{
	static struct http1_response head;
	int rc = outbound_flush(&conn->out, &conn->io);
	ssize_t len;

	if (rc < 0 && rc != -EAGAIN) {
		fail(conn, "upstream_closed", "the upstream proxy closed before its answer");
		return;
	}
	len = read_connect_head(conn, &head);
	if (len > 0)
		judge_connect(conn, &head, (size_t)len);
}

static void begin_connect(struct upstream_conn *conn)
{
	exchange_make_id(conn->request_id);
	if (upstream_write_connect(&conn->out, conn) < 0)
		fail(conn, "upstream_error", "out of memory");
	else
		go_on_connect(conn);
}

static void hand_over(struct upstream_conn *conn)
{
	bool is_h2 = !conn->is_refused && conn->io.ssl && conn->key.wants_h2 &&
		     tls_is_h2(conn->io.ssl);
	int rc = is_h2 ? upstream_h2_start(conn) : upstream_h1_start(conn);

	if (rc < 0)
		fail(conn, "upstream_error", "out of memory");
	else
		pool_opened(conn);
}

static bool applies(const struct upstream_conn *conn, unsigned step)
{
	switch ((enum step)step) {
	case PARENT_TLS:
		return is_through_tls(conn);
	case CONNECT:
		return needs_connect(conn);
	case TLS:
		return conn->key.is_https && !conn->is_refused;
	default:
		return true;
	}
}

static void begin_next_step(struct upstream_conn *conn)
{
	do
		conn->step++;
	while (!applies(conn, conn->step));
	conn->step_us = clock_us();
	if (conn->step == PARENT_TLS)
		begin_tls(conn, &proxy_settings->upstream.place, false);
	else if (conn->step == CONNECT)
		begin_connect(conn);
	else if (conn->step == TLS)
		begin_tls(conn, &conn->key.place, conn->key.wants_h2);
	else
		hand_over(conn);
}

static void on_opening_ready(struct upstream_conn *conn)
{
	if (conn->step == PARENT_TLS || conn->step == TLS)
		shake_hands(conn);
	else if (conn->step == CONNECT)
		go_on_connect(conn);
}

static void on_opening_due(struct upstream_conn *conn)
{
	static const char *const details[] = {
		[DIAL] = "no connection in time",
		[PARENT_TLS] = "the upstream proxy's TLS handshake took too long",
		[CONNECT] = "no answer of the upstream proxy in time",
		[TLS] = "the TLS handshake took too long",
	};

	fail(conn, "upstream_connect", details[conn->step]);
}

static void on_dialled(void *ctx, const struct dial_result *result)
{
	static const char *const reasons[] = {
		[DIAL_DNS] = "upstream_dns",
		[DIAL_CONNECT] = "upstream_connect",
		[DIAL_REFUSED] = "upstream_connect",
	};
	struct upstream_conn *conn = ctx;

	conn->dial = NULL;
	conn->phases.dial = result->lookup_us;
	conn->phases.connect = result->connect_us;
	if (result->fd < 0)
		fail(conn, reasons[result->failure], result->detail);
	else if (io_open(&conn->io, result->fd, on_ready) < 0)
		fail(conn, "upstream_connect", "no memory for the connection");
	else
		begin_next_step(conn);
}

static const struct upstream_conn_ops opening_ops = {
	.ready = on_opening_ready,
	.due = on_opening_due,
};

struct upstream_conn *upstream_new(const struct upstream_key *key)
{
	struct upstream_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	conn->key = *key;
	conn->ops = &opening_ops;
	conn->io.source.fd = -1;
	conn->timer.on_due = on_due;
	conn->again.run = on_again;
	conn->free_task.run = on_free;
	return conn;
}

void upstream_open(struct upstream_conn *conn)
{
	const struct authority *place = conn->key.is_through ? &proxy_settings->upstream.place
							     : &conn->key.place;
	struct dial *dial;

	upstream_set_deadline(conn, UPSTREAM_OPEN_MS);
	dial = dial_start(place->host, place->port, on_dialled, conn);
	if (dial)
		conn->dial = dial;
}
