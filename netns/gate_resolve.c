/* SPDX-License-Identifier: Apache-2.0
 *
 * The pool of helpers as the gate sees it; see gate_resolve.h. Runs in: the gate. Holds: a socket to
 * the zygote and one to each helper.
 *
 *   QUEUED ── a helper is idle and the host's share allows it ──▶ RUNNING ── answer ──▶ KNOWN ──▶ freed
 *      ▲                                                            │                    (a few s)
 *      └────────── the helper went away in good time (once) ────────┘
 *
 * A helper is untrusted: it parses what name servers send. Its answer is taken only when its size and
 * counts are right, and every address in it is judged later like any other.
 */
#include "netns/gate_resolve.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

enum {
	POSITIVE_MS = 5000,
	NEGATIVE_MS = 1000,
	KNOWN_MAX = 256,
	GRACE_MS = 2000, /* past the helper's own alarm: then its socket is closed from here */
};

enum lookup_state { QUEUED, RUNNING, KNOWN };

struct helper {
	struct gate_source source;
	struct gate_resolver *resolver;
	int fd;			    /* -1: no process */
	struct gate_lookup *lookup; /* NULL: idle */
};

struct gate_lookup {
	struct gate_grave grave;
	TAILQ_ENTRY(gate_lookup) entry; /* in `queued`, `running` or `known` */
	TAILQ_HEAD(, gate_waiter) waiters;
	struct gate_resolver *resolver;
	struct gate_group *group;
	struct gate_timer timer;
	uint64_t started_ms;
	enum lookup_state state;
	bool was_retried;
	const char *reason;
	struct gate_answer answer;
	char name[GATE_NAME_BYTES];
};

TAILQ_HEAD(lookup_list, gate_lookup);

struct gate_resolver {
	struct gate_source zygote;
	struct gate_loop *loop;
	struct gate_groups *groups;
	struct helper helpers[GATE_HELPERS_MAX];
	struct lookup_list queued, running, known;
	size_t known_count;
	size_t spawning; /* asked of the zygote and not yet come */
	unsigned timeout_s;
	int zygote_fd;
};

static struct lookup_list *list_of(struct gate_lookup *lookup)
{
	struct gate_resolver *r = lookup->resolver;

	return lookup->state == QUEUED	  ? &r->queued
	       : lookup->state == RUNNING ? &r->running
					  : &r->known;
}

static void move_to(struct gate_lookup *lookup, enum lookup_state state)
{
	TAILQ_REMOVE(list_of(lookup), lookup, entry);
	lookup->resolver->known_count -= lookup->state == KNOWN;
	lookup->group->lookups -= lookup->state == RUNNING;
	lookup->state = state;
	TAILQ_INSERT_TAIL(list_of(lookup), lookup, entry);
	lookup->resolver->known_count += state == KNOWN;
	lookup->group->lookups += state == RUNNING;
}

static void lookup_end(struct gate_lookup *lookup)
{
	struct gate_resolver *r = lookup->resolver;

	gate_timer_unset(r->loop, &lookup->timer);
	TAILQ_REMOVE(list_of(lookup), lookup, entry);
	r->known_count -= lookup->state == KNOWN;
	lookup->group->lookups -= lookup->state == RUNNING;
	gate_group_put(r->groups, lookup->group);
	gate_loop_bury(r->loop, &lookup->grave);
}

/* Keeps the result for a while and tells it to everyone who waits. */
static void lookup_known(struct gate_lookup *lookup, const char *reason)
{
	struct gate_resolver *r = lookup->resolver;
	struct gate_waiter *waiter;

	move_to(lookup, KNOWN);
	lookup->reason = reason;
	gate_timer_set(r->loop, &lookup->timer, reason ? NEGATIVE_MS : POSITIVE_MS);
	while ((waiter = TAILQ_FIRST(&lookup->waiters))) {
		TAILQ_REMOVE(&lookup->waiters, waiter, entry);
		waiter->lookup = NULL;
		waiter->done(waiter, reason, &lookup->answer);
	}
	while (r->known_count > KNOWN_MAX)
		lookup_end(TAILQ_FIRST(&r->known));
}

static void helper_close(struct helper *helper)
{
	gate_loop_remove(helper->resolver->loop, helper->fd, &helper->source);
	fd_close(&helper->fd);
	helper->lookup = NULL;
}

static struct helper *helper_of(struct gate_lookup *lookup)
{
	for (size_t i = 0; i < GATE_HELPERS_MAX; i++)
		if (lookup->resolver->helpers[i].lookup == lookup)
			return &lookup->resolver->helpers[i];
	return NULL;
}

static struct helper *find_helper(struct gate_resolver *r, bool with_process)
{
	for (size_t i = 0; i < GATE_HELPERS_MAX; i++)
		if ((r->helpers[i].fd >= 0) == with_process && !r->helpers[i].lookup)
			return &r->helpers[i];
	return NULL;
}

static bool run_on(struct gate_lookup *lookup, struct helper *helper)
{
	struct gate_resolver *r = lookup->resolver;

	if (send(helper->fd, lookup->name, strlen(lookup->name) + 1, MSG_NOSIGNAL | MSG_DONTWAIT) <
	    0)
		return false;
	helper->lookup = lookup;
	lookup->started_ms = r->loop->now_ms;
	move_to(lookup, RUNNING);
	gate_timer_set(r->loop, &lookup->timer, r->timeout_s * 1000 + GRACE_MS);
	return true;
}

/* A host may occupy half of the pool, so that others always find a helper. */
static struct gate_lookup *next_lookup(struct gate_resolver *r)
{
	struct gate_lookup *lookup;

	TAILQ_FOREACH(lookup, &r->queued, entry)
	if (lookup->group->lookups < GATE_HELPERS_MAX / 2)
		return lookup;
	return NULL;
}

static void ask_for_helpers(struct gate_resolver *r)
{
	size_t processes = r->spawning, wanted = 0;
	struct gate_lookup *lookup;

	for (size_t i = 0; i < GATE_HELPERS_MAX; i++)
		processes += r->helpers[i].fd >= 0;
	TAILQ_FOREACH(lookup, &r->queued, entry)
	wanted += lookup->group->lookups < GATE_HELPERS_MAX / 2;
	while (r->spawning < wanted && processes < GATE_HELPERS_MAX) {
		if (send(r->zygote_fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			return;
		r->spawning++;
		processes++;
	}
}

static void dispatch(struct gate_resolver *r)
{
	struct gate_lookup *lookup;
	struct helper *helper;

	while ((lookup = next_lookup(r)) && (helper = find_helper(r, true)))
		if (!run_on(lookup, helper))
			helper_close(helper);
	if (lookup)
		ask_for_helpers(r);
}

static const char *reason_of(int gai_code)
{
	switch (gai_code) {
	case 0:
		return NULL;
	case EAI_NONAME:
	case EAI_NODATA:
		return "dns_nxdomain";
	default: /* EAI_AGAIN: the servers fail, or none answered within resolv.conf's own timeouts */
		return "dns_failed";
	}
}

static bool answer_is_sound(const struct gate_answer *answer, ssize_t len)
{
	if (len != (ssize_t)sizeof(*answer) || answer->count > GATE_ANSWER_MAX ||
	    (!answer->gai_code && !answer->count))
		return false;
	for (uint32_t i = 0; i < answer->count; i++)
		if (answer->ips[i].len != 4 && answer->ips[i].len != 16)
			return false;
	return true;
}

/* The helper is gone with our question. Its alarm clock ended it, or it left just then (idle), or it
 * crashed: the latter two get one more chance. */
static void lookup_orphaned(struct gate_lookup *lookup)
{
	struct gate_resolver *r = lookup->resolver;
	bool was_late = r->loop->now_ms - lookup->started_ms >= r->timeout_s * 1000 - 500;

	if (was_late || lookup->was_retried) {
		lookup_known(lookup, was_late ? "dns_timeout" : "dns_failed");
		return;
	}
	lookup->was_retried = true;
	gate_timer_unset(r->loop, &lookup->timer);
	move_to(lookup, QUEUED);
}

static void helper_ready(struct gate_source *source, uint32_t events)
{
	struct helper *helper = gate_container_of(source, struct helper, source);
	struct gate_lookup *lookup = helper->lookup;
	struct gate_answer answer;
	ssize_t n = recv(helper->fd, &answer, sizeof(answer), MSG_DONTWAIT | MSG_TRUNC);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	helper->lookup = NULL;
	if (n <= 0 || !lookup || !answer_is_sound(&answer, n)) {
		helper_close(helper);
		if (lookup)
			lookup_orphaned(lookup);
	} else {
		lookup->answer = answer;
		lookup_known(lookup, reason_of(answer.gai_code));
	}
	dispatch(helper->resolver);
}

static void lookup_timer(struct gate_timer *timer)
{
	struct gate_lookup *lookup = gate_container_of(timer, struct gate_lookup, timer);
	struct gate_resolver *r = lookup->resolver;

	if (lookup->state == KNOWN) {
		lookup_end(lookup);
		return;
	}
	helper_close(helper_of(lookup));
	lookup_known(lookup, "dns_timeout");
	dispatch(r);
}

static void zygote_ready(struct gate_source *source, uint32_t events)
{
	struct gate_resolver *r = gate_container_of(source, struct gate_resolver, zygote);
	struct helper *helper;
	size_t count = 0;
	char byte;
	int fd = -1;
	ssize_t n = fd_recv(r->zygote_fd, &byte, 1, &fd, 1, &count);

	(void)events;
	if (n <= 0) {
		gate_loop_stop(r->loop, -EPIPE);
		return;
	}
	r->spawning -= r->spawning > 0;
	helper = find_helper(r, false);
	if (count && helper) {
		helper->fd = fd;
		helper->source.ready = helper_ready;
		if (gate_loop_add(r->loop, fd, EPOLLIN, &helper->source) < 0)
			helper_close(helper);
	} else if (count) {
		close(fd);
	} else if (!r->spawning && TAILQ_EMPTY(&r->running) && !TAILQ_EMPTY(&r->queued)) {
		/* The host has no process to give, and nobody is left who would ask again. */
		lookup_known(TAILQ_FIRST(&r->queued), "dns_failed");
	}
	dispatch(r);
}

int gate_resolver_start(int (*confine)(struct err *err), unsigned timeout_s,
			struct gate_resolver **ret_resolver, struct err *err)
{
	struct gate_resolver *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return err_set(err, ENOMEM, "gate: no memory for the resolver");
	rc = gate_zygote_start(confine, timeout_s, &r->zygote_fd, err);
	if (rc < 0) {
		free(r);
		return rc;
	}
	r->timeout_s = timeout_s;
	TAILQ_INIT(&r->queued);
	TAILQ_INIT(&r->running);
	TAILQ_INIT(&r->known);
	for (size_t i = 0; i < GATE_HELPERS_MAX; i++)
		r->helpers[i] = (struct helper){ .resolver = r, .fd = -1 };
	*ret_resolver = r;
	return 0;
}

int gate_resolver_attach(struct gate_resolver *r, struct gate_loop *loop,
			 struct gate_groups *groups, struct err *err)
{
	struct gate_zygote_hello hello = { .code = 0 };
	size_t count = 0;
	ssize_t n = fd_recv(r->zygote_fd, &hello, sizeof(hello), NULL, 0, &count);
	int rc;

	if (n != (ssize_t)sizeof(hello))
		return err_set(err, EPIPE, "gate: the resolver died while starting");
	if (hello.code < 0) {
		hello.err.text[sizeof(hello.err.text) - 1] = '\0';
		return err_set(err, -hello.code, "gate: resolver: %s", hello.err.text);
	}
	r->loop = loop;
	r->groups = groups;
	r->zygote.ready = zygote_ready;
	rc = gate_loop_add(loop, r->zygote_fd, EPOLLIN, &r->zygote);
	return rc < 0 ? err_sys(err, -rc, "gate: epoll") : 0;
}

static void free_list(struct lookup_list *list)
{
	while (!TAILQ_EMPTY(list))
		lookup_end(TAILQ_FIRST(list));
}

void gate_resolver_free(struct gate_resolver *r)
{
	if (!r)
		return;
	free_list(&r->queued);
	free_list(&r->running);
	free_list(&r->known);
	for (size_t i = 0; i < GATE_HELPERS_MAX; i++)
		fd_close(&r->helpers[i].fd);
	fd_close(&r->zygote_fd);
	free(r);
}

static struct gate_lookup *find_lookup(struct gate_resolver *r, const char *name)
{
	struct lookup_list *lists[] = { &r->known, &r->running, &r->queued };
	struct gate_lookup *lookup;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		TAILQ_FOREACH(lookup, lists[i], entry)
	if (!strcmp(lookup->name, name))
		return lookup;
	return NULL;
}

static struct gate_lookup *lookup_new(struct gate_resolver *r, const char *name,
				      const char *group_host)
{
	struct gate_lookup *lookup = calloc(1, sizeof(*lookup));

	if (!lookup)
		return NULL;
	lookup->group = gate_group_get(r->groups, group_host);
	if (!lookup->group) {
		free(lookup);
		return NULL;
	}
	lookup->resolver = r;
	lookup->timer.fired = lookup_timer;
	TAILQ_INIT(&lookup->waiters);
	strncpy(lookup->name, name, sizeof(lookup->name) - 1);
	TAILQ_INSERT_TAIL(&r->queued, lookup, entry);
	return lookup;
}

void gate_resolver_ask(struct gate_resolver *r, const char *name, const char *group_host,
		       struct gate_waiter *waiter)
{
	struct gate_lookup *lookup = find_lookup(r, name);

	waiter->lookup = NULL;
	if (lookup && lookup->state == KNOWN) {
		waiter->done(waiter, lookup->reason, &lookup->answer);
		return;
	}
	if (!lookup)
		lookup = lookup_new(r, name, group_host);
	if (!lookup) {
		waiter->done(waiter, "dns_failed", NULL);
		return;
	}
	TAILQ_INSERT_TAIL(&lookup->waiters, waiter, entry);
	waiter->lookup = lookup;
	dispatch(r);
}

/* A lookup that nobody waits for any more goes on if it runs (its answer is soon wanted again) and
 * is dropped if it does not. */
void gate_resolver_cancel(struct gate_waiter *waiter)
{
	struct gate_lookup *lookup = waiter->lookup;

	if (!lookup)
		return;
	TAILQ_REMOVE(&lookup->waiters, waiter, entry);
	waiter->lookup = NULL;
	if (TAILQ_EMPTY(&lookup->waiters) && lookup->state == QUEUED)
		lookup_end(lookup);
}
