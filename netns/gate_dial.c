/* SPDX-License-Identifier: Apache-2.0
 *
 * Dialling; see gate_dial.h. Runs in: the gate. Holds: half-open sockets into the host's network.
 *
 *   RESOLVING ── addresses ──▶ judged one by one ──▶ CONNECTING ── first to connect ──▶ done
 *
 * Happy Eyeballs: an attempt every 250 ms, or at once when one failed, until one connects; the others
 * are closed. getaddrinfo gives both families together, so RFC 8305's resolution delay has nothing
 * to do here. All half-open sockets together are bounded, and so is each routed host's part; a dial
 * that finds none free waits in line until it does or its own time is up.
 */
#include "netns/gate_dial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "netns/gate_relay.h"

enum { ATTEMPT_DELAY_MS = 250 }; /* RFC 8305 §8 */

struct attempt {
	struct gate_source source;
	struct gate_dial *dial;
	int fd;
	struct address ip;
};

struct gate_dial {
	struct gate_grave grave;
	TAILQ_ENTRY(gate_dial) entry; /* in `line` */
	struct gate_dial_list *line;  /* where it waits for a free attempt, or NULL */
	struct gate_dialer *dialer;
	struct gate_dial_request request;
	struct gate_waiter waiter;
	struct gate_task start;
	struct gate_timer deadline;
	struct gate_timer next; /* the attempt delay */
	struct address ips[GATE_ANSWER_MAX];
	size_t ip_count, ip_next;
	struct attempt attempts[GATE_ANSWER_MAX];
	size_t open_count;
	uint64_t started_us, looked_up_us; /* 0: not come to */
	/* The failure that will be told if no address works: the last that was met. */
	const char *verdict, *reason, *detail;
	struct address failed_ip;
	gate_dial_done *done;
	void *ctx;
};

void gate_dial_interleave(struct address *ips, size_t count)
{
	struct address sorted[GATE_ANSWER_MAX];
	bool taken[GATE_ANSWER_MAX] = { false };
	uint8_t wanted = count ? ips[0].len : 0;

	for (size_t n = 0; n < count; n++) {
		size_t pick = count;

		for (size_t i = count;
		     i-- > 0;) /* the first of the wanted family, else the first */
			if (!taken[i] &&
			    (pick == count || ips[pick].len != wanted || ips[i].len == wanted))
				pick = i;
		taken[pick] = true;
		sorted[n] = ips[pick];
		wanted = sorted[n].len == 4 ? 16 : 4;
	}
	memcpy(ips, sorted, count * sizeof(*ips));
}

static void note_failure(struct gate_dial *dial, const char *verdict, const char *reason,
			 const char *detail, const struct address *ip)
{
	dial->verdict = verdict;
	dial->reason = reason;
	dial->detail = detail;
	dial->failed_ip = ip ? *ip : (struct address){ 0 };
}

static void attempt_close(struct attempt *attempt)
{
	struct gate_dialer *dialer = attempt->dial->dialer;

	if (attempt->fd < 0)
		return;
	gate_loop_remove(dialer->loop, attempt->fd, &attempt->source);
	gate_reset(&attempt->fd); /* one that just connected too: nothing was said on it */
	attempt->dial->open_count--;
	attempt->dial->request.group->attempts--;
	dialer->attempts--;
	if (!TAILQ_EMPTY(&dialer->waiting))
		gate_task_queue(dialer->loop, &dialer->wake);
}

static void stop_waiting(struct gate_dial *dial)
{
	if (dial->line)
		TAILQ_REMOVE(dial->line, dial, entry);
	dial->line = NULL;
}

static void wait_in(struct gate_dial *dial, struct gate_dial_list *line)
{
	dial->line = line;
	TAILQ_INSERT_TAIL(line, dial, entry);
}

void gate_dial_cancel(struct gate_dial *dial)
{
	struct gate_loop *loop = dial->dialer->loop;

	gate_resolver_cancel(&dial->waiter);
	gate_task_unqueue(loop, &dial->start);
	gate_timer_unset(loop, &dial->deadline);
	gate_timer_unset(loop, &dial->next);
	stop_waiting(dial);
	for (size_t i = 0; i < dial->ip_next; i++)
		attempt_close(&dial->attempts[i]);
	gate_loop_bury(loop, &dial->grave);
}

static uint64_t now_us(void)
{
	struct timespec ts = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Tells the result, then is gone. */
static void dial_end(struct gate_dial *dial, int fd, const struct address *ip)
{
	uint64_t end_us = now_us(), looked_up_us = dial->looked_up_us ? dial->looked_up_us : end_us;
	struct gate_dial_result result = {
		.fd = fd,
		.verdict = dial->verdict,
		.reason = dial->reason,
		.detail = dial->detail,
		.ip = ip && ip->len ? ip : NULL,
		.lookup_us = (uint32_t)(looked_up_us - dial->started_us),
		.connect_us = (uint32_t)(end_us - looked_up_us),
	};
	gate_dial_done *done = dial->done;

	gate_dial_cancel(dial);
	done(dial->ctx, &result);
}

static void dial_failed(struct gate_dial *dial)
{
	dial_end(dial, -1, &dial->failed_ip);
}

static const char *reason_of(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return "connect_refused";
	case ETIMEDOUT:
		return "connect_timeout";
	case ENETUNREACH:
	case EHOSTUNREACH:
	case EADDRNOTAVAIL:
		return "unreachable";
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		return "out_of_descriptors";
	default:
		return "connect_failed";
	}
}

static void try_next(struct gate_dial *dial);

static void attempt_failed(struct attempt *attempt, int error)
{
	struct gate_dial *dial = attempt->dial;

	attempt_close(attempt);
	note_failure(dial, "error", reason_of(error), strerrorname_np(error), &attempt->ip);
	try_next(dial);
}

static void attempt_ready(struct gate_source *source, uint32_t events)
{
	struct attempt *attempt = gate_container_of(source, struct attempt, source);
	socklen_t len = sizeof(int);
	int error = 0, fd = attempt->fd;

	(void)events;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error) {
		attempt_failed(attempt, error);
		return;
	}
	/* Out of the loop before the others are closed: this one is the caller's now. */
	gate_loop_remove(attempt->dial->dialer->loop, fd, &attempt->source);
	attempt->fd = -1;
	attempt->dial->open_count--;
	attempt->dial->request.group->attempts--;
	attempt->dial->dialer->attempts--;
	gate_task_queue(attempt->dial->dialer->loop, &attempt->dial->dialer->wake);
	dial_end(attempt->dial, fd, &attempt->ip);
}

static bool attempt_is_free(const struct gate_dial *dial)
{
	const struct gate_dialer *d = dial->dialer;

	return d->attempts < d->attempts_max &&
	       dial->request.group->attempts < gate_group_share(d->attempts_max);
}

/* Begins one connect. 0 or -errno: failed at once. */
static int attempt_start(struct gate_dial *dial, struct attempt *attempt)
{
	struct gate_dialer *d = dial->dialer;
	struct sockaddr_storage ss;
	socklen_t len = address_to_sockaddr(&attempt->ip, dial->request.port, &ss);
	int rc;

	attempt->fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (attempt->fd < 0)
		return -errno;
	dial->open_count++;
	dial->request.group->attempts++;
	d->attempts++;
	attempt->source.ready = attempt_ready;
	if (connect(attempt->fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
		return -errno;
	rc = gate_loop_add(d->loop, attempt->fd, EPOLLOUT, &attempt->source);
	return rc;
}

/* Starts the next attempt that does not fail at once; ends the dial when there is none to wait for. */
static void try_next(struct gate_dial *dial)
{
	struct gate_dialer *d = dial->dialer;

	gate_timer_unset(d->loop, &dial->next);
	stop_waiting(dial);
	while (dial->ip_next < dial->ip_count) {
		struct attempt *attempt = &dial->attempts[dial->ip_next];
		int rc;

		if (!attempt_is_free(dial)) {
			wait_in(dial, &d->waiting);
			return;
		}
		*attempt = (struct attempt){ .dial = dial,
					     .fd = -1,
					     .ip = dial->ips[dial->ip_next++] };
		rc = attempt_start(dial, attempt);
		if (rc == 0) {
			if (dial->ip_next < dial->ip_count)
				gate_timer_set(d->loop, &dial->next, ATTEMPT_DELAY_MS);
			return;
		}
		attempt_close(attempt);
		note_failure(dial, "error", reason_of(-rc), strerrorname_np(-rc), &attempt->ip);
	}
	if (!dial->open_count)
		dial_failed(dial);
}

static void next_timer(struct gate_timer *timer)
{
	try_next(gate_container_of(timer, struct gate_dial, next));
}

static void deadline_timer(struct gate_timer *timer)
{
	struct gate_dial *dial = gate_container_of(timer, struct gate_dial, deadline);

	if (dial->waiter.lookup)
		note_failure(dial, "error", "dns_timeout", NULL, NULL);
	else if (dial->line && !dial->ip_next)
		note_failure(dial, "error", "busy", NULL, NULL);
	else
		note_failure(dial, "error", "connect_timeout", NULL, &dial->ips[0]);
	dial_failed(dial);
}

/* Those in line go on, in order, but for those whose host has its share already: they keep their place.
 * A dial that fails at once may end every other one (who asked for them is gone), so none is remembered
 * across try_next: it is always the first in line that is looked at. */
static void wake_waiting(struct gate_task *task)
{
	struct gate_dialer *d = gate_container_of(task, struct gate_dialer, wake);
	struct gate_dial *dial;

	while (d->attempts < d->attempts_max && (dial = TAILQ_FIRST(&d->waiting))) {
		if (attempt_is_free(dial)) {
			try_next(dial);
			continue;
		}
		stop_waiting(dial);
		wait_in(dial, &d->passed_over);
	}
	while ((dial = TAILQ_LAST(&d->passed_over, gate_dial_list))) {
		stop_waiting(dial);
		dial->line = &d->waiting;
		TAILQ_INSERT_HEAD(&d->waiting, dial, entry);
	}
}

/* Takes an address if it may be dialled; else keeps the refusal as what is told when none may. */
static void judge(struct gate_dial *dial, const struct address *ip)
{
	const struct gate_dial_request *q = &dial->request;
	enum gate_route_kind route = gate_route_ask(dial->dialer->route_fd, ip, q->port);
	const char *range = NULL;
	const char *refusal = address_refusal(ip, route == GATE_ROUTE_OWN, q->allow_private,
					      q->is_named, &range);

	if (refusal)
		note_failure(dial, "deny", refusal, range, ip);
	else if (route != GATE_ROUTE_NONE)
		dial->ips[dial->ip_count++] = *ip;
	else if (!dial->reason)
		note_failure(dial, "error", "unreachable", "no route", ip);
}

static void connect_to(struct gate_dial *dial, const struct address *ips, size_t count)
{
	dial->looked_up_us = now_us();
	for (size_t i = 0; i < count; i++)
		judge(dial, &ips[i]);
	if (!dial->ip_count) {
		dial_failed(dial);
		return;
	}
	gate_dial_interleave(dial->ips, dial->ip_count);
	gate_timer_set(dial->dialer->loop, &dial->deadline, dial->dialer->connect_timeout_ms);
	try_next(dial);
}

static void resolved(struct gate_waiter *waiter, const char *reason,
		     const struct gate_answer *answer)
{
	struct gate_dial *dial = gate_container_of(waiter, struct gate_dial, waiter);

	if (!reason) {
		connect_to(dial, answer->ips, answer->count);
		return;
	}
	note_failure(dial, "error", reason, NULL, NULL);
	dial_failed(dial);
}

static void start_task(struct gate_task *task)
{
	struct gate_dial *dial = gate_container_of(task, struct gate_dial, start);
	struct gate_dialer *d = dial->dialer;

	dial->started_us = now_us();
	if (dial->request.address) {
		struct address ip = dial->ips[0];

		connect_to(dial, &ip, 1);
		return;
	}
	/* Past the resolver's own limit: this is what a queue of slow names costs at most. */
	gate_timer_set(d->loop, &dial->deadline, 2ULL * d->lookup_timeout_ms);
	gate_resolver_ask(d->resolver, dial->request.name, dial->request.group->host,
			  &dial->waiter);
}

void gate_dialer_init(struct gate_dialer *dialer)
{
	TAILQ_INIT(&dialer->waiting);
	TAILQ_INIT(&dialer->passed_over);
	dialer->wake.run = wake_waiting;
}

struct gate_dial *gate_dial_start(struct gate_dialer *dialer,
				  const struct gate_dial_request *request, gate_dial_done *done,
				  void *ctx)
{
	struct gate_dial *dial = calloc(1, sizeof(*dial));

	if (!dial)
		return NULL;
	dial->dialer = dialer;
	dial->request = *request;
	dial->done = done;
	dial->ctx = ctx;
	dial->waiter.done = resolved;
	dial->deadline.fired = deadline_timer;
	dial->next.fired = next_timer;
	dial->start.run = start_task;
	if (request->address)
		dial->ips[0] = *request->address;
	gate_task_queue(dialer->loop, &dial->start);
	return dial;
}
