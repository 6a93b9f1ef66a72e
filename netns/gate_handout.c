/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections that are handed over; see gate_handout.h. Runs in: the gate. Holds: dialled sockets until
 * they are sent.
 *
 *   question ─▶ well formed? ─▶ is (name, port) on a route? ─▶ a place free? ─▶ dial ─▶ answer, socket
 *     no ──▶ the channel ends     no ─▶ refused, one audit line    no ─▶ busy       failed: audit line
 *
 * The same table, the same judgement of addresses, the same dial, the same bounds and the same audit
 * lines as for a connection that is relayed: a question counts as an accept, and as a connection until
 * it is answered. What was handed over the gate sees no more of.
 *
 * The other side may be hostile. It gets no more answers than it asked questions; while the socket has no
 * room for an answer no question is read; and whoever breaks the form loses the channel, not the gate.
 */
#include "netns/gate_handout.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/gate_wire.h"
#include "netns/gate_conn.h"

enum { BATCH = 64, RESUME_MS = 100 };

struct gate_handout {
	struct gate_grave grave;
	LIST_ENTRY(gate_handout) in_bucket;
	TAILQ_ENTRY(gate_handout) in_line;
	struct gate *gate;
	struct gate_group *group; /* once it has a place */
	struct gate_dial *dial;	  /* while dialling */
	bool is_waiting;	  /* in line, with the answer */
	int fd;			  /* to be handed over, or -1 */
	uint16_t port;
	struct gate_reply reply;
	size_t reply_len;
	char host[GATE_NAME_BYTES];
};

/* What a failed dial is called on the wire, for each reason of the audit log that is no denial. */
static const struct {
	const char *reason;
	enum gate_stage stage;
	int error;
} failures[] = {
	{ "dns_nxdomain", GATE_STAGE_DNS, ENOENT },
	{ "dns_timeout", GATE_STAGE_DNS, ETIMEDOUT },
	{ "dns_failed", GATE_STAGE_DNS, EIO },
	{ "connect_refused", GATE_STAGE_CONNECT, ECONNREFUSED },
	{ "connect_timeout", GATE_STAGE_CONNECT, ETIMEDOUT },
	{ "unreachable", GATE_STAGE_CONNECT, EHOSTUNREACH },
	{ "out_of_descriptors", GATE_STAGE_CONNECT, EMFILE },
	{ "busy", GATE_STAGE_CONNECT, EBUSY },
};

static void watch(struct gate *gate);

static void handout_end(struct gate_handout *h)
{
	struct gate *gate = h->gate;

	if (h->dial)
		gate_dial_cancel(h->dial);
	if (h->is_waiting)
		TAILQ_REMOVE(&gate->handouts.line, h, in_line);
	LIST_REMOVE(h, in_bucket);
	if (h->fd >= 0)
		gate_reset(&h->fd); /* nobody was given it */
	if (h->group)
		gate_conn_release(gate, h->group);
	gate_loop_bury(&gate->loop, &h->grave);
}

void gate_handouts_close(struct gate *gate)
{
	struct gate_handouts *all = &gate->handouts;

	if (all->fd < 0)
		return;
	gate_loop_remove(&gate->loop, all->fd, &all->source);
	gate_timer_unset(&gate->loop, &all->resume);
	fd_close(&all->fd);
	for (size_t i = 0; i < GATE_HANDOUT_BUCKETS; i++)
		while (!LIST_EMPTY(&all->buckets[i]))
			handout_end(LIST_FIRST(&all->buckets[i]));
}

/* ---- answers ---- */

static void set_failure(struct gate_handout *h, const char *verdict, const char *reason,
			const char *detail)
{
	struct gate_reply *reply = &h->reply;
	int len;

	reply->stage = strcmp(verdict, "deny") == 0 ? GATE_STAGE_REFUSED : GATE_STAGE_CONNECT;
	reply->rc = reply->stage == GATE_STAGE_REFUSED ? -EACCES : -EIO;
	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		if (strcmp(failures[i].reason, reason) != 0)
			continue;
		reply->stage = (uint8_t)failures[i].stage;
		reply->rc = -failures[i].error;
	}
	len = snprintf(reply->detail, sizeof(reply->detail), detail ? "%s (%s)" : "%s", reason,
		       detail);
	h->reply_len = GATE_REPLY_HEAD + (size_t)len;
}

/* 0 or -errno; -EAGAIN: the socket has no room now. */
static int send_reply(struct gate_handout *h)
{
	int fd = h->gate->handouts.fd;
	int rc = fd_send(fd, &h->reply, h->reply_len, &h->fd, h->fd >= 0);

	/* unix(7): more descriptors are on their way than one user may have open */
	if (rc == -ETOOMANYREFS && h->fd >= 0) {
		gate_reset(&h->fd);
		set_failure(h, "error", "out_of_descriptors", "ETOOMANYREFS");
		rc = fd_send(fd, &h->reply, h->reply_len, NULL, 0);
	}
	return rc;
}

/* Sends it, or lets it wait for room. The handout may be gone afterwards. */
static void answer(struct gate_handout *h)
{
	struct gate_handouts *all = &h->gate->handouts;
	int rc = TAILQ_EMPTY(&all->line) ? send_reply(h) : -EAGAIN;

	if (rc == -EAGAIN) {
		h->is_waiting = true;
		TAILQ_INSERT_TAIL(&all->line, h, in_line);
		watch(h->gate);
	} else if (rc < 0) {
		gate_handouts_close(h->gate);
	} else {
		fd_close(&h->fd); /* the other side has it */
		handout_end(h);
	}
}

static void flush_line(struct gate *gate)
{
	struct gate_handouts *all = &gate->handouts;
	struct gate_handout *h;

	while (all->fd >= 0 && (h = TAILQ_FIRST(&all->line))) {
		int rc = send_reply(h);

		if (rc == -EAGAIN)
			return;
		if (rc < 0) {
			gate_handouts_close(gate);
			return;
		}
		fd_close(&h->fd);
		handout_end(h);
	}
	watch(gate);
}

static void dial_done(void *ctx, const struct gate_dial_result *result)
{
	struct gate_handout *h = ctx;

	h->dial = NULL;
	h->fd = result->fd;
	h->reply.lookup_us = result->lookup_us;
	h->reply.connect_us = result->connect_us;
	if (h->fd < 0) {
		gate_conn_log(h->gate, h->host, h->port, result);
		set_failure(h, result->verdict, result->reason, result->detail);
	} else {
		gate_relay_tune(h->fd);
		h->reply_len = GATE_REPLY_HEAD;
	}
	answer(h);
}

/* ---- questions ---- */

static struct gate_handout *find(struct gate *gate, uint32_t id)
{
	struct gate_handout *h;

	LIST_FOREACH(h, &gate->handouts.buckets[id % GATE_HANDOUT_BUCKETS], in_bucket)
	if (h->reply.id == id)
		return h;
	return NULL;
}

static void refuse(struct gate_handout *h, const char *verdict, const char *reason)
{
	const struct gate_dial_result result = { .fd = -1, .verdict = verdict, .reason = reason };

	dial_done(h, &result);
}

static void serve(struct gate_handout *h)
{
	struct gate *gate = h->gate;
	struct address literal, named;
	struct gate_dial_request request;
	const struct gate_target *target;
	bool is_literal = address_parse(h->host, &literal);

	if (is_literal) /* as the table has it */
		address_format(&literal, h->host);
	target = gate_policy_find(&gate->policy, h->host, h->port);
	if (!target) {
		refuse(h, "deny", "not_routed");
		return;
	}
	h->group = gate_conn_reserve(gate, target->host);
	if (h->group && gate_conn_request(target, h->host, h->port, is_literal ? &literal : NULL,
					  h->group, &named, &request) == 0)
		h->dial = gate_dial_start(&gate->dialer, &request, dial_done, h);
	if (!h->dial)
		refuse(h, "error", "busy");
}

/* A name as it comes in a message: printable, without a blank. */
static bool is_name(const char *host, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isgraph((unsigned char)host[i]))
			return false;
	return len > 0 && len < GATE_NAME_BYTES;
}

/* False: it broke the form. */
static bool take_question(struct gate *gate, const struct gate_ask *ask, size_t len)
{
	struct gate_handout *h = find(gate, ask->id);
	size_t host_len = len - GATE_ASK_HEAD;
	char host[GATE_NAME_BYTES] = "";

	if (ask->port == 0) { /* what is not there any more was answered meanwhile */
		if (h)
			handout_end(h);
		return host_len == 0;
	}
	if (h || !is_name(ask->host, host_len))
		return false;
	memcpy(host, ask->host, host_len);
	h = calloc(1, sizeof(*h));
	if (!h || !gate_name_fold(host, h->host)) {
		free(h);
		return false;
	}
	h->gate = gate;
	h->fd = -1;
	h->port = ask->port;
	h->reply.id = ask->id;
	LIST_INSERT_HEAD(&gate->handouts.buckets[ask->id % GATE_HANDOUT_BUCKETS], h, in_bucket);
	serve(h);
	return true;
}

static void break_off(struct gate *gate)
{
	gate_audit_write(&gate->audit, gate->loop.now_ms,
			 &(struct gate_event){ .verdict = "error", .reason = "bad_request" });
	gate_handouts_close(gate);
}

static void read_questions(struct gate *gate)
{
	struct gate_handouts *all = &gate->handouts;
	struct gate_ask ask;

	for (int i = 0; i < BATCH && all->fd >= 0 && TAILQ_EMPTY(&all->line); i++) {
		ssize_t n;

		if (!gate_conn_take(gate)) {
			gate_loop_remove(&gate->loop, all->fd, &all->source);
			gate_timer_set(&gate->loop, &all->resume, RESUME_MS);
			return;
		}
		/* Descriptors that come along are closed by the kernel: there is no room for them. */
		n = recv(all->fd, &ask, sizeof(ask), MSG_DONTWAIT | MSG_TRUNC);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			gate->accepts++;
			return;
		}
		if (n <= 0)
			gate_handouts_close(gate);
		else if ((size_t)n < GATE_ASK_HEAD || (size_t)n > sizeof(ask) ||
			 !take_question(gate, &ask, (size_t)n))
			break_off(gate);
	}
}

static void ready(struct gate_source *source, uint32_t events)
{
	struct gate *gate = gate_container_of(source, struct gate, handouts.source);

	if (events & EPOLLOUT)
		flush_line(gate);
	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		read_questions(gate);
}

/* While an answer waits for room, for that alone. */
static void watch(struct gate *gate)
{
	struct gate_handouts *all = &gate->handouts;
	uint32_t events = TAILQ_EMPTY(&all->line) ? EPOLLIN : EPOLLOUT;

	if (all->fd < 0)
		return;
	gate_loop_remove(&gate->loop, all->fd, &all->source);
	all->source.ready = ready;
	if (gate_loop_add(&gate->loop, all->fd, events, &all->source) < 0)
		gate_handouts_close(gate);
}

static void resume(struct gate_timer *timer)
{
	watch(gate_container_of(timer, struct gate, handouts.resume));
}

int gate_handouts_init(struct gate *gate, int fd)
{
	struct gate_handouts *all = &gate->handouts;

	all->fd = fd;
	all->resume.fired = resume;
	TAILQ_INIT(&all->line);
	for (size_t i = 0; i < GATE_HANDOUT_BUCKETS; i++)
		LIST_INIT(&all->buckets[i]);
	return fd < 0 ? 0 : gate_set_nonblocking(fd);
}

int gate_handouts_start(struct gate *gate)
{
	bool is_wanted = gate->handouts.fd >= 0;

	watch(gate);
	return is_wanted && gate->handouts.fd < 0 ? -ENOMEM : 0;
}
