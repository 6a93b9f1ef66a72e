/* SPDX-License-Identifier: Apache-2.0
 *
 * Dialling by the gate: it is asked for (name, port) and hands over a connected socket; see
 * base/gate_wire.h. Runs in: the proxy's worker, which may make no socket of its own then. Holds: the gate's
 * socket.
 *
 * Questions that the socket has no room for wait in line, in order. Answers find their dial by number.
 * Numbers count up and are not reused for four thousand million dials, so the answer to a dial that was
 * given up, which may be on its way, meets no other; its socket is closed. A gate that breaks the rules or
 * goes away is not listened to any more: every dial fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/gate_wire.h"
#include "proxy/dial_parts.h"
#include "proxy/loop.h"

enum {
	BUCKETS = 256,
	/* Longer than the gate's own limits together: it answers, or something is broken. */
	ANSWER_MS = 60 * 1000,
};

struct gate_dial {
	struct dial dial;
	uint32_t id;
	bool is_sent;
	LIST_ENTRY(gate_dial) in_bucket;
	TAILQ_ENTRY(gate_dial) in_line; /* while it is not sent */
	struct timer deadline;
	struct task fail; /* where it fails at once */
};

LIST_HEAD(bucket, gate_dial);
TAILQ_HEAD(line, gate_dial);

static struct source gate = { .fd = -1 };
static struct bucket buckets[BUCKETS];
static struct line line = TAILQ_HEAD_INITIALIZER(line);
static uint32_t last_id;

static void end_with(struct gate_dial *g, enum dial_failure failure, const char *detail)
{
	const struct dial_result result = { .fd = -1, .failure = failure, .detail = detail };

	dial_end(&g->dial, &result);
}

/* ---- the gate is gone ---- */

static void fail_task(struct task *task)
{
	end_with((struct gate_dial *)((char *)task - offsetof(struct gate_dial, fail)),
		 DIAL_CONNECT, "the gate is gone");
}

static void gate_lost(void)
{
	struct gate_dial *g;

	loop_remove(&gate);
	fd_close(&gate.fd);
	for (size_t i = 0; i < BUCKETS; i++)
		LIST_FOREACH(g, &buckets[i], in_bucket)
	loop_defer(&g->fail);
}

/* ---- asking ---- */

static int send_ask(uint32_t id, uint16_t port, const char *host)
{
	struct gate_ask ask = { .id = id, .port = port };
	size_t len = strlen(host);

	memcpy(ask.host, host, len);
	if (send(gate.fd, &ask, GATE_ASK_HEAD + len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return -errno;
	return 0;
}

static void send_waiting(void)
{
	struct gate_dial *g;

	while (gate.fd >= 0 && (g = TAILQ_FIRST(&line))) {
		int rc = send_ask(g->id, g->dial.port, g->dial.host);

		if (rc == -EAGAIN || rc == -EINTR)
			return; /* the next edge */
		if (rc < 0) {
			gate_lost();
			return;
		}
		TAILQ_REMOVE(&line, g, in_line);
		g->is_sent = true;
	}
}

static void deadline_due(struct timer *timer)
{
	end_with((struct gate_dial *)((char *)timer - offsetof(struct gate_dial, deadline)),
		 DIAL_CONNECT, "the gate did not answer in time");
}

static void start(struct dial *dial)
{
	struct gate_dial *g = (struct gate_dial *)dial;

	last_id += last_id == UINT32_MAX ? 2 : 1; /* never 0 */
	g->id = last_id;
	g->fail.run = fail_task;
	g->deadline.on_due = deadline_due;
	LIST_INSERT_HEAD(&buckets[g->id % BUCKETS], g, in_bucket);
	TAILQ_INSERT_TAIL(&line, g, in_line);
	timer_set(&g->deadline, ANSWER_MS);
	if (gate.fd < 0)
		loop_defer(&g->fail);
	else
		send_waiting();
}

static void cancel(struct dial *dial)
{
	struct gate_dial *g = (struct gate_dial *)dial;

	timer_cancel(&g->deadline);
	loop_undefer(&g->fail);
	LIST_REMOVE(g, in_bucket);
	if (!g->is_sent)
		TAILQ_REMOVE(&line, g, in_line);
	else if (g->id && gate.fd >= 0)
		/* Where there is no room, the answer comes and is thrown away. */
		(void)!send_ask(g->id, 0, "");
}

/* ---- answers ---- */

static struct gate_dial *find(uint32_t id)
{
	struct gate_dial *g;

	LIST_FOREACH(g, &buckets[id % BUCKETS], in_bucket)
	if (g->id == id && g->is_sent)
		return g;
	return NULL;
}

/* Takes one message off the socket. > 0: its length; 0: the gate closed; -errno. `*ret_fd` is -1 when
 * there was none, also where the kernel had no room for it in our table of descriptors. */
static ssize_t receive(struct gate_reply *reply, int *ret_fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = reply, .iov_len = sizeof(*reply) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	const struct cmsghdr *cmsg;
	ssize_t n = recvmsg(gate.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*ret_fd = -1;
	if (n < 0)
		return -errno;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS &&
	    cmsg->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(cmsg), sizeof(int));
	return msg.msg_flags & MSG_TRUNC ? -EMSGSIZE : n;
}

static bool is_well_formed(const struct gate_reply *reply, size_t len, int fd)
{
	return len >= GATE_REPLY_HEAD && reply->rc <= 0 && reply->stage < GATE_STAGES &&
	       (reply->rc == 0) == (reply->stage == GATE_STAGE_OK) && (fd < 0 || reply->rc == 0);
}

/* `len` of the message; the detail becomes a string. */
static void answered(struct gate_dial *g, const struct gate_reply *reply, size_t len, int fd)
{
	static const enum dial_failure failures[] = { [GATE_STAGE_OK] = DIAL_CONNECT,
						      [GATE_STAGE_DNS] = DIAL_DNS,
						      [GATE_STAGE_CONNECT] = DIAL_CONNECT,
						      [GATE_STAGE_REFUSED] = DIAL_REFUSED };
	char detail[GATE_WIRE_DETAIL_MAX + 1] = "";
	const struct dial_result result = {
		.fd = fd,
		.failure = failures[reply->stage],
		.detail = reply->rc == 0 && fd < 0 ? "out of descriptors" : detail,
		.lookup_us = reply->lookup_us,
		.connect_us = reply->connect_us,
	};

	memcpy(detail, reply->detail, len - GATE_REPLY_HEAD);
	g->id = 0; /* answered: nothing to take back */
	dial_end(&g->dial, &result);
}

static bool take_answer(void)
{
	struct gate_reply reply;
	cleanup_fd int fd = -1;
	ssize_t n = receive(&reply, &fd);
	struct gate_dial *g;

	if (n == -EAGAIN)
		return false;
	if (n == -EINTR)
		return true;
	if (n <= 0 || !is_well_formed(&reply, (size_t)n, fd)) {
		gate_lost();
		return false;
	}
	g = find(reply.id);
	if (g)
		answered(g, &reply, (size_t)n, take_fd(&fd));
	return true;
}

static void gate_event(struct source *source, uint32_t events)
{
	(void)source;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		while (gate.fd >= 0 && take_answer())
			;
	send_waiting();
}

int dial_gate_init(int gate_fd, struct err *err)
{
	int rc;

	gate = (struct source){ .fd = gate_fd, .on_event = gate_event };
	rc = loop_add(&gate);
	return rc < 0 ? err_sys(err, -rc, "the gate's socket") : 0;
}

const struct dial_way dial_by_gate = {
	.size = sizeof(struct gate_dial),
	.start = start,
	.cancel = cancel,
};
