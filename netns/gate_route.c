/* SPDX-License-Identifier: Apache-2.0
 *
 * RTM_GETROUTE by hand: one fixed message, so the confined gate needs send and recv on one socket
 * that it already has, where getifaddrs(3) would open one each time and know only what lies on
 * interfaces. Runs in: the gate.
 */
#include "netns/gate_route.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

struct question {
	struct nlmsghdr header;
	struct rtmsg route;
	uint8_t attributes[64];
};

union reply {
	char space[2048];
	struct nlmsghdr header;
};

int gate_route_open(int *ret_fd, struct err *err)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0)
		return err_sys(err, errno, "gate: netlink socket");
	*ret_fd = fd;
	return 0;
}

static void add(struct question *q, uint16_t type, const void *bytes, uint16_t len)
{
	struct rtattr attr = { .rta_type = type, .rta_len = (uint16_t)RTA_LENGTH(len) };
	uint8_t *at = (uint8_t *)q + NLMSG_ALIGN(q->header.nlmsg_len);

	memcpy(at, &attr, sizeof(attr));
	memcpy(at + RTA_LENGTH(0), bytes, len);
	q->header.nlmsg_len = NLMSG_ALIGN(q->header.nlmsg_len) + RTA_ALIGN(attr.rta_len);
}

/* The answer to this question and no other: one that an earlier recv(2) did not take would make every later
 * one that of the address before. The kernel answers within send(2). */
static ssize_t receive(int fd, uint32_t seq, union reply *reply)
{
	for (;;) {
		ssize_t n = recv(fd, reply, sizeof(*reply), 0);

		if (n < 0 && errno != EINTR && errno != ENOBUFS)
			return -errno;
		if (n == 0)
			return 0;
		if (n >= (ssize_t)sizeof(reply->header) && reply->header.nlmsg_seq == seq)
			return n;
	}
}

static ssize_t ask(int fd, const struct address *ip, uint16_t port, union reply *reply)
{
	static uint32_t seq;
	struct question q = {
		.header = {
			.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
			.nlmsg_type = RTM_GETROUTE,
			.nlmsg_flags = NLM_F_REQUEST,
			.nlmsg_seq = ++seq,
		},
		.route = {
			.rtm_family = ip->len == 4 ? AF_INET : AF_INET6,
			.rtm_dst_len = (unsigned char)(ip->len * 8),
		},
	};
	uint16_t wire_port = htons(port);
	uint8_t tcp = IPPROTO_TCP;

	add(&q, RTA_DST, ip->bytes, ip->len);
	add(&q, RTA_IP_PROTO, &tcp, sizeof(tcp)); /* for `ip rule` by protocol and port */
	add(&q, RTA_DPORT, &wire_port, sizeof(wire_port));
	if (ip->scope_id)
		add(&q, RTA_OIF, &ip->scope_id, sizeof(ip->scope_id));
	if (send(fd, &q, q.header.nlmsg_len, 0) < 0)
		return -errno;
	return receive(fd, q.header.nlmsg_seq, reply);
}

static enum gate_route_kind kind_of(unsigned char type)
{
	switch (type) {
	case RTN_UNICAST:
	case RTN_NAT:
	case RTN_XRESOLVE:
		return GATE_ROUTE_OUT;
	case RTN_BLACKHOLE:
	case RTN_UNREACHABLE:
	case RTN_PROHIBIT:
		return GATE_ROUTE_NONE;
	default:
		return GATE_ROUTE_OWN;
	}
}

enum gate_route_kind gate_route_ask(int route_fd, const struct address *ip, uint16_t port)
{
	union reply reply;
	struct nlmsgerr failure;
	struct rtmsg route;
	ssize_t n = ask(route_fd, ip, port, &reply);

	if (n < (ssize_t)sizeof(reply.header))
		return GATE_ROUTE_OWN;
	if (reply.header.nlmsg_type == RTM_NEWROUTE && n >= (ssize_t)NLMSG_LENGTH(sizeof(route))) {
		memcpy(&route, NLMSG_DATA(&reply.header), sizeof(route));
		return kind_of(route.rtm_type);
	}
	if (reply.header.nlmsg_type == NLMSG_ERROR && n >= (ssize_t)NLMSG_LENGTH(sizeof(failure))) {
		memcpy(&failure, NLMSG_DATA(&reply.header), sizeof(failure));
		if (failure.error == -ENETUNREACH || failure.error == -EHOSTUNREACH ||
		    failure.error == -EACCES || failure.error == -EINVAL)
			return GATE_ROUTE_NONE;
	}
	return GATE_ROUTE_OWN;
}
