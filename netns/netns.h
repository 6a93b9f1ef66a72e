/* SPDX-License-Identifier: Apache-2.0
 *
 * The two network namespaces of a bottle and the link between them. Runs in: init, with
 * CAP_NET_ADMIN over the user namespace that owns both. libnl stays in this folder.
 *
 *   egress netns                                       internal netns
 *     lo: every address is local (AnyIP)                 lo up, no default route
 *     bottle0 198.19.255.253/30  ---- veth ----          bottle0 198.19.255.254/30
 *
 * No packet leaves either: the egress namespace has no uplink.
 */
#ifndef NETNS_NETNS_H
#define NETNS_NETNS_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define NETNS_LINK_NAME "bottle0"

/* tcp(7), tcp_wmem of the agent's side: least, first and most bytes of a socket's send buffer. */
#define NETNS_SEND_BUFFER "4096\t1048576\t4194304"

enum { NETNS_LINK_PREFIX_BITS = 30 };

struct netns_link {
	struct in_addr egress_addr;   /* the proxy's address, as the agent sees it */
	struct in_addr internal_addr; /* the agent's own */
};

/* The fixed link addresses; the namespaces are private, so every bottle may use the same. Why these:
 * docs/decisions/link-address.md. */
struct netns_link netns_link_default(void);

/* Called in the egress namespace with `internal_fd` open on the other; proc_fd is an open /proc whose
 * net sysctls are writable. Brings both `lo` up, switches IPv6 off for links to come (read back; a
 * kernel without IPv6 is fine), ip_forward 0 (read back), makes the veth pair with its peer straight
 * in the other namespace, addresses, link up, and AnyIP on the egress side (v4 always; v6 where there
 * is one). Enters the internal namespace and comes back by setns; on failure the caller is in either,
 * and both namespaces are to be thrown away. */
int netns_setup(int proc_fd, int egress_fd, int internal_fd, const struct netns_link *link,
		struct err *err) MUST_CHECK;

/* Opens the gate's sockets in the current (egress) namespace, each bound to `lo` with
 * SO_BINDTODEVICE, non-blocking and close-on-exec: first UDP 127.0.0.1:53 for the resolver, then one
 * TCP listener for each port (dual stack where there is IPv6: an IPv4 address then reads as
 * ::ffff:a.b.c.d). ret_fds has room for 1 + port_count, all owned by the caller. */
int netns_open_listeners(const uint16_t *ports, size_t port_count, int *ret_fds,
			 struct err *err) MUST_CHECK;

/* The proxy's own listener, bound to the veth device and address: for images that know LISTEN_FDS.
 * Non-blocking, as systemd's are. Call it in the egress namespace after netns_setup. */
int netns_open_proxy_listener(const struct netns_link *link, uint16_t port, int *ret_fd,
			      struct err *err) MUST_CHECK;

/* Run by the agent's process once it has lost its powers, in the internal namespace: looks for an
 * address that is not the bottle's own, and tries a link change, a route add, raw sockets, ways to
 * global addresses, host loopback and the link's other ports. Nothing that it sends leaves the
 * bottle's two namespaces. -EPROTO and a sentence that names the attempt when one of them works. */
int netns_prove_internal(const struct netns_link *link, uint16_t proxy_port,
			 struct err *err) MUST_CHECK;

#endif
