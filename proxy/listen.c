/* SPDX-License-Identifier: Apache-2.0
 *
 * Accepting; see listen.h. Runs in: the proxy's worker. Holds: the listening socket, and one descriptor in
 * reserve.
 *
 * Out of descriptors, a connection would stay in the backlog and wake the loop for ever. Then the
 * reserve is given up for a moment: the connection is accepted and closed, so that the client is told. Where
 * not even that works, because the whole system is short, accepting rests for REST_MS.
 */
#include "proxy/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "proxy/audit.h"
#include "proxy/client.h"
#include "proxy/loop.h"

enum { BATCH = 64, BACKLOG = 4096, REST_MS = 100, TELL_MS = 1000 };

static struct source listener = { .fd = -1 };
static struct timer rest;
static int reserve_fd = -1;
static uint64_t told_ms;

/* ---- accepting ---- */

/* Of the link that was asked for, in network order; a mask of 0: none was. */
static in_addr_t link_address, link_mask;

static void open_reserve(void)
{
	if (reserve_fd < 0)
		reserve_fd = open("/", O_PATH | O_CLOEXEC);
}

/* One line for the many of a second. */
static void tell_dropped(int error)
{
	const struct audit_record record = { .event = "connection",
					     .verdict = "error",
					     .reason = "out_of_descriptors",
					     .detail = strerrordesc_np(error) };

	if (told_ms && loop_now_ms() - told_ms < TELL_MS)
		return;
	told_ms = loop_now_ms();
	audit_write(&record);
}

static void rest_due(struct timer *timer)
{
	(void)timer;
	open_reserve();
	if (listener.fd >= 0 && loop_add_level(&listener) < 0)
		timer_set(&rest, REST_MS);
}

/* Whether another accept may be tried. */
static bool drop_one(int error)
{
	int fd = -1;

	tell_dropped(error);
	if (reserve_fd >= 0) {
		fd_close(&reserve_fd);
		fd = accept4(listener.fd, NULL, NULL, SOCK_CLOEXEC);
		fd_close(&fd);
		open_reserve();
	}
	if (reserve_fd >= 0)
		return true;
	loop_remove(&listener);
	timer_set(&rest, REST_MS);
	return false;
}

/* A socket that is bound to another link (SO_BINDTODEVICE) reaches every address of ours. */
static bool is_on_link(const struct sockaddr_storage *peer)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)peer;

	return !link_mask ||
	       (peer->ss_family == AF_INET && !((in->sin_addr.s_addr ^ link_address) & link_mask));
}

static bool accept_one(void)
{
	struct sockaddr_storage peer = { 0 };
	socklen_t len = sizeof(peer);
	int fd = accept4(listener.fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0 && !is_on_link(&peer)) {
		close(fd);
		return true;
	}
	if (fd >= 0) {
		client_accept(fd);
		return true;
	}
	switch (errno) {
	case EAGAIN:
		return false;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		return drop_one(errno);
	default: /* accept(2): what went wrong with that connection comes as ours */
		return true;
	}
}

/* Level-triggered: what a batch leaves comes again, after others had their turn. */
static void on_event(struct source *source, uint32_t events)
{
	(void)source;
	(void)events;
	for (int i = 0; i < BATCH && listener.fd >= 0; i++)
		if (!accept_one())
			return;
}

/* ---- the socket ---- */

static int bind_to(const struct sockaddr *sa, socklen_t len, int *ret_fd)
{
	static const int on = 1, off = 0;
	cleanup_fd int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	/* Without it a proxy that is started anew waits for the old one's connections to be forgotten. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    (sa->sa_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0) ||
	    bind(fd, sa, len) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}

/* Both families, or IPv4 alone where the kernel has no other. */
static int bind_any(uint16_t port, int *ret_fd)
{
	struct sockaddr_in6 any6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in any4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	int rc = bind_to((struct sockaddr *)&any6, sizeof(any6), ret_fd);

	if (rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL)
		rc = bind_to((struct sockaddr *)&any4, sizeof(any4), ret_fd);
	return rc;
}

/* The IPv4 address of the one link that is there at the start: see docs/docker.md. */
static int find_link_address(struct sockaddr_in *ret_address, struct err *err)
{
	struct ifaddrs *list = NULL;
	unsigned found = 0;

	if (getifaddrs(&list) < 0)
		return err_sys(err, errno, "EGRESS_PROXY_LISTEN_HOST=link: getifaddrs");
	for (const struct ifaddrs *item = list; item; item = item->ifa_next) {
		if (!item->ifa_addr || item->ifa_addr->sa_family != AF_INET ||
		    item->ifa_flags & IFF_LOOPBACK)
			continue;
		*ret_address = *(const struct sockaddr_in *)item->ifa_addr;
		if (item->ifa_netmask)
			link_mask =
				((const struct sockaddr_in *)item->ifa_netmask)->sin_addr.s_addr;
		found++;
	}
	freeifaddrs(list);
	if (found != 1)
		return err_set(
			err, EINVAL,
			"EGRESS_PROXY_LISTEN_HOST=link: %u addresses are not loopback's, not one",
			found);
	return 0;
}

static int bind_link(uint16_t port, int *ret_fd, struct err *err)
{
	struct sockaddr_in address;
	int rc;

	TRY(find_link_address(&address, err));
	if (!link_mask)
		return err_set(err, EINVAL,
			       "EGRESS_PROXY_LISTEN_HOST=link: a link without a netmask");
	link_address = address.sin_addr.s_addr;
	address.sin_port = htons(port);
	rc = bind_to((struct sockaddr *)&address, sizeof(address), ret_fd);
	return rc < 0 ? err_sys(err, -rc, "the link's address, port %u", port) : 0;
}

static int open_listener(const struct settings *settings, int *ret_fd, struct err *err)
{
	const char *host = settings->listen_host;
	struct sockaddr_storage ss;
	struct address address;
	socklen_t len;
	int rc;

	if (!host) {
		rc = bind_any(settings->port, ret_fd);
		return rc < 0 ? err_sys(err, -rc, "port %u", settings->port) : 0;
	}
	if (!strcmp(host, "link"))
		return bind_link(settings->port, ret_fd, err);
	if (!address_parse(host, &address))
		return err_set(err, EINVAL, "EGRESS_PROXY_LISTEN_HOST is no address");
	len = address_to_sockaddr(&address, settings->port, &ss);
	rc = bind_to((struct sockaddr *)&ss, len, ret_fd);
	return rc < 0 ? err_sys(err, -rc, "%s port %u", host, settings->port) : 0;
}

static int take_over(int fd, struct err *err)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_sys(err, errno, "the listening socket");
	listener.fd = fd;
	return 0;
}

int listen_start(const struct settings *settings, struct err *err)
{
	int rc;

	listener.on_event = on_event;
	rest.on_due = rest_due;
	open_reserve();
	if (settings->listen_fd >= 0)
		TRY(take_over(settings->listen_fd, err));
	else
		TRY(open_listener(settings, &listener.fd, err));
	rc = loop_add_level(&listener);
	return rc < 0 ? err_sys(err, -rc, "the listening socket") : 0;
}

void listen_stop(void)
{
	if (listener.fd < 0)
		return;
	timer_cancel(&rest);
	loop_remove(&listener);
	fd_close(&listener.fd);
}
