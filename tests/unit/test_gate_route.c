/* SPDX-License-Identifier: Apache-2.0
 * netns/gate_route.c: what the routing table says of an address, and of that one. */
#include "netns/gate_route.h"

#include <criterion/criterion.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

static enum gate_route_kind ask(int fd, const char *text)
{
	struct address ip;

	cr_assert(address_parse(text, &ip), "%s", text);
	return gate_route_ask(fd, &ip, 443);
}

/* Asked and not read, as when a recv(2) failed. */
static void leave_an_answer(int fd, const uint8_t ip[4])
{
	struct {
		struct nlmsghdr header;
		struct rtmsg route;
		struct rtattr attr;
		uint8_t ip[4];
	} q = { .header = { .nlmsg_len = sizeof(q),
			    .nlmsg_type = RTM_GETROUTE,
			    .nlmsg_flags = NLM_F_REQUEST,
			    .nlmsg_seq = UINT32_MAX },
		.route = { .rtm_family = AF_INET, .rtm_dst_len = 32 },
		.attr = { .rta_type = RTA_DST, .rta_len = RTA_LENGTH(4) } };

	memcpy(q.ip, ip, 4);
	cr_assert_eq(send(fd, &q, sizeof(q), 0), sizeof(q));
}

Test(gate_route, the_hosts_own_addresses_are_its_own)
{
	struct err err = { 0 };
	cleanup_fd int fd = -1;

	cr_assert_eq(gate_route_open(&fd, &err), 0, "%s", err.text);
	cr_expect_eq(ask(fd, "127.0.0.1"), GATE_ROUTE_OWN);
	cr_expect_eq(ask(fd, "127.9.9.9"), GATE_ROUTE_OWN);
	cr_expect_eq(ask(fd, "255.255.255.255"), GATE_ROUTE_OWN);
	cr_expect_neq(ask(fd, "192.0.2.1"), GATE_ROUTE_OWN); /* by the default route, or by none */
}

Test(gate_route, an_answer_that_was_left_is_not_the_next_ones)
{
	static const uint8_t outside[] = { 192, 0, 2, 1 }, own[] = { 127, 0, 0, 1 };
	struct err err = { 0 };
	cleanup_fd int fd = -1;

	cr_assert_eq(gate_route_open(&fd, &err), 0, "%s", err.text);
	leave_an_answer(fd, outside);
	leave_an_answer(fd, outside);
	cr_expect_eq(ask(fd, "127.0.0.1"), GATE_ROUTE_OWN);
	leave_an_answer(fd, own);
	cr_expect_neq(ask(fd, "192.0.2.1"), GATE_ROUTE_OWN);
	cr_expect_eq(ask(fd, "127.0.0.1"), GATE_ROUTE_OWN);
}

/* Where nothing can be asked, the address counts as the host's own. */
Test(gate_route, without_an_answer_it_is_closed)
{
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds), 0);
	cr_expect_eq(ask(fds[0], "192.0.2.1"), GATE_ROUTE_OWN);
	close(fds[1]);
	cr_expect_eq(ask(fds[0], "192.0.2.1"), GATE_ROUTE_OWN);
	close(fds[0]);
}
