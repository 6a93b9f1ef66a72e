/* SPDX-License-Identifier: Apache-2.0
 *
 * Sets up the two namespaces and the link between them; see netns.h.
 * Runs in: init. Power: CAP_NET_ADMIN and CAP_SYS_ADMIN (setns) over the bottle's user namespace.
 *
 * Order matters twice. A link takes `default` sysctls when it is made, so the settings of both sides
 * come first. And a link with IPv6 gives itself an address the moment it is up, so that IPv6 is off is
 * read back between making and raising it. All else is arranged so that each side is entered once and
 * is asked as seldom as can be: internal side (settings, make, read back, raise), egress side (read
 * back, raise).
 */
#include "netns/netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "netns/anyip.h"
#include "netns/batch.h"
#include "netns/sysctl.h"
#include "netns/veth.h"

struct setting {
	const char *path;
	const char *value;
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A new namespace takes its IPv4 settings from the host's present ones, not from the kernel's
 * defaults, so what matters is set even where the default would do. */
static const struct setting both_sides[] = {
	{ "sys/net/ipv4/ip_forward", "0" },
	/* container hosts set it; 127.0.0.0/8 must not be reachable over the link */
	{ "sys/net/ipv4/conf/all/route_localnet", "0" },
	{ "sys/net/ipv4/conf/default/route_localnet", "0" },
};

static const struct setting internal_side[] = {
	/* A sender's buffer holds an HTTP/2 window from the start: docs/decisions/upload-window.md */
	{ "sys/net/ipv4/tcp_wmem", NETNS_SEND_BUFFER },
};

static const struct setting egress_side[] = {
	/* With every address local, the link would answer ARP for every address, and an agent needs no
	 * power to send there: SO_BINDTODEVICE makes the kernel take any destination for on-link. */
	{ "sys/net/ipv4/conf/default/arp_ignore", "1" },
	{ "sys/net/ipv4/conf/all/accept_redirects", "0" },
	{ "sys/net/ipv4/conf/default/accept_redirects", "0" },
};

/* The link has no IPv6; lo keeps it: a proxy may dial IPv6 addresses, an agent's tools serve ::1. */
static const struct setting both_sides_ipv6[] = {
	{ "sys/net/ipv6/conf/default/disable_ipv6", "1" },
	{ "sys/net/ipv6/conf/lo/disable_ipv6", "0" },
};

static const char link_ipv6_path[] = "sys/net/ipv6/conf/" NETNS_LINK_NAME "/disable_ipv6";

/* Each side's view of the setup. */
struct side {
	int proc_fd;
	int peer_fd; /* the other side's namespace */
	struct in_addr address;
	bool has_ipv6;
};

struct netns_link netns_link_default(void)
{
	return (struct netns_link){
		.egress_addr.s_addr = htonl(0xc613fffd),   /* 198.19.255.253 */
		.internal_addr.s_addr = htonl(0xc613fffe), /* 198.19.255.254 */
	};
}

static int apply(int proc_fd, const struct setting *settings, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++)
		TRY(sysctl_set(proc_fd, settings[i].path, settings[i].value, err));
	return 0;
}

static int expect_link_without_ipv6(const struct side *side, struct err *err)
{
	return side->has_ipv6 ? sysctl_expect(side->proc_fd, link_ipv6_path, "1", err) : 0;
}

static void raise_link(struct batch *batch, const struct side *side)
{
	veth_add_address(batch, side->address, NETNS_LINK_PREFIX_BITS);
	veth_link_up(batch, VETH_INDEX, "raising " NETNS_LINK_NAME);
}

static int prepare_egress(const struct side *side, struct err *err)
{
	TRY(apply(side->proc_fd, both_sides, COUNT(both_sides), err));
	TRY(apply(side->proc_fd, egress_side, COUNT(egress_side), err));
	return side->has_ipv6 ? apply(side->proc_fd, both_sides_ipv6, COUNT(both_sides_ipv6), err)
			      : 0;
}

static int make_internal(const struct side *side, struct batch *batch, struct err *err)
{
	TRY(apply(side->proc_fd, both_sides, COUNT(both_sides), err));
	TRY(apply(side->proc_fd, internal_side, COUNT(internal_side), err));
	if (side->has_ipv6)
		TRY(apply(side->proc_fd, both_sides_ipv6, COUNT(both_sides_ipv6), err));
	TRY(batch_open(batch, err));
	veth_link_up(batch, BATCH_LOOPBACK_INDEX, "raising lo");
	veth_create(batch, side->peer_fd);
	TRY(batch_commit(batch, err));
	TRY(expect_link_without_ipv6(side, err));
	TRY(veth_watch(batch, err));
	raise_link(batch, side);
	return batch_commit(batch, err);
}

static int finish_egress(const struct side *side, struct err *err)
{
	cleanup_with(batch_clear) struct batch batch = { 0 };

	TRY(expect_link_without_ipv6(side, err));
	TRY(batch_open(&batch, err));
	veth_link_up(&batch, BATCH_LOOPBACK_INDEX, "raising lo");
	anyip_add_route(&batch, AF_INET);
	if (side->has_ipv6)
		anyip_add_route(&batch, AF_INET6);
	raise_link(&batch, side);
	return batch_commit(&batch, err);
}

static int enter(int ns_fd, const char *which, struct err *err)
{
	if (setns(ns_fd, CLONE_NEWNET) < 0)
		return err_sys(err, errno, "entering the %s network namespace", which);
	return 0;
}

int netns_setup(int proc_fd, int egress_fd, int internal_fd, const struct netns_link *link,
		struct err *err)
{
	bool has_ipv6 = sysctl_has_ipv6(proc_fd);
	struct side egress = { proc_fd, internal_fd, link->egress_addr, has_ipv6 };
	struct side internal = { proc_fd, egress_fd, link->internal_addr, has_ipv6 };
	cleanup_with(batch_clear) struct batch internal_batch = { 0 };
	int rc;

	rc = prepare_egress(&egress, err);
	if (rc < 0)
		return err_context(err, rc, "egress side");
	TRY(enter(internal_fd, "internal", err));
	rc = make_internal(&internal, &internal_batch, err);
	if (rc < 0)
		return err_context(err, rc, "internal side");
	TRY(enter(egress_fd, "egress", err));
	rc = finish_egress(&egress, err);
	if (rc < 0)
		return err_context(err, rc, "egress side");
	return veth_wait_active(&internal_batch, err);
}
