/* SPDX-License-Identifier: Apache-2.0
 *
 * The relay; see gate_relay.h. Runs in: the gate. Holds: two sockets of each connection and the bytes
 * between them, which it never looks at.
 *
 * Each socket is registered once, edge-triggered, for both directions: a relay costs no epoll_ctl
 * while it runs. So a flow must be pumped until the kernel says EAGAIN on one of its ends, or be
 * queued to go on: after BUDGET bytes it is, and the other connections get their turn.
 *
 *   source ──splice──▶ pipe ──splice──▶ sink
 *
 * EAGAIN from the first splice may mean "no bytes" or "pipe full"; which it was is known after the
 * second: with the pipe empty, it was the source. Back-pressure is the pipe's: nothing is read from
 * a source while the pipe cannot be emptied.
 *
 * A reset overtakes what was sent before it. An upstream that answers a request which it does not want
 * (413) and closes with its body unread sends answer and reset, and a client that is not relayed still
 * gets to read the answer. So when an end broke:
 *
 *   SOUND ── the kernel has closed an end ──▶ its queue and pipe ──▶ all sent ──▶ the other is reset
 *     └───── no such end, or both ──▶ both are reset at once     (or LIMIT_MS)
 *
 * It is bounded: a closed socket gets no more bytes than it has.
 */
#include "netns/gate_relay.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h> /* <netinet/tcp.h> knows no tcpi_notsent_bytes */
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

enum {
	LARGE_PIPE_BYTES = 1024 *
			   1024, /* about twice the bytes a second of CPU of the default 64 KiB */
	LARGE_PIPES = 8, /* what all pipes of a user may hold is bounded (pipe(7)), so not each */
	SPLICE_BYTES = 1024 * 1024,
	BUDGET = 4 * 1024 * 1024, /* of one flow, before others get a turn */
	LIMIT_MS = 30 * 1000,	  /* for what an end that broke had sent */
	STATE_CLOSED = 7,	  /* TCP_CLOSE of <netinet/tcp.h> */
};

static int pipe_take(struct gate_pipes *pipes, struct gate_flow *flow)
{
	if (flow->pipe[0] >= 0)
		return 0;
	if (pipes->count) {
		pipes->count--;
		flow->pipe[0] = pipes->spare[pipes->count][0];
		flow->pipe[1] = pipes->spare[pipes->count][1];
		return 0;
	}
	if (pipe2(flow->pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	if (pipes->open++ < LARGE_PIPES) /* refused past pipe-user-pages-soft: it works as it is */
		(void)fcntl(flow->pipe[1], F_SETPIPE_SZ, LARGE_PIPE_BYTES);
	return 0;
}

static void pipe_close(struct gate_pipes *pipes, int fds[static 2])
{
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	pipes->open--;
}

/* A pipe with bytes in it can serve nobody else. */
static void pipe_give(struct gate_pipes *pipes, struct gate_flow *flow)
{
	if (flow->pipe[0] < 0)
		return;
	if (!flow->piped && pipes->count < GATE_PIPES_SPARE) {
		pipes->spare[pipes->count][0] = flow->pipe[0];
		pipes->spare[pipes->count][1] = flow->pipe[1];
		pipes->count++;
		flow->pipe[0] = flow->pipe[1] = -1;
		return;
	}
	pipe_close(pipes, flow->pipe);
	flow->piped = 0;
}

void gate_pipes_clear(struct gate_pipes *pipes)
{
	while (pipes->count)
		pipe_close(pipes, pipes->spare[--pipes->count]);
}

void gate_reset(int *fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	if (*fd >= 0)
		(void)setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	fd_close(fd);
}

static void relay_clear(struct gate_relay *relay)
{
	gate_task_unqueue(relay->loop, &relay->again);
	gate_timer_unset(relay->loop, &relay->limit);
	for (int i = 0; i < 2; i++) {
		if (relay->ends[i].fd >= 0)
			gate_loop_remove(relay->loop, relay->ends[i].fd, &relay->ends[i].source);
		pipe_give(relay->pipes, &relay->flows[i]);
	}
}

void gate_relay_abort(struct gate_relay *relay)
{
	relay_clear(relay);
	gate_reset(&relay->ends[0].fd);
	gate_reset(&relay->ends[1].fd);
}

static void relay_reset(struct gate_relay *relay, int error)
{
	gate_relay_abort(relay);
	relay->done(relay, error);
}

static void relay_finished(struct gate_relay *relay)
{
	relay_clear(relay);
	fd_close(&relay->ends[0].fd);
	fd_close(&relay->ends[1].fd);
	relay->done(relay, 0);
}

/* A splice that may be told to wait: bytes moved, or -errno. */
static ssize_t move(int from, int to, size_t len)
{
	ssize_t n;

	do {
		n = splice(from, NULL, to, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* The source ended and its last byte is on its way: tell the sink. */
static void flow_shut(struct gate_flow *flow, int sink_fd)
{
	if (flow->is_shut || !flow->has_ended || flow->piped)
		return;
	(void)shutdown(sink_fd, SHUT_WR); /* ENOTCONN: it was reset, and its own event says so */
	flow->is_shut = true;
}

/* One turn: what the source has goes into the pipe, what the pipe has to the sink. 1 when there may
 * be more to do at once, 0 when one of the ends must be waited for, -errno when one broke. `is_last`:
 * of a source that broke before. */
static int flow_step(struct gate_flow *flow, int source_fd, int sink_fd, bool is_last,
		     size_t *moved)
{
	ssize_t in = -EAGAIN, out;

	if (!flow->has_ended) {
		in = move(source_fd, flow->pipe[1], SPLICE_BYTES);
		if (in < 0 && in != -EAGAIN && !is_last)
			return (int)in;
		if (in < 0 && in != -EAGAIN)
			in = 0; /* that it broke is known, and this is where its bytes end */
		flow->has_ended = in == 0;
		flow->piped += in > 0 ? (size_t)in : 0;
	}
	if (!flow->piped)
		return 0;
	out = move(flow->pipe[0], sink_fd, flow->piped);
	if (out == -EAGAIN)
		return 0;
	if (out <= 0)
		return out < 0 ? (int)out : -EPIPE;
	flow->piped -= (size_t)out;
	*moved += (size_t)out;
	return 1;
}

/* Pumps a flow until it must wait. 0, or -errno when the relay is broken. */
static int flow_pump(struct gate_relay *relay, int from)
{
	struct gate_flow *flow = &relay->flows[from];
	int sink_fd = relay->ends[!from].fd;
	size_t moved = 0;
	int rc;

	if (flow->is_shut)
		return 0;
	TRY(pipe_take(relay->pipes, flow));
	do {
		rc = flow_step(flow, relay->ends[from].fd, sink_fd, relay->error != 0, &moved);
	} while (rc > 0 && moved < BUDGET);
	if (rc < 0)
		return rc;
	if (rc > 0)
		gate_task_queue(relay->loop, &relay->again);
	if (!relay->error) /* the end of one that broke is no FIN */
		flow_shut(flow, sink_fd);
	if (!flow->piped)
		pipe_give(relay->pipes, flow);
	return 0;
}

static void end_ready(struct gate_source *source, uint32_t events);

static struct tcp_info tcp_of(int fd)
{
	struct tcp_info info = { .tcpi_state = 0 };
	socklen_t len = sizeof(info);

	(void)getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
	return info;
}

/* A reset throws away what is not sent yet. The socket becomes writable when nothing is left of that. */
static int await_sent(struct gate_relay *relay, struct gate_end *sink)
{
	int lowest = 1;

	if (relay->is_flushed)
		return 0;
	relay->is_flushed = true;
	if (setsockopt(sink->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowest, sizeof(lowest)) < 0)
		return -errno;
	/* Anew: only a look at it makes the kernel tell of the new mark (tcp_poll, SOCK_NOSPACE). */
	gate_loop_remove(relay->loop, sink->fd, &sink->source);
	sink->source.ready = end_ready;
	return gate_loop_add(relay->loop, sink->fd, EPOLLOUT | EPOLLRDHUP | EPOLLET, &sink->source);
}

/* What the end that broke had sent goes on to the other, which is then reset. */
static void relay_drain(struct gate_relay *relay)
{
	struct gate_flow *flow = &relay->flows[relay->broken];
	struct gate_end *sink = &relay->ends[!relay->broken];
	int rc = flow_pump(relay, relay->broken);

	if (rc == 0 && (!flow->has_ended || flow->piped))
		return;
	if (rc == 0 && tcp_of(sink->fd).tcpi_notsent_bytes && await_sent(relay, sink) == 0)
		return;
	relay_reset(relay, relay->error);
}

static void limit_timer(struct gate_timer *timer)
{
	struct gate_relay *relay = gate_container_of(timer, struct gate_relay, limit);

	relay_reset(relay, relay->error);
}

static void relay_broke(struct gate_relay *relay, int error)
{
	bool is_closed[2];

	for (int i = 0; i < 2; i++)
		is_closed[i] = tcp_of(relay->ends[i].fd).tcpi_state == STATE_CLOSED;
	if (relay->error || is_closed[0] == is_closed[1]) {
		relay_reset(relay, relay->error ? relay->error : error);
		return;
	}
	relay->error = error;
	relay->broken = is_closed[1];
	/* Nobody is left for the other direction's bytes. */
	relay->flows[!relay->broken].is_shut = true;
	pipe_give(relay->pipes, &relay->flows[!relay->broken]);
	gate_timer_set(relay->loop, &relay->limit, LIMIT_MS);
	relay_drain(relay);
}

static void relay_pump(struct gate_relay *relay, bool from_client, bool from_upstream)
{
	int rc = 0;

	if (relay->error) {
		relay_drain(relay);
		return;
	}
	if (from_client)
		rc = flow_pump(relay, 0);
	if (rc == 0 && from_upstream)
		rc = flow_pump(relay, 1);
	if (rc < 0)
		relay_broke(relay, -rc);
	else if (relay->flows[0].is_shut && relay->flows[1].is_shut)
		relay_finished(relay);
}

static void again_task(struct gate_task *task)
{
	relay_pump(gate_container_of(task, struct gate_relay, again), true, true);
}

/* A flow whose source has ended does not read, and so would not see a reset: ask for it. */
static int pending_error(int fd)
{
	socklen_t len = sizeof(int);
	int error = 0;

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? errno : error;
}

static void end_ready(struct gate_source *source, uint32_t events)
{
	struct gate_end *end = gate_container_of(source, struct gate_end, source);
	struct gate_relay *relay = end->relay;
	int self = end == &relay->ends[1];
	bool in = events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP);
	/* Writable matters only to a flow that was held up: every edge of a socket tells it again. */
	bool out = (events & EPOLLOUT) && relay->flows[!self].piped;
	int error = events & EPOLLERR ? pending_error(end->fd) : 0;

	if (error)
		relay_broke(relay, error);
	else
		relay_pump(relay, self ? out : in, self ? in : out);
}

void gate_relay_tune(int fd)
{
	int on = 1, idle_s = 60, interval_s = 15, probes = 4;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	/* An upstream that vanished is noticed, so an idle connection does not stay for ever. */
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

static void tune(int client_fd, int upstream_fd)
{
	int on = 1;

	(void)setsockopt(client_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	gate_relay_tune(upstream_fd);
}

int gate_relay_start(struct gate_relay *relay, struct gate_loop *loop, struct gate_pipes *pipes,
		     int client_fd, int upstream_fd,
		     void (*done)(struct gate_relay *relay, int error))
{
	int fds[2] = { client_fd, upstream_fd };

	*relay = (struct gate_relay){ .loop = loop,
				      .pipes = pipes,
				      .again.run = again_task,
				      .limit.fired = limit_timer,
				      .done = done };
	tune(client_fd, upstream_fd);
	for (int i = 0; i < 2; i++) {
		relay->flows[i] = (struct gate_flow){ .pipe = { -1, -1 } };
		relay->ends[i] = (struct gate_end){ .source.ready = end_ready,
						    .relay = relay,
						    .fd = fds[i] };
	}
	for (int i = 0; i < 2; i++) {
		int rc = gate_loop_add(loop, fds[i], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				       &relay->ends[i].source);

		if (rc < 0) {
			gate_relay_abort(relay);
			return rc;
		}
	}
	return 0;
}
