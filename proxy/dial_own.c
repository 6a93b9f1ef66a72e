/* SPDX-License-Identifier: Apache-2.0
 *
 * Dialling by ourselves: two lookups, then connections to one address after another until one stands
 * (Happy Eyeballs, RFC 8305). Runs in: the proxy's worker, where there is no gate (Docker), or one that
 * relays and checks addresses itself.
 *
 *   a literal, or a name in /etc/hosts             ──▶ first attempt
 *   else both families are asked for at once
 *     IPv6 came, or both, or IPv4 and 50 ms passed ──▶ first attempt
 *     each 250 ms, and at once when one failed     ──▶ next attempt, the families take turns
 *     one connects ──▶ the others are closed
 *
 * The address that was judged is the address that is dialled. Everything that happens only notes itself;
 * `advance`, a task, decides what follows: so no call comes back into a half-made dial.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "proxy/dial_parts.h"
#include "proxy/loop.h"
#include "proxy/settings.h"

enum {
	LOOKUP_MS = 9 * 1000,
	CONNECT_MS = 20 * 1000,
	RESOLUTION_DELAY_MS = 50, /* RFC 8305, 8 */
	ATTEMPT_DELAY_MS = 250,
	ATTEMPTS_MAX = 2 * LOOKUP_ANSWERS_MAX,
	DETAIL_BYTES = 256,
};

enum { V6, V4, FAMILIES };

struct family {
	struct lookup *lookup;
	struct address ips[LOOKUP_ANSWERS_MAX]; /* those that may be dialled */
	size_t count, next;
	bool is_known; /* no more will come */
};

struct attempt {
	struct source source; /* fd -1: over */
	struct own_dial *owner;
	struct address ip;
};

struct own_dial {
	struct dial dial;
	struct task advance;
	struct timer deadline, delay;
	struct family families[FAMILIES];
	int last_family;
	bool is_connecting; /* the first attempt was made; `delay` then tells of the next */
	bool is_turn;	    /* of the next attempt: the delay is over, or one failed */
	struct attempt attempts[ATTEMPTS_MAX];
	size_t attempt_count, open_count;
	uint64_t begun_us, connect_us;
	bool is_failed_yet; /* the failure below counts if no address works */
	enum dial_failure failure;
	char detail[DETAIL_BYTES];
};

static bool checks_addresses = true;

void dial_own_init(bool checks)
{
	checks_addresses = checks;
}

/* ---- results ---- */

/* Which of several failures is told: that of the latest step. */
static void note_failure(struct own_dial *own, enum dial_failure failure, const char *what,
			 const char *why)
{
	static const int rank[] = { [DIAL_DNS] = 0, [DIAL_REFUSED] = 1, [DIAL_CONNECT] = 2 };

	if (own->is_failed_yet && rank[failure] < rank[own->failure])
		return;
	own->is_failed_yet = true;
	own->failure = failure;
	snprintf(own->detail, sizeof(own->detail), "%.120s: %.120s", what, why);
}

static void end(struct own_dial *own, int fd)
{
	uint64_t now = clock_us();
	const struct dial_result result = {
		.fd = fd,
		.failure = own->failure,
		.detail = own->detail,
		.lookup_us = (uint32_t)((own->connect_us ? own->connect_us : now) - own->begun_us),
		.connect_us = own->connect_us ? (uint32_t)(now - own->connect_us) : 0,
	};

	dial_end(&own->dial, &result);
}

/* ---- addresses ---- */

/* Whether the kernel would deliver it to this host: then it is its own source. */
static bool is_own_address(const struct address *ip)
{
	struct sockaddr_storage ss;
	socklen_t len = address_to_sockaddr(ip, 9, &ss);
	cleanup_fd int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct address source;

	if (fd < 0)
		return errno != EAFNOSUPPORT; /* cannot be told: not dialled */
	if (connect(fd, (struct sockaddr *)&ss, len) < 0)
		return false; /* no route: nor has the attempt one */
	len = sizeof(ss);
	return getsockname(fd, (struct sockaddr *)&ss, &len) == 0 &&
	       address_from_sockaddr((struct sockaddr *)&ss, &source) &&
	       !memcmp(source.bytes, ip->bytes, sizeof(ip->bytes));
}

/* The upstream proxy is dialled wherever it stands: who runs us named it. */
static bool is_upstream_proxy(const struct dial *dial)
{
	const struct authority *place = &proxy_settings->upstream.place;

	return proxy_settings->has_upstream && place->port == dial->port &&
	       strcmp(place->host, dial->host) == 0;
}

static bool is_admitted(struct own_dial *own, const struct address *ip)
{
	bool allow_private = strlist_has(&proxy_settings->allow_private, own->dial.host);
	bool is_named = is_upstream_proxy(&own->dial);
	char text[ADDRESS_TEXT_BYTES], why[96];
	const char *range = NULL, *refusal;

	if (!checks_addresses)
		return true;
	refusal = address_refusal(ip, false, allow_private, is_named, &range);
	if (!refusal && !allow_private && !is_named && is_own_address(ip))
		refusal = address_refusal(ip, true, false, false, &range);
	if (!refusal)
		return true;
	snprintf(why, sizeof(why), "%s (%s)", refusal, range);
	note_failure(own, DIAL_REFUSED, address_format(ip, text), why);
	return false;
}

static void add_address(struct own_dial *own, const struct address *ip)
{
	struct family *family = &own->families[ip->len == 4 ? V4 : V6];

	if (is_admitted(own, ip) && family->count < LOOKUP_ANSWERS_MAX)
		family->ips[family->count++] = *ip;
}

/* The next in turn, or NULL. */
static const struct address *next_address(struct own_dial *own)
{
	for (int i = 1; i <= FAMILIES; i++) {
		int which = (own->last_family + i) % FAMILIES;
		struct family *family = &own->families[which];

		if (family->next == family->count)
			continue;
		own->last_family = which;
		return &family->ips[family->next++];
	}
	return NULL;
}

static void resolved(void *ctx, int af, const struct address *ips, size_t count,
		     const char *problem)
{
	struct own_dial *own = ctx;
	struct family *family = &own->families[af == AF_INET ? V4 : V6];

	family->lookup = NULL;
	family->is_known = true;
	if (problem)
		note_failure(own, DIAL_DNS, own->dial.host, problem);
	for (size_t i = 0; i < count; i++)
		add_address(own, &ips[i]);
	loop_defer(&own->advance);
}

/* ---- attempts ---- */

static void attempt_close(struct attempt *attempt)
{
	if (attempt->source.fd < 0)
		return;
	loop_remove(&attempt->source);
	fd_close(&attempt->source.fd);
	attempt->owner->open_count--;
}

static void attempt_failed(struct attempt *attempt, int error)
{
	char text[ADDRESS_TEXT_BYTES];

	note_failure(attempt->owner, DIAL_CONNECT, address_format(&attempt->ip, text),
		     strerror(error));
	attempt_close(attempt);
	attempt->owner->is_turn = true;
	loop_defer(&attempt->owner->advance);
}

static void attempt_event(struct source *source, uint32_t events)
{
	struct attempt *attempt = (struct attempt *)((char *)source -
						     offsetof(struct attempt, source));
	socklen_t len = sizeof(int);
	int error = 0;

	if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		return;
	if (getsockopt(source->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error) {
		attempt_failed(attempt, error);
		return;
	}
	loop_remove(source);
	attempt->owner->open_count--;
	end(attempt->owner, take_fd(&source->fd));
}

/* Begins one connect. What fails at once is noted, and `advance` comes again. */
static void attempt_start(struct own_dial *own, const struct address *ip)
{
	struct attempt *attempt = &own->attempts[own->attempt_count++];
	struct sockaddr_storage ss;
	socklen_t len = address_to_sockaddr(ip, own->dial.port, &ss);
	int rc = 0;

	*attempt = (struct attempt){ .owner = own, .ip = *ip };
	attempt->source.on_event = attempt_event;
	attempt->source.fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	own->open_count += attempt->source.fd >= 0;
	if (attempt->source.fd < 0 ||
	    (connect(attempt->source.fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS))
		rc = -errno;
	else
		rc = loop_add(&attempt->source);
	if (rc < 0)
		attempt_failed(attempt, -rc);
}

/* ---- what follows ---- */

/* RFC 8305, 3: IPv6 first, for which IPv4 waits a little. */
static bool may_connect(struct own_dial *own)
{
	const struct family *v4 = &own->families[V4], *v6 = &own->families[V6];

	if (v6->count || (v4->is_known && v6->is_known) || (v4->count && own->is_turn))
		return true;
	if (v4->count && !own->delay.heap_at)
		timer_set(&own->delay, RESOLUTION_DELAY_MS);
	return false;
}

static void connect_next(struct own_dial *own)
{
	const struct address *ip = next_address(own);

	if (ip) {
		own->is_turn = false;
		timer_set(&own->delay, ATTEMPT_DELAY_MS);
		attempt_start(own, ip);
	} else if (!own->open_count && own->families[V4].is_known && own->families[V6].is_known) {
		end(own, -1);
	}
}

static void advance_task(struct task *task)
{
	struct own_dial *own = (struct own_dial *)((char *)task -
						   offsetof(struct own_dial, advance));

	if (!own->is_connecting) {
		if (!may_connect(own))
			return;
		own->is_connecting = true;
		own->connect_us = own->families[V4].count + own->families[V6].count ? clock_us()
										    : 0;
		timer_set(&own->deadline, CONNECT_MS);
		connect_next(own);
	} else if (own->is_turn || !own->open_count) {
		connect_next(own);
	}
}

static void delay_due(struct timer *timer)
{
	struct own_dial *own = (struct own_dial *)((char *)timer -
						   offsetof(struct own_dial, delay));

	own->is_turn = true;
	loop_defer(&own->advance);
}

static void deadline_due(struct timer *timer)
{
	struct own_dial *own = (struct own_dial *)((char *)timer -
						   offsetof(struct own_dial, deadline));

	note_failure(own, own->is_connecting ? DIAL_CONNECT : DIAL_DNS, own->dial.host,
		     own->is_connecting ? "no address answered in time"
					: "the name servers did not answer in time");
	end(own, -1);
}

/* ---- the dial ---- */

static void start(struct dial *dial)
{
	static const int families[] = { [V6] = AF_INET6, [V4] = AF_INET };
	struct own_dial *own = (struct own_dial *)dial;
	struct address ips[LOOKUP_ANSWERS_MAX];
	size_t count;

	own->begun_us = clock_us();
	own->last_family = V4; /* so V6 is first in turn */
	own->advance.run = advance_task;
	own->deadline.on_due = deadline_due;
	own->delay.on_due = delay_due;
	timer_set(&own->deadline, LOOKUP_MS);
	count = address_parse(dial->host, &ips[0]) ? 1 : lookup_in_file(dial->host, ips);
	for (size_t i = 0; i < count; i++)
		add_address(own, &ips[i]);
	if (count) {
		own->families[V6].is_known = own->families[V4].is_known = true;
		loop_defer(&own->advance);
		return;
	}
	for (int i = 0; i < FAMILIES; i++)
		own->families[i].lookup = lookup_start(dial->host, families[i], resolved, own);
}

static void cancel(struct dial *dial)
{
	struct own_dial *own = (struct own_dial *)dial;

	for (int i = 0; i < FAMILIES; i++)
		lookup_forget(own->families[i].lookup);
	loop_undefer(&own->advance);
	timer_cancel(&own->deadline);
	timer_cancel(&own->delay);
	for (size_t i = 0; i < own->attempt_count; i++)
		attempt_close(&own->attempts[i]);
}

const struct dial_way dial_by_ourselves = {
	.size = sizeof(struct own_dial),
	.start = start,
	.cancel = cancel,
};
