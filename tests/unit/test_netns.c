/* SPDX-License-Identifier: Apache-2.0
 * The two namespaces for real: each test makes its own pair in a child, so that they run as anybody. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "netns/netns.h"
#include "netns/sysctl.h"
#include "tests/lib/in_child.h"
#include "tests/lib/netns_pair.h"

enum { OTHER_PORT = 7777 };

static void run(int (*fn)(void *))
{
	int rc = in_child(fn, NULL);

	if (rc == IN_CHILD_SKIP)
		cr_skip_test("no user namespaces here");
	cr_assert_eq(rc, 0, "status %d", rc);
}

/* --- the egress side -------------------------------------------------------------------------- */

static int accepted_address(int listener_fd, char text[static INET6_ADDRSTRLEN])
{
	cleanup_fd int fd = accept4(listener_fd, NULL, NULL, SOCK_CLOEXEC);
	union pair_address own;
	socklen_t len = sizeof(own);

	if (fd < 0 || getsockname(fd, &own.any, &len) < 0)
		return -1;
	if (own.any.sa_family == AF_INET)
		return inet_ntop(AF_INET, &own.v4.sin_addr, text, INET6_ADDRSTRLEN) ? 0 : -1;
	return inet_ntop(AF_INET6, &own.v6.sin6_addr, text, INET6_ADDRSTRLEN) ? 0 : -1;
}

static int every_address_arrives(void *arg)
{
	struct netns_pair pair = { 0 };
	char text[INET6_ADDRSTRLEN];

	(void)arg;
	PAIR_SET_UP(&pair);
	CHILD_CHECK(pair_tcp_connect("198.18.0.1", 443, NULL) == 0);
	CHILD_CHECK(accepted_address(pair.lo_fds[1], text) == 0);
	CHILD_CHECK(strcmp(text, sysctl_has_ipv6(pair.proc_fd) ? "::ffff:198.18.0.1"
							       : "198.18.0.1") == 0);
	CHILD_CHECK(pair_tcp_connect("203.0.113.9", 80, NULL) == 0);
	CHILD_CHECK(pair_has_guest(pair.lo_fds[2]));
	CHILD_CHECK(pair_tcp_connect("203.0.113.9", 81, NULL) == ECONNREFUSED);
	if (sysctl_has_ipv6(pair.proc_fd)) {
		CHILD_CHECK(pair_tcp_connect("2001:db8::5", 443, NULL) == 0);
		CHILD_CHECK(accepted_address(pair.lo_fds[1], text) == 0);
		CHILD_CHECK(strcmp(text, "2001:db8::5") == 0);
	}
	CHILD_CHECK(pair_udp_send("127.0.0.1", 53) == ETIMEDOUT);
	CHILD_CHECK(pair_has_guest(pair.lo_fds[0]));
	return 0;
}

static int sockets_are_as_stated(void *arg)
{
	struct netns_pair pair = { 0 };

	(void)arg;
	PAIR_SET_UP(&pair);
	for (size_t i = 0; i < 4; i++) {
		int fd = i < 3 ? pair.lo_fds[i] : pair.proxy_fd;
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
	struct netns_pair pair = { 0 };
	struct err err = { 0 };
	int fds[3];

	(void)arg;
	PAIR_SET_UP(&pair);
	close(pair.lo_fds[0]);
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

static int only_the_proxy(const struct netns_pair *pair)
{
	char proxy[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &pair->link.egress_addr, proxy, sizeof(proxy));
	CHILD_CHECK(pair_tcp_connect(proxy, PAIR_PROXY_PORT, NULL) == 0);
	CHILD_CHECK(pair_has_guest(pair->proxy_fd));
	CHILD_CHECK(pair_tcp_connect(proxy, 443, NULL) == ECONNREFUSED);
	CHILD_CHECK(pair_tcp_connect(proxy, 80, NULL) == ECONNREFUSED);
	CHILD_CHECK(pair_udp_send(proxy, 53) == ECONNREFUSED);
	CHILD_CHECK(pair_gate_is_idle(pair));
	return 0;
}

static int agent_reaches_the_proxy_only(void *arg)
{
	struct netns_pair pair = { 0 };

	(void)arg;
	PAIR_SET_UP(&pair);
	CHILD_CHECK(pair_become_agent(&pair) == 0);
	CHILD_CHECK(only_the_proxy(&pair) == 0);
	CHILD_CHECK(pair_tcp_connect("198.18.0.1", 443, NULL) == ENETUNREACH);
	CHILD_CHECK(pair_udp_send("192.0.2.1", 53) == ENETUNREACH);
	return 0;
}

/* It even has the power to route everything to the egress side, where every address is local. */
static int default_route_gains_nothing(void *arg)
{
	struct netns_pair pair = { 0 };

	(void)arg;
	PAIR_SET_UP(&pair);
	CHILD_CHECK(pair_become_agent_with_power(&pair) == 0);
	CHILD_CHECK(pair_add_default_route(&pair) == 0);
	CHILD_CHECK(only_the_proxy(&pair) == 0);
	CHILD_CHECK(pair_tcp_connect("198.18.0.1", 443, NULL) == ECONNREFUSED);
	CHILD_CHECK(pair_tcp_connect("203.0.113.9", 80, NULL) == ECONNREFUSED);
	CHILD_CHECK(pair_udp_send("192.0.2.1", 53) == ECONNREFUSED);
	CHILD_CHECK(pair_gate_is_idle(&pair));
	return 0;
}

/* SO_BINDTODEVICE needs no power and makes any address on-link. Shown both ways: with arp_ignore off,
 * the attack reaches a careless listener of the egress side, so it is a real one. */
static int bound_to_the_link_gains_nothing(void *arg)
{
	static const char arp_ignore[] = "sys/net/ipv4/conf/" NETNS_LINK_NAME "/arp_ignore";
	struct netns_pair pair = { 0 };
	struct err err;
	int careless_fd;

	(void)arg;
	PAIR_SET_UP(&pair);
	careless_fd = pair_listen_everywhere(OTHER_PORT);
	CHILD_CHECK(careless_fd >= 0);
	CHILD_CHECK(pair_become_agent_with_power(&pair) == 0);
	CHILD_CHECK(pair_tcp_connect("203.0.113.9", OTHER_PORT, NETNS_LINK_NAME) == ETIMEDOUT);
	CHILD_CHECK(pair_tcp_connect("203.0.113.9", 443, NETNS_LINK_NAME) == ETIMEDOUT);
	CHILD_CHECK(!pair_has_guest(careless_fd) && pair_gate_is_idle(&pair));
	CHILD_CHECK(setns(pair.egress_fd, CLONE_NEWNET) == 0);
	CHILD_CHECK(sysctl_set(pair.proc_fd, arp_ignore, "0", &err) == 0);
	CHILD_CHECK(pair_become_agent(&pair) == 0);
	CHILD_CHECK(pair_tcp_connect("203.0.113.10", OTHER_PORT, NETNS_LINK_NAME) == 0);
	CHILD_CHECK(pair_has_guest(careless_fd));
	CHILD_CHECK(pair_tcp_connect("203.0.113.10", 443, NETNS_LINK_NAME) == ECONNREFUSED);
	CHILD_CHECK(pair_gate_is_idle(&pair));
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
	struct netns_pair pair = { 0 };
	struct err err = { 0 };

	(void)arg;
	PAIR_SET_UP(&pair);
	CHILD_CHECK(sysctl_expect(pair.proc_fd, "sys/net/ipv4/ip_forward", "0", &err) == 0);
	CHILD_CHECK(count_ipv6(NETNS_LINK_NAME) == 0);
	if (sysctl_has_ipv6(pair.proc_fd))
		CHILD_CHECK(count_ipv6("lo") == 1);
	CHILD_CHECK(pair_become_agent_with_power(&pair) == 0);
	CHILD_CHECK(sysctl_expect(pair.proc_fd, "sys/net/ipv4/tcp_wmem", NETNS_SEND_BUFFER, &err) ==
		    0);
	CHILD_CHECK(sysctl_expect(pair.proc_fd, "sys/net/ipv4/ip_forward", "0", &err) == 0);
	CHILD_CHECK(count_ipv6(NETNS_LINK_NAME) == 0);
	if (sysctl_has_ipv6(pair.proc_fd))
		CHILD_CHECK(count_ipv6("lo") == 1);
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
				     " : >sys/net/ipv4/tcp_wmem;"
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
	struct netns_pair pair = { 0 };
	struct err err = { 0 };
	int fake_fd = fake_proc("../../../regular"), rc;

	(void)arg;
	CHILD_CHECK(fake_fd >= 0);
	rc = pair_make(&pair);
	if (rc == 0)
		rc = netns_setup(fake_fd, pair.egress_fd, pair.internal_fd, &pair.link, &err);
	remove_fake_proc();
	if (rc < 0)
		fprintf(stderr, "%s\n", err.text);
	return rc < 0 ? 1 : rc;
}

/* A kernel that takes the setting and does not keep it: reading it back must notice. */
static int setting_that_does_not_stay(void *arg)
{
	struct netns_pair pair = { 0 };
	struct err err = { 0 };
	int fake_fd = fake_proc("/dev/null"), rc;

	(void)arg;
	CHILD_CHECK(fake_fd >= 0);
	rc = pair_make(&pair);
	if (rc == 0)
		rc = netns_setup(fake_fd, pair.egress_fd, pair.internal_fd, &pair.link, &err);
	remove_fake_proc();
	if (rc > 0)
		return rc;
	CHILD_CHECK(rc == -EPROTO);
	CHILD_CHECK(strstr(err.text, "egress side: /proc/sys/net/ipv4/ip_forward is"));
	return 0;
}

static int no_power_is_named(void *arg)
{
	struct netns_pair pair = { 0 };
	struct err err = { 0 };
	int rc = pair_make(&pair);

	(void)arg;
	if (rc)
		return rc;
	CHILD_CHECK(unshare(CLONE_NEWUSER) == 0);
	CHILD_CHECK(netns_setup(pair.proc_fd, pair.egress_fd, pair.internal_fd, &pair.link, &err) <
		    0);
	CHILD_CHECK(strstr(err.text, "ip_forward cannot be"));
	return 0;
}

static int second_link_is_refused(void *arg)
{
	struct netns_pair pair = { 0 };
	struct err err = { 0 };

	(void)arg;
	PAIR_SET_UP(&pair);
	CHILD_CHECK(netns_setup(pair.proc_fd, pair.egress_fd, pair.internal_fd, &pair.link, &err) ==
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
