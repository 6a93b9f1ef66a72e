/* SPDX-License-Identifier: Apache-2.0
 * The two namespaces for real: each test makes its own pair in a child, with a user namespace around
 * it, so that they run as anybody. "The agent" is the child after it entered the internal side. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "netns/batch.h"
#include "netns/netns.h"
#include "netns/sysctl.h"
#include "tests/lib/in_child.h"

enum { PROXY_PORT = 9099, OTHER_PORT = 7777, WAIT_MS = 300 };

struct nets {
	int proc_fd, egress_fd, internal_fd;
	int lo_fds[3]; /* the gate's: UDP 53, TCP 443, TCP 80 */
	int proxy_fd;
	struct netns_link link;
};

/* --- making them ------------------------------------------------------------------------------ */

static int map_ids(void)
{
	char map[64];
	uid_t uid = getuid();
	gid_t gid = getgid();

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return -errno;
	TRY(file_write(AT_FDCWD, "/proc/self/setgroups", "deny"));
	snprintf(map, sizeof(map), "0 %u 1", uid);
	TRY(file_write(AT_FDCWD, "/proc/self/uid_map", map));
	snprintf(map, sizeof(map), "0 %u 1", gid);
	return file_write(AT_FDCWD, "/proc/self/gid_map", map);
}

static int open_net(void)
{
	return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

/* Leaves the caller in the egress namespace, as root of the user namespace that owns both. */
static int make_pair(struct nets *nets)
{
	int rc = map_ids();

	if (rc < 0) {
		fprintf(stderr, "skipped: no user namespaces here: %s\n", strerror(-rc));
		return IN_CHILD_SKIP;
	}
	nets->link = netns_link_default();
	nets->proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	nets->internal_fd = open_net();
	CHILD_CHECK(unshare(CLONE_NEWNET) == 0);
	nets->egress_fd = open_net();
	CHILD_CHECK(nets->proc_fd >= 0 && nets->egress_fd >= 0 && nets->internal_fd >= 0);
	return 0;
}

static int set_up(struct nets *nets)
{
	static const uint16_t ports[] = { 443, 80 };
	struct err err = { 0 };
	int rc = make_pair(nets);

	if (rc)
		return rc;
	if (netns_setup(nets->proc_fd, nets->egress_fd, nets->internal_fd, &nets->link, &err) < 0 ||
	    netns_open_listeners(ports, 2, nets->lo_fds, &err) < 0 ||
	    netns_open_proxy_listener(&nets->link, PROXY_PORT, &nets->proxy_fd, &err) < 0) {
		fprintf(stderr, "set-up: %s\n", err.text);
		return 1;
	}
	return 0;
}

#define SET_UP(nets)                    \
	do {                            \
		int rc_ = set_up(nets); \
		if (rc_)                \
			return rc_;     \
	} while (0)

static int become_agent_with_power(const struct nets *nets)
{
	return setns(nets->internal_fd, CLONE_NEWNET);
}

/* In a user namespace below the one that owns the network namespaces. */
static int become_agent(const struct nets *nets)
{
	return become_agent_with_power(nets) < 0 ? -1 : unshare(CLONE_NEWUSER);
}

static void run(int (*fn)(void *))
{
	int rc = in_child(fn, NULL);

	if (rc == IN_CHILD_SKIP)
		cr_skip_test("no user namespaces here");
	cr_assert_eq(rc, 0, "status %d", rc);
}

/* --- small clients ---------------------------------------------------------------------------- */

static union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
} to(const char *text, uint16_t port)
{
	union address a = { .any.sa_family = strchr(text, ':') ? AF_INET6 : AF_INET };

	if (a.any.sa_family == AF_INET) {
		a.v4.sin_port = htons(port);
		inet_pton(AF_INET, text, &a.v4.sin_addr);
	} else {
		a.v6.sin6_port = htons(port);
		inet_pton(AF_INET6, text, &a.v6.sin6_addr);
	}
	return a;
}

/* 0, or the errno that the connection got; ETIMEDOUT when there was no answer. */
static int tcp_connect(const char *text, uint16_t port, const char *device)
{
	union address a = to(text, port);
	cleanup_fd int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	int error = 0;
	socklen_t len = sizeof(error);

	if (device &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device) + 1) < 0)
		return errno;
	if (connect(fd, &a.any, sizeof(a)) < 0 && errno != EINPROGRESS)
		return errno;
	if (poll(&pfd, 1, WAIT_MS) != 1)
		return ETIMEDOUT;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	return error;
}

/* Sends one datagram and gives the errno of the answer. */
static int udp_send(const char *text, uint16_t port)
{
	union address a = to(text, port);
	cleanup_fd int fd = socket(a.any.sa_family, SOCK_DGRAM, 0);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char byte = 0;

	if (connect(fd, &a.any, sizeof(a)) < 0 || send(fd, &byte, 1, 0) < 0)
		return errno;
	if (poll(&pfd, 1, WAIT_MS) != 1)
		return ETIMEDOUT;
	return recv(fd, &byte, 1, 0) < 0 ? errno : 0;
}

/* Whether anything is waiting at a listener or datagram socket of the egress side. */
static int has_guest(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

static int nobody_at_the_gate(const struct nets *nets)
{
	return !has_guest(nets->lo_fds[0]) && !has_guest(nets->lo_fds[1]) &&
	       !has_guest(nets->lo_fds[2]);
}

static int add_route_to_egress(const struct nets *nets)
{
	cleanup_with(batch_clear) struct batch batch = { 0 };
	struct rtmsg header = {
		.rtm_family = AF_INET,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_type = RTN_UNICAST,
	};
	struct nl_msg *msg = batch_request(RTM_NEWROUTE, NLM_F_CREATE, &header, sizeof(header));
	struct err err = { 0 };

	TRY(batch_open(&batch, &err));
	batch_add(
		&batch, "default route", msg,
		nla_put(msg, RTA_GATEWAY, sizeof(nets->link.egress_addr), &nets->link.egress_addr));
	return batch_commit(&batch, &err);
}

/* --- the egress side -------------------------------------------------------------------------- */

static int accepted_address(int listener_fd, char text[static INET6_ADDRSTRLEN])
{
	cleanup_fd int fd = accept4(listener_fd, NULL, NULL, SOCK_CLOEXEC);
	union address own;
	socklen_t len = sizeof(own);

	if (fd < 0 || getsockname(fd, &own.any, &len) < 0)
		return -1;
	if (own.any.sa_family == AF_INET)
		return inet_ntop(AF_INET, &own.v4.sin_addr, text, INET6_ADDRSTRLEN) ? 0 : -1;
	return inet_ntop(AF_INET6, &own.v6.sin6_addr, text, INET6_ADDRSTRLEN) ? 0 : -1;
}

static int every_address_arrives(void *arg)
{
	struct nets nets = { 0 };
	char text[INET6_ADDRSTRLEN];

	(void)arg;
	SET_UP(&nets);
	CHILD_CHECK(tcp_connect("198.18.0.1", 443, NULL) == 0);
	CHILD_CHECK(accepted_address(nets.lo_fds[1], text) == 0);
	CHILD_CHECK(strcmp(text, sysctl_has_ipv6(nets.proc_fd) ? "::ffff:198.18.0.1"
							       : "198.18.0.1") == 0);
	CHILD_CHECK(tcp_connect("203.0.113.9", 80, NULL) == 0);
	CHILD_CHECK(has_guest(nets.lo_fds[2]));
	CHILD_CHECK(tcp_connect("203.0.113.9", 81, NULL) == ECONNREFUSED);
	if (sysctl_has_ipv6(nets.proc_fd)) {
		CHILD_CHECK(tcp_connect("2001:db8::5", 443, NULL) == 0);
		CHILD_CHECK(accepted_address(nets.lo_fds[1], text) == 0);
		CHILD_CHECK(strcmp(text, "2001:db8::5") == 0);
	}
	CHILD_CHECK(udp_send("127.0.0.1", 53) == ETIMEDOUT);
	CHILD_CHECK(has_guest(nets.lo_fds[0]));
	return 0;
}

static int sockets_are_as_stated(void *arg)
{
	struct nets nets = { 0 };

	(void)arg;
	SET_UP(&nets);
	for (size_t i = 0; i < 4; i++) {
		int fd = i < 3 ? nets.lo_fds[i] : nets.proxy_fd;
		char device[16] = "";
		socklen_t len = sizeof(device);

		CHILD_CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
		CHILD_CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
		CHILD_CHECK(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &len) == 0);
		CHILD_CHECK(strcmp(device, i < 3 ? "lo" : NETNS_LINK_NAME) == 0);
	}
	return 0;
}

static int taken_port_is_named(void *arg)
{
	static const uint16_t ports[] = { 8443, 443 };
	struct nets nets = { 0 };
	struct err err = { 0 };
	int fds[3];

	(void)arg;
	SET_UP(&nets);
	close(nets.lo_fds[0]);
	CHILD_CHECK(netns_open_listeners(ports, 2, fds, &err) == -EADDRINUSE);
	CHILD_CHECK(strstr(err.text, "port 443"));
	CHILD_CHECK(fds[0] == -1 && fds[1] == -1 && fds[2] == -1);
	return 0;
}

Test(netns, every_address_arrives_at_lo)
{
	run(every_address_arrives);
}

Test(netns, sockets_are_bound_and_do_not_leak)
{
	run(sockets_are_as_stated);
}

Test(netns, a_taken_port_is_named)
{
	run(taken_port_is_named);
}

/* --- the agent's side ------------------------------------------------------------------------- */

static int only_the_proxy(const struct nets *nets)
{
	char proxy[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &nets->link.egress_addr, proxy, sizeof(proxy));
	CHILD_CHECK(tcp_connect(proxy, PROXY_PORT, NULL) == 0);
	CHILD_CHECK(has_guest(nets->proxy_fd));
	CHILD_CHECK(tcp_connect(proxy, 443, NULL) == ECONNREFUSED);
	CHILD_CHECK(tcp_connect(proxy, 80, NULL) == ECONNREFUSED);
	CHILD_CHECK(udp_send(proxy, 53) == ECONNREFUSED);
	CHILD_CHECK(nobody_at_the_gate(nets));
	return 0;
}

static int agent_reaches_the_proxy_only(void *arg)
{
	struct nets nets = { 0 };

	(void)arg;
	SET_UP(&nets);
	CHILD_CHECK(become_agent(&nets) == 0);
	CHILD_CHECK(only_the_proxy(&nets) == 0);
	CHILD_CHECK(tcp_connect("198.18.0.1", 443, NULL) == ENETUNREACH);
	CHILD_CHECK(udp_send("192.0.2.1", 53) == ENETUNREACH);
	return 0;
}

/* It even has the power to route everything to the egress side, where every address is local. */
static int default_route_gains_nothing(void *arg)
{
	struct nets nets = { 0 };

	(void)arg;
	SET_UP(&nets);
	CHILD_CHECK(become_agent_with_power(&nets) == 0);
	CHILD_CHECK(add_route_to_egress(&nets) == 0);
	CHILD_CHECK(only_the_proxy(&nets) == 0);
	CHILD_CHECK(tcp_connect("198.18.0.1", 443, NULL) == ECONNREFUSED);
	CHILD_CHECK(tcp_connect("203.0.113.9", 80, NULL) == ECONNREFUSED);
	CHILD_CHECK(udp_send("192.0.2.1", 53) == ECONNREFUSED);
	CHILD_CHECK(nobody_at_the_gate(&nets));
	return 0;
}

static int open_everywhere(uint16_t port)
{
	union address a = to("0.0.0.0", port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, &a.any, sizeof(a.v4)) < 0 || listen(fd, 1) < 0)
		return -1;
	return fd;
}

/* SO_BINDTODEVICE needs no power and makes any address on-link. Shown both ways: with arp_ignore off,
 * the attack reaches a careless listener of the egress side, so it is a real one. */
static int bound_to_the_link_gains_nothing(void *arg)
{
	static const char arp_ignore[] = "sys/net/ipv4/conf/" NETNS_LINK_NAME "/arp_ignore";
	struct nets nets = { 0 };
	struct err err;
	int careless_fd;

	(void)arg;
	SET_UP(&nets);
	careless_fd = open_everywhere(OTHER_PORT);
	CHILD_CHECK(careless_fd >= 0);
	CHILD_CHECK(become_agent_with_power(&nets) == 0);
	CHILD_CHECK(tcp_connect("203.0.113.9", OTHER_PORT, NETNS_LINK_NAME) == ETIMEDOUT);
	CHILD_CHECK(tcp_connect("203.0.113.9", 443, NETNS_LINK_NAME) == ETIMEDOUT);
	CHILD_CHECK(!has_guest(careless_fd) && nobody_at_the_gate(&nets));
	CHILD_CHECK(setns(nets.egress_fd, CLONE_NEWNET) == 0);
	CHILD_CHECK(sysctl_set(nets.proc_fd, arp_ignore, "0", &err) == 0);
	CHILD_CHECK(become_agent(&nets) == 0);
	CHILD_CHECK(tcp_connect("203.0.113.10", OTHER_PORT, NETNS_LINK_NAME) == 0);
	CHILD_CHECK(has_guest(careless_fd));
	CHILD_CHECK(tcp_connect("203.0.113.10", 443, NETNS_LINK_NAME) == ECONNREFUSED);
	CHILD_CHECK(nobody_at_the_gate(&nets));
	return 0;
}

Test(netns, agent_reaches_the_proxy_only)
{
	run(agent_reaches_the_proxy_only);
}

Test(netns, a_default_route_of_its_own_gains_nothing)
{
	run(default_route_gains_nothing);
}

Test(netns, a_socket_bound_to_the_link_gains_nothing)
{
	run(bound_to_the_link_gains_nothing);
}

/* --- settings --------------------------------------------------------------------------------- */

static int count_ipv6(const char *name)
{
	struct ifaddrs *list = NULL;
	int found = 0;

	if (getifaddrs(&list) < 0)
		return -1;
	for (struct ifaddrs *a = list; a; a = a->ifa_next)
		if (a->ifa_addr && a->ifa_addr->sa_family == AF_INET6 && !strcmp(a->ifa_name, name))
			found++;
	freeifaddrs(list);
	return found;
}

static int settings_hold(void *arg)
{
	struct nets nets = { 0 };
	struct err err = { 0 };

	(void)arg;
	SET_UP(&nets);
	CHILD_CHECK(sysctl_expect(nets.proc_fd, "sys/net/ipv4/ip_forward", "0", &err) == 0);
	CHILD_CHECK(count_ipv6(NETNS_LINK_NAME) == 0);
	if (sysctl_has_ipv6(nets.proc_fd))
		CHILD_CHECK(count_ipv6("lo") == 1);
	CHILD_CHECK(become_agent_with_power(&nets) == 0);
	CHILD_CHECK(sysctl_expect(nets.proc_fd, "sys/net/ipv4/ip_forward", "0", &err) == 0);
	CHILD_CHECK(count_ipv6(NETNS_LINK_NAME) == 0);
	CHILD_CHECK(count_ipv6("lo") == 0);
	return 0;
}

/* A folder that looks like /proc of a kernel without IPv6; `forward` is what ip_forward is. */
static int fake_proc(const char *forward)
{
	static const char script[] = "d=$(mktemp -d) && cd $d && mkdir -p sys/net/ipv4/conf/all "
				     "sys/net/ipv4/conf/default &&"
				     " for f in conf/all/route_localnet "
				     "conf/default/route_localnet conf/default/arp_ignore"
				     " conf/all/accept_redirects conf/default/accept_redirects;"
				     " do echo 0 >sys/net/ipv4/$f; done; ln -s %s "
				     "sys/net/ipv4/ip_forward; echo 0 >regular;"
				     " printf %%s $d";
	char command[1024], path[128] = "";
	FILE *out;
	int fd;

	snprintf(command, sizeof(command), script, forward);
	out = popen(command, "r");
	if (!fgets(path, sizeof(path), out) || pclose(out) != 0)
		return -1;
	fd = open(path, O_PATH | O_DIRECTORY);
	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	setenv("FAKE_PROC", command, 1);
	return fd;
}

static void remove_fake_proc(void)
{
	if (system(getenv("FAKE_PROC")) != 0)
		fputs("a folder was left in /tmp\n", stderr);
}

static int kernel_without_ipv6(void *arg)
{
	struct nets nets = { 0 };
	struct err err = { 0 };
	int fake_fd = fake_proc("../../../regular"), rc;

	(void)arg;
	CHILD_CHECK(fake_fd >= 0);
	rc = make_pair(&nets);
	if (rc == 0)
		rc = netns_setup(fake_fd, nets.egress_fd, nets.internal_fd, &nets.link, &err);
	remove_fake_proc();
	if (rc < 0)
		fprintf(stderr, "%s\n", err.text);
	return rc < 0 ? 1 : rc;
}

/* A kernel that takes the setting and does not keep it: reading it back must notice. */
static int setting_that_does_not_stay(void *arg)
{
	struct nets nets = { 0 };
	struct err err = { 0 };
	int fake_fd = fake_proc("/dev/null"), rc;

	(void)arg;
	CHILD_CHECK(fake_fd >= 0);
	rc = make_pair(&nets);
	if (rc == 0)
		rc = netns_setup(fake_fd, nets.egress_fd, nets.internal_fd, &nets.link, &err);
	remove_fake_proc();
	if (rc > 0)
		return rc;
	CHILD_CHECK(rc == -EPROTO);
	CHILD_CHECK(strstr(err.text, "egress side: /proc/sys/net/ipv4/ip_forward is"));
	return 0;
}

static int no_power_is_named(void *arg)
{
	struct nets nets = { 0 };
	struct err err = { 0 };
	int rc = make_pair(&nets);

	(void)arg;
	if (rc)
		return rc;
	CHILD_CHECK(unshare(CLONE_NEWUSER) == 0);
	CHILD_CHECK(netns_setup(nets.proc_fd, nets.egress_fd, nets.internal_fd, &nets.link, &err) <
		    0);
	CHILD_CHECK(strstr(err.text, "ip_forward cannot be"));
	return 0;
}

static int second_link_is_refused(void *arg)
{
	struct nets nets = { 0 };
	struct err err = { 0 };

	(void)arg;
	SET_UP(&nets);
	CHILD_CHECK(netns_setup(nets.proc_fd, nets.egress_fd, nets.internal_fd, &nets.link, &err) ==
		    -EEXIST);
	CHILD_CHECK(strstr(err.text, "making the link " NETNS_LINK_NAME));
	return 0;
}

Test(netns, settings_hold_on_both_sides)
{
	run(settings_hold);
}

Test(netns, a_kernel_without_ipv6_works)
{
	run(kernel_without_ipv6);
}

Test(netns, a_setting_that_does_not_stay_is_noticed)
{
	run(setting_that_does_not_stay);
}

Test(netns, missing_power_is_named)
{
	run(no_power_is_named);
}

Test(netns, a_second_link_is_refused)
{
	run(second_link_is_refused);
}

/* --- the proof -------------------------------------------------------------------------------- */

/* Expects the proof to fail with `words` in its sentence, or to hold when they are NULL. */
static int prove(const struct nets *nets, const char *words)
{
	struct err err = { 0 };
	int rc = netns_prove_internal(&nets->link, PROXY_PORT, &err);

	if (words ? rc == -EPROTO && strstr(err.text, words) : rc == 0)
		return 0;
	fprintf(stderr, "proof: %d, \"%s\", wanted: %s\n", rc, err.text, words ? words : "holds");
	return 1;
}

static int proof_holds(void *arg)
{
	struct nets nets = { 0 };

	(void)arg;
	SET_UP(&nets);
	CHILD_CHECK(become_agent(&nets) == 0);
	CHILD_CHECK(prove(&nets, NULL) == 0);
	CHILD_CHECK(nobody_at_the_gate(&nets) && !has_guest(nets.proxy_fd));
	return 0;
}

static int proof_sees_power(void *arg)
{
	struct nets nets = { 0 };

	(void)arg;
	SET_UP(&nets);
	CHILD_CHECK(become_agent_with_power(&nets) == 0);
	CHILD_CHECK(prove(&nets, "raw IPv4 socket") == 0);
	return 0;
}

static int proof_sees_a_route(void *arg)
{
	struct nets nets = { 0 };

	(void)arg;
	SET_UP(&nets);
	CHILD_CHECK(become_agent_with_power(&nets) == 0);
	CHILD_CHECK(add_route_to_egress(&nets) == 0);
	CHILD_CHECK(unshare(CLONE_NEWUSER) == 0);
	CHILD_CHECK(prove(&nets, "route to 192.0.2.1") == 0);
	return 0;
}

static int proof_sees_the_wrong_namespace(void *arg)
{
	struct nets nets = { 0 };

	(void)arg;
	SET_UP(&nets);
	CHILD_CHECK(unshare(CLONE_NEWUSER) == 0);
	CHILD_CHECK(prove(&nets, "interface bottle0 with address 198.19.255.253") == 0);
	return 0;
}

static int proof_sees_a_loopback_service(void *arg)
{
	struct nets nets = { 0 };

	(void)arg;
	SET_UP(&nets);
	CHILD_CHECK(become_agent(&nets) == 0);
	CHILD_CHECK(open_everywhere(8080) >= 0);
	CHILD_CHECK(prove(&nets, "TCP port 8080 of 127.0.0.1") == 0);
	return 0;
}

static int proof_sees_another_port(void *arg)
{
	struct nets nets = { 0 };

	(void)arg;
	SET_UP(&nets);
	CHILD_CHECK(open_everywhere(8081) >= 0);
	CHILD_CHECK(become_agent(&nets) == 0);
	CHILD_CHECK(prove(&nets, "TCP port 8081 of 198.19.255.253") == 0);
	return 0;
}

Test(netns_prove, holds_in_a_bottle)
{
	run(proof_holds);
}

Test(netns_prove, sees_power)
{
	run(proof_sees_power);
}

Test(netns_prove, sees_a_route)
{
	run(proof_sees_a_route);
}

Test(netns_prove, sees_the_wrong_namespace)
{
	run(proof_sees_the_wrong_namespace);
}

Test(netns_prove, sees_a_loopback_service)
{
	run(proof_sees_a_loopback_service);
}

Test(netns_prove, sees_another_port_of_the_proxy)
{
	run(proof_sees_another_port);
}
