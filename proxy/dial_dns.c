/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking names up with c-ares; see dial_parts.h. Runs in: the proxy's worker, where there is no gate that
 * hands sockets over. /etc/hosts counts first, as for everyone. A name is looked up as it is written: a search
 * list would make another name of it.
 *
 * A channel is made with its first question, so that starting costs nothing. Its sockets are watched by
 * an epoll of their own, level-triggered as c-ares expects, whose descriptor is one source of the loop. c-ares
 * cannot take back one question: a lookup that is forgotten stays until its answer, and then tells nobody.
 */
#include <ares.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "proxy/dial_parts.h"
#include "proxy/loop.h"

enum { TRY_MS = 1500, TRIES = 3, EVENTS = 16 }; /* per server: 1.5 s, 3 s, 6 s */

struct lookup {
	lookup_done *done; /* NULL: forgotten */
	void *ctx;
	int family;
	bool is_starting, is_over;
};

static ares_channel channel; /* asks name servers */
static ares_channel hosts;   /* reads /etc/hosts */
static struct source sockets = { .fd = -1 };
static struct timer retry;

/* ---- c-ares and the loop ---- */

/* After each call into c-ares: when it wants to be called though nothing came. */
static void set_retry(void)
{
	struct timeval tv;

	if (ares_timeout(channel, NULL, &tv))
		timer_set(&retry, (uint64_t)tv.tv_sec * 1000 + (uint64_t)tv.tv_usec / 1000 + 1);
	else
		timer_cancel(&retry);
}

static void retry_due(struct timer *timer)
{
	(void)timer;
	ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	set_retry();
}

static void sockets_event(struct source *source, uint32_t ready)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(source->fd, events, EVENTS, 0);

	(void)ready;
	for (int i = 0; i < n; i++) {
		int fd = events[i].data.fd;
		bool readable = events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR);
		bool writable = events[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR);

		ares_process_fd(channel, readable ? fd : ARES_SOCKET_BAD,
				writable ? fd : ARES_SOCKET_BAD);
	}
	set_retry();
}

/* A socket that could not be watched is left to the retries. */
static void socket_wants(void *ctx, ares_socket_t fd, int readable, int writable)
{
	struct epoll_event event = {
		.events = (readable ? (uint32_t)EPOLLIN : 0) | (writable ? (uint32_t)EPOLLOUT : 0),
		.data.fd = fd,
	};

	(void)ctx;
	if (!event.events)
		epoll_ctl(sockets.fd, EPOLL_CTL_DEL, fd, NULL);
	else if (epoll_ctl(sockets.fd, EPOLL_CTL_MOD, fd, &event) < 0)
		epoll_ctl(sockets.fd, EPOLL_CTL_ADD, fd, &event);
}

static bool open_sockets(void)
{
	if (sockets.fd >= 0)
		return true;
	sockets.on_event = sockets_event;
	sockets.fd = epoll_create1(EPOLL_CLOEXEC);
	if (sockets.fd >= 0 && loop_add_level(&sockets) == 0)
		return true;
	if (sockets.fd >= 0)
		close(sockets.fd);
	sockets.fd = -1;
	return false;
}

/* No search list: ares_getaddrinfo() heeds only an empty one, not ARES_FLAG_NOSEARCH (c-ares 1.18).
 * `where`: "f", /etc/hosts, or "b", the name servers. Tried again with the next question where it failed. */
static bool open_channel(ares_channel *ret_channel, char *where)
{
	struct ares_options options = {
		.ndomains = 0,
		.timeout = TRY_MS,
		.tries = TRIES,
		.lookups = where,
		.sock_state_cb = socket_wants,
	};

	retry.on_due = retry_due;
	return *ret_channel ||
	       ares_init_options(ret_channel, &options,
				 ARES_OPT_DOMAINS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
					 ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB) == ARES_SUCCESS;
}

/* ---- lookups ---- */

static const struct ares_addrinfo_hints hints_of[] = {
	/* In the order in which they came: connecting tells better than a guess from routes. */
	[AF_UNSPEC] = { .ai_flags = ARES_AI_NOSORT, .ai_socktype = SOCK_STREAM },
	[AF_INET] = { .ai_flags = ARES_AI_NOSORT,
		      .ai_family = AF_INET,
		      .ai_socktype = SOCK_STREAM },
	[AF_INET6] = { .ai_flags = ARES_AI_NOSORT,
		       .ai_family = AF_INET6,
		       .ai_socktype = SOCK_STREAM },
};

static size_t copy_answers(const struct ares_addrinfo *info, int family,
			   struct address ips[static LOOKUP_ANSWERS_MAX])
{
	size_t count = 0;

	for (const struct ares_addrinfo_node *node = info ? info->nodes : NULL;
	     node && count < LOOKUP_ANSWERS_MAX; node = node->ai_next)
		if ((family == AF_UNSPEC || node->ai_family == family) &&
		    address_from_sockaddr(node->ai_addr, &ips[count]))
			count++;
	return count;
}

static void answered(void *ctx, int status, int timeouts, struct ares_addrinfo *info)
{
	struct address ips[LOOKUP_ANSWERS_MAX];
	struct lookup *lookup = ctx;
	size_t count = copy_answers(info, lookup->family, ips);
	const char *problem = status == ARES_SUCCESS ? "no address" : ares_strerror(status);

	(void)timeouts;
	ares_freeaddrinfo(info);
	if (lookup->done)
		lookup->done(lookup->ctx, lookup->family, ips, count, count ? NULL : problem);
	lookup->is_over = true;
	if (!lookup->is_starting)
		free(lookup);
}

struct file_answer {
	struct address *ips;
	size_t count;
};

static void found_in_file(void *ctx, int status, int timeouts, struct ares_addrinfo *info)
{
	struct file_answer *answer = ctx;

	(void)status;
	(void)timeouts;
	answer->count = copy_answers(info, AF_UNSPEC, answer->ips);
	ares_freeaddrinfo(info);
}

/* Reading a file waits for nothing, so c-ares answers before it returns. */
size_t lookup_in_file(const char *name, struct address ips[static LOOKUP_ANSWERS_MAX])
{
	static char file[] = "f";
	struct file_answer answer = { .ips = ips };

	if (open_channel(&hosts, file))
		ares_getaddrinfo(hosts, name, NULL, &hints_of[AF_UNSPEC], found_in_file, &answer);
	return answer.count;
}

struct lookup *lookup_start(const char *name, int family, lookup_done *done, void *ctx)
{
	static char servers[] = "b";
	struct lookup *lookup = NULL;

	if (open_sockets() && open_channel(&channel, servers))
		lookup = calloc(1, sizeof(*lookup));
	if (!lookup) {
		done(ctx, family, NULL, 0, "no resolver");
		return NULL;
	}
	*lookup = (struct lookup){ done, ctx, family, .is_starting = true };
	ares_getaddrinfo(channel, name, NULL, &hints_of[family], answered, lookup);
	lookup->is_starting = false;
	set_retry();
	if (!lookup->is_over)
		return lookup;
	free(lookup);
	return NULL;
}

void lookup_forget(struct lookup *lookup)
{
	if (lookup)
		lookup->done = NULL;
}
