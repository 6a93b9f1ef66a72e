/* SPDX-License-Identifier: Apache-2.0
 * Requests about links; see veth.h. Runs in: init. */
#include "netns/veth.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <netlink/attr.h>
#include <netlink/socket.h>
#include <poll.h>
#include <sys/socket.h>

#include "netns/netns.h"

enum { ACTIVE_TIMEOUT_MS = 2000, MESSAGE_BYTES = 8192 };

/* One queue: the kernel would make one for every possible CPU, each with its entries in sysfs, which
 * on a large machine costs more than all else here. */
static int put_end(struct nl_msg *msg)
{
	return nla_put_string(msg, IFLA_IFNAME, NETNS_LINK_NAME) |
	       nla_put_u32(msg, IFLA_NUM_TX_QUEUES, 1) | nla_put_u32(msg, IFLA_NUM_RX_QUEUES, 1);
}

void veth_create(struct batch *batch, int peer_ns_fd)
{
	struct ifinfomsg end = { .ifi_family = AF_UNSPEC, .ifi_index = VETH_INDEX };
	struct nl_msg *msg = batch_request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &end,
					   sizeof(end));
	struct nlattr *info, *data, *peer;
	int bad;

	if (!msg) {
		batch_add(batch, NULL, NULL, 0);
		return;
	}
	bad = put_end(msg);
	info = nla_nest_start(msg, IFLA_LINKINFO);
	bad |= nla_put_string(msg, IFLA_INFO_KIND, "veth");
	data = nla_nest_start(msg, IFLA_INFO_DATA);
	peer = nla_nest_start(msg, VETH_INFO_PEER);
	if (bad || !info || !data || !peer) {
		batch_add(batch, NULL, msg, -1);
		return;
	}
	bad = nlmsg_append(msg, &end, sizeof(end), NLMSG_ALIGNTO) | put_end(msg) |
	      nla_put_u32(msg, IFLA_NET_NS_FD, (uint32_t)peer_ns_fd);
	nla_nest_end(msg, peer);
	nla_nest_end(msg, data);
	nla_nest_end(msg, info);
	batch_add(batch, "making the link " NETNS_LINK_NAME, msg, bad);
}

void veth_add_address(struct batch *batch, struct in_addr address, unsigned prefix_bits)
{
	struct ifaddrmsg header = {
		.ifa_family = AF_INET,
		.ifa_prefixlen = (uint8_t)prefix_bits,
		.ifa_scope = RT_SCOPE_UNIVERSE,
		.ifa_index = VETH_INDEX,
	};
	struct nl_msg *msg = batch_request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &header,
					   sizeof(header));
	int bad = msg ? nla_put(msg, IFA_LOCAL, sizeof(address), &address) |
				  nla_put(msg, IFA_ADDRESS, sizeof(address), &address)
		      : 0;

	batch_add(batch, "address of " NETNS_LINK_NAME, msg, bad);
}

void veth_link_up(struct batch *batch, int index, const char *what)
{
	struct ifinfomsg header = {
		.ifi_family = AF_UNSPEC,
		.ifi_index = index,
		.ifi_flags = IFF_UP,
		.ifi_change = IFF_UP,
	};

	batch_add(batch, what, batch_request(RTM_NEWLINK, 0, &header, sizeof(header)), 0);
}

int veth_watch(struct batch *batch, struct err *err)
{
	int rc = nl_socket_add_membership(batch->sock, RTNLGRP_LINK);

	return rc < 0 ? err_set(err, EIO, "netlink: watching links: %s", nl_geterror(rc)) : 0;
}

static bool says_active(struct nlmsghdr *msg)
{
	const struct ifinfomsg *link = nlmsg_data(msg);
	struct nlattr *state;

	if (msg->nlmsg_type != RTM_NEWLINK || link->ifi_index != VETH_INDEX)
		return false;
	state = nlmsg_find_attr(msg, sizeof(*link), IFLA_OPERSTATE);
	return state && nla_get_u8(state) == IF_OPER_UP;
}

/* Reads one datagram of answers and notifications. */
static int read_until_active(int fd, struct err *err)
{
	char bytes[MESSAGE_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	struct nlmsghdr *at = (struct nlmsghdr *)bytes;
	int ready = poll(&pfd, 1, ACTIVE_TIMEOUT_MS), left;

	if (ready < 0 && errno == EINTR)
		return 0;
	if (ready == 0)
		return err_set(err, ETIMEDOUT, "the link " NETNS_LINK_NAME " has no carrier");
	left = (int)recv(fd, bytes, sizeof(bytes), 0);
	if (ready < 0 || left < 0)
		return err_sys(err, errno, "netlink: waiting for " NETNS_LINK_NAME);
	for (; nlmsg_ok(at, left); at = nlmsg_next(at, &left))
		if (says_active(at))
			return 1;
	return 0;
}

int veth_wait_active(struct batch *batch, struct err *err)
{
	struct ifinfomsg header = { .ifi_family = AF_UNSPEC, .ifi_index = VETH_INDEX };
	int rc = 0;

	/* Since 6.8 the question itself makes the kernel do that work first; before, it shows whether
	 * the notification is still to come. */
	batch_add(batch, "state of " NETNS_LINK_NAME,
		  batch_request(RTM_GETLINK, 0, &header, sizeof(header)), 0);
	TRY(batch_send(batch, err));
	while (rc == 0)
		rc = read_until_active(nl_socket_get_fd(batch->sock), err);
	return rc < 0 ? rc : 0;
}
