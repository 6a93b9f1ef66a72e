/* SPDX-License-Identifier: Apache-2.0
 *
 * The proof that the internal namespace holds; see netns_prove_internal in netns.h.
 * Runs in: the agent's process, after its last power went and before exec. Power: none, that is the
 * point; each attempt here must fail.
 *
 * It answers two questions. Are we where we think we are: an address other than loopback and the
 * link's own, a way to a global address, a listener on a well-known loopback port would all say that
 * this is some other namespace, for instance the host's. And are we as weak as we think: links, routes
 * and raw sockets are refused. Nothing here waits for silence: a connected UDP socket shows whether
 * there is a way without sending anything, and loopback and the link answer a refused port at once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "netns/batch.h"
#include "netns/netns.h"
#include "netns/veth.h"

enum { ANSWER_TIMEOUT_MS = 100, INTERFACES = 16, WHAT_BYTES = 128 };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static int worked(struct err *err, const char *what)
{
	return err_set(err, EPROTO,
		       "the agent's network namespace does not hold: %s; nothing was started",
		       what);
}

static union address address_of(const char *text, uint16_t port)
{
	union address address = { .any.sa_family = AF_INET };

	if (inet_pton(AF_INET, text, &address.v4.sin_addr) == 1) {
		address.v4.sin_port = htons(port);
		return address;
	}
	address = (union address){ .any.sa_family = AF_INET6 };
	inet_pton(AF_INET6, text, &address.v6.sin6_addr);
	address.v6.sin6_port = htons(port);
	return address;
}

static socklen_t size_of(const union address *address)
{
	return address->any.sa_family == AF_INET ? sizeof(address->v4) : sizeof(address->v6);
}

/* --- where we are ----------------------------------------------------------------------------- */

static int prove_addresses(const struct netns_link *link, struct err *err)
{
	cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq found[INTERFACES];
	struct ifconf list = { .ifc_len = sizeof(found), .ifc_req = found };
	char what[WHAT_BYTES], text[INET_ADDRSTRLEN];

	if (fd < 0 || ioctl(fd, SIOCGIFCONF, &list) < 0)
		return err_sys(err, errno, "the agent's network namespace cannot be looked at");
	for (size_t i = 0; i < (size_t)list.ifc_len / sizeof(found[0]); i++) {
		struct sockaddr_in own;

		memcpy(&own, &found[i].ifr_addr, sizeof(own));
		if (own.sin_addr.s_addr == htonl(INADDR_LOOPBACK) ||
		    own.sin_addr.s_addr == link->internal_addr.s_addr)
			continue;
		snprintf(what, sizeof(what), "it has an interface %.*s with address %s", IFNAMSIZ,
			 found[i].ifr_name, inet_ntop(AF_INET, &own.sin_addr, text, sizeof(text)));
		return worked(err, what);
	}
	return 0;
}

/* A connected UDP socket has looked up its route and sent nothing. */
static bool has_way_to(const char *text)
{
	union address to = address_of(text, 53);
	cleanup_fd int fd = socket(to.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && connect(fd, &to.any, size_of(&to)) == 0;
}

static int prove_no_way_out(struct err *err)
{
	static const char *const global[] = {
		"192.0.2.1",	   /* documentation, RFC 5737: as good as any global address */
		"169.254.169.254", /* the clouds' metadata */
		"198.18.0.1",	   /* the gate's own synthetic addresses */
		"10.0.0.1",	   "224.0.0.1", "2001:db8::1", "ff02::1",
	};
	char what[WHAT_BYTES];

	for (size_t i = 0; i < COUNT(global); i++) {
		if (!has_way_to(global[i]))
			continue;
		snprintf(what, sizeof(what), "there is a route to %s", global[i]);
		return worked(err, what);
	}
	return 0;
}

static bool answers(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	int error = 0;
	socklen_t len = sizeof(error);

	if (poll(&pfd, 1, ANSWER_TIMEOUT_MS) != 1)
		return false;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
}

static bool tcp_connects(const char *text, uint16_t port)
{
	union address to = address_of(text, port);
	cleanup_fd int fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	if (connect(fd, &to.any, size_of(&to)) == 0)
		return true;
	return errno == EINPROGRESS && answers(fd);
}

static int prove_ports(const char *text, const uint16_t *ports, size_t count, uint16_t but,
		       const char *whose, struct err *err)
{
	char what[WHAT_BYTES];

	for (size_t i = 0; i < count; i++) {
		if (ports[i] == but || !tcp_connects(text, ports[i]))
			continue;
		snprintf(what, sizeof(what), "%s TCP port %u of %s accepted a connection", whose,
			 ports[i], text);
		return worked(err, what);
	}
	return 0;
}

/* Nothing of ours listens on the agent's loopback yet, so whoever answers there is somebody else. */
static int prove_loopback(struct err *err)
{
	static const uint16_t ports[] = { 22, 25, 53, 80, 443, 631, 5432, 6379, 8080 };

	TRY(prove_ports("127.0.0.1", ports, COUNT(ports), 0, "a host's", err));
	return prove_ports("::1", ports, 3, 0, "a host's", err);
}

/* A datagram to the gate's resolver by way of the link: refused, not answered. */
static bool resolver_answers(const char *text)
{
	static const char question[] = "\0\1\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0";
	union address to = address_of(text, 53);
	cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char answer;

	if (fd < 0 || connect(fd, &to.any, size_of(&to)) < 0 ||
	    send(fd, question, sizeof(question), MSG_NOSIGNAL) < 0)
		return false;
	return poll(&pfd, 1, ANSWER_TIMEOUT_MS) == 1 && recv(fd, &answer, 1, 0) > 0;
}

static int prove_link_ports(const struct netns_link *link, uint16_t proxy_port, struct err *err)
{
	static const uint16_t ports[] = { 22, 53, 80, 443, 8080, 8081, 9099 };
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &link->egress_addr, text, sizeof(text));
	TRY(prove_ports(text, ports, COUNT(ports), proxy_port, "besides the proxy's,", err));
	return resolver_answers(text) ? worked(err, "the gate's resolver answers over the link")
				      : 0;
}

/* --- how weak we are -------------------------------------------------------------------------- */

static void add_default_route(struct batch *batch, struct in_addr gateway)
{
	struct rtmsg header = {
		.rtm_family = AF_INET,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_type = RTN_UNICAST,
	};
	struct nl_msg *msg = batch_request(RTM_NEWROUTE, NLM_F_CREATE, &header, sizeof(header));

	batch_add(batch, "default route", msg,
		  msg ? nla_put(msg, RTA_GATEWAY, sizeof(gateway), &gateway) : 0);
}

static int prove_no_link_power(const struct netns_link *link, struct err *err)
{
	cleanup_with(batch_clear) struct batch batch = { 0 };
	struct err refusal;

	if (batch_open(&batch, &refusal) < 0)
		return 0; /* no netlink at all: weaker still */
	veth_link_up(&batch, VETH_INDEX, "link");
	if (batch_commit(&batch, &refusal) == 0)
		return worked(err, "a link could be changed");
	add_default_route(&batch, link->egress_addr);
	if (batch_commit(&batch, &refusal) == 0)
		return worked(err, "a default route could be added");
	return 0;
}

static int prove_no_raw_sockets(struct err *err)
{
	static const struct {
		int family, type, protocol;
		const char *what;
	} raw[] = {
		{ AF_INET, SOCK_RAW, IPPROTO_ICMP, "a raw IPv4 socket could be made" },
		{ AF_INET, SOCK_RAW, IPPROTO_RAW, "a raw IPv4 socket could be made" },
		{ AF_INET6, SOCK_RAW, IPPROTO_ICMPV6, "a raw IPv6 socket could be made" },
		{ AF_PACKET, SOCK_RAW, 0, "a packet socket could be made" },
		{ AF_PACKET, SOCK_DGRAM, 0, "a packet socket could be made" },
	};

	for (size_t i = 0; i < COUNT(raw); i++) {
		cleanup_fd int fd = socket(raw[i].family, raw[i].type | SOCK_CLOEXEC,
					   raw[i].protocol);

		if (fd >= 0)
			return worked(err, raw[i].what);
	}
	return 0;
}

int netns_prove_internal(const struct netns_link *link, uint16_t proxy_port, struct err *err)
{
	TRY(prove_addresses(link, err));
	TRY(prove_no_way_out(err));
	TRY(prove_loopback(err));
	TRY(prove_no_raw_sockets(err));
	TRY(prove_no_link_power(link, err));
	return prove_link_ports(link, proxy_port, err);
}
