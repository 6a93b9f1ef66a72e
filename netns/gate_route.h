/* SPDX-License-Identifier: Apache-2.0
 *
 * Asks the kernel where it would deliver an address: the exact answer to "is this one of the host's
 * own", for addresses on interfaces, AnyIP ranges and broadcast alike, at the moment of the dial.
 */
#ifndef NETNS_GATE_ROUTE_H
#define NETNS_GATE_ROUTE_H

#include <stdbool.h>

#include "netns/gate_policy.h"

enum gate_route_kind {
	GATE_ROUTE_OUT,	 /* leaves by a link */
	GATE_ROUTE_OWN,	 /* local, anycast or broadcast of this host */
	GATE_ROUTE_NONE, /* no route: dialling it would fail at once */
};

/* A netlink socket (NETLINK_ROUTE), non-blocking. Opened before the gate is confined. */
int gate_route_open(int *ret_fd, struct err *err) MUST_CHECK;

/* One question and its answer, which rtnetlink(7) gives within the send. An address the kernel will
 * not tell about counts as the host's own. */
enum gate_route_kind gate_route_ask(int route_fd, const struct address *ip, uint16_t port);

#endif
