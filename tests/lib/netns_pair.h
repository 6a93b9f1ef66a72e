/* SPDX-License-Identifier: Apache-2.0
 *
 * A bottle's two network namespaces for a test, and small clients. For a child (in_child): the caller
 * ends up in them, as root of a user namespace around both. "The agent" is who entered the internal side.
 */
#ifndef TESTS_LIB_NETNS_PAIR_H
#define TESTS_LIB_NETNS_PAIR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "netns/netns.h"

enum { PAIR_PROXY_PORT = 9099 };

struct netns_pair {
	int proc_fd, egress_fd, internal_fd;
	int lo_fds[3]; /* the gate's: UDP 53, TCP 443, TCP 80 */
	int proxy_fd;
	struct netns_link link;
};

union pair_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* Makes the namespaces alone, or with netns_setup and all listeners; the caller is in the egress one.
 * 0, or a status for the child to end with (IN_CHILD_SKIP, or 1 after saying why on stderr). */
int pair_make(struct netns_pair *pair);
int pair_set_up(struct netns_pair *pair);

#define PAIR_SET_UP(pair)                    \
	do {                                 \
		int rc_ = pair_set_up(pair); \
		if (rc_)                     \
			return rc_;          \
	} while (0)

/* Enters the internal namespace, keeping the power over it or, as a real agent, from a user namespace
 * below the one that owns it. 0 or -1 with errno. */
int pair_become_agent_with_power(const struct netns_pair *pair);
int pair_become_agent(const struct netns_pair *pair);

/* In the current namespace: a default route by way of the egress side. */
int pair_add_default_route(const struct netns_pair *pair);

union pair_address pair_address(const char *text, uint16_t port);

/* 0, or the errno that the connection got; ETIMEDOUT when there was no answer. `device` may be NULL. */
int pair_tcp_connect(const char *text, uint16_t port, const char *device);

/* Sends one datagram and gives the errno of the answer. */
int pair_udp_send(const char *text, uint16_t port);

/* A listener on 0.0.0.0, bound to no device; -1 on failure. */
int pair_listen_everywhere(uint16_t port);

/* Whether anything waits at a socket; and that nothing does at the gate's. */
bool pair_has_guest(int fd);
bool pair_gate_is_idle(const struct netns_pair *pair);

#endif
