/* SPDX-License-Identifier: Apache-2.0
 *
 * The sockets that are made inside the egress namespace and served from elsewhere; see netns.h.
 * Runs in: init, in the egress namespace. Power: CAP_NET_BIND_SERVICE over it (ports 53, 80, 443).
 *
 * AnyIP makes the whole address space local on every device of the namespace, so a listener that is
 * bound to an address alone, even to 127.0.0.1, says nothing about where a packet came in. The gate's
 * are bound to the device lo: only who stands in the namespace reaches them, the agent does not.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "netns/netns.h"

enum { BACKLOG = 4096, RESOLVER_PORT = 53 };

static int set_on(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int bind_to_device(int fd, const char *device)
{
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device) + 1) < 0)
		return -errno;
	return set_on(fd, SOL_SOCKET, SO_REUSEADDR, 1);
}

static int open_bound(int family, int type, const char *device, const struct sockaddr *address,
		      socklen_t address_len)
{
	cleanup_fd int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	TRY(bind_to_device(fd, device));
	if (family == AF_INET6)
		TRY(set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0));
	if (bind(fd, address, address_len) < 0)
		return -errno;
	if (type == SOCK_STREAM && listen(fd, BACKLOG) < 0)
		return -errno;
	return take_fd(&fd);
}

static int open_ipv4(int type, const char *device, struct in_addr address, uint16_t port)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr = address,
	};

	return open_bound(AF_INET, type, device, (struct sockaddr *)&to, sizeof(to));
}

/* Both families on one socket; without IPv6 in the kernel there is no such socket. */
static int open_any(uint16_t port)
{
	struct sockaddr_in6 any = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(port),
		.sin6_addr = IN6ADDR_ANY_INIT,
	};
	int fd = open_bound(AF_INET6, SOCK_STREAM, "lo", (struct sockaddr *)&any, sizeof(any));

	if (fd == -EAFNOSUPPORT)
		fd = open_ipv4(SOCK_STREAM, "lo", (struct in_addr){ htonl(INADDR_ANY) }, port);
	return fd;
}

static int open_listener(uint16_t port, int *ret_fd, struct err *err)
{
	int fd = open_any(port);

	if (fd < 0)
		return err_sys(err, -fd, "egress namespace: listening on lo, TCP port %u", port);
	*ret_fd = fd;
	return 0;
}

static int open_all(const uint16_t *ports, size_t port_count, int *ret_fds, struct err *err)
{
	struct in_addr loopback = { htonl(INADDR_LOOPBACK) };
	int fd = open_ipv4(SOCK_DGRAM, "lo", loopback, RESOLVER_PORT);

	if (fd < 0)
		return err_sys(err, -fd, "egress namespace: resolver's socket on lo, UDP port %d",
			       RESOLVER_PORT);
	ret_fds[0] = fd;
	for (size_t i = 0; i < port_count; i++)
		TRY(open_listener(ports[i], &ret_fds[1 + i], err));
	return 0;
}

int netns_open_listeners(const uint16_t *ports, size_t port_count, int *ret_fds, struct err *err)
{
	int rc;

	for (size_t i = 0; i <= port_count; i++)
		ret_fds[i] = -1;
	rc = open_all(ports, port_count, ret_fds, err);
	for (size_t i = 0; rc < 0 && i <= port_count; i++)
		fd_close(&ret_fds[i]);
	return rc;
}

int netns_open_proxy_listener(const struct netns_link *link, uint16_t port, int *ret_fd,
			      struct err *err)
{
	int fd = open_ipv4(SOCK_STREAM, NETNS_LINK_NAME, link->egress_addr, port);

	if (fd < 0)
		return err_sys(err, -fd,
			       "egress namespace: listening on " NETNS_LINK_NAME ", TCP port %u",
			       port);
	*ret_fd = fd;
	return 0;
}
