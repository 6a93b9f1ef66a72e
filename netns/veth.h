/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests about links. Each only adds to a batch; batch_commit carries it out.
 */
#ifndef NETNS_VETH_H
#define NETNS_VETH_H

#include <netinet/in.h>

#include "netns/batch.h"

/* The index of both ends of the pair. Chosen by us, so that nobody has to ask for it; above those of
 * the devices a namespace is born with (lo, and tunl0, sit0 and so on where such modules are loaded). */
enum { VETH_INDEX = 1000 };

/* Makes the pair: one end here, its peer straight in the namespace of peer_ns_fd, both NETNS_LINK_NAME,
 * both down. */
void veth_create(struct batch *batch, int peer_ns_fd);

void veth_add_address(struct batch *batch, struct in_addr address, unsigned prefix_bits);

/* Up: index VETH_INDEX or BATCH_LOOPBACK_INDEX. */
void veth_link_up(struct batch *batch, int index, const char *what);

/* For the end that is raised first. It has no carrier then, and the kernel gives it its transmit queue
 * from a work item, some time after the second end is up: what is sent in between is lost, and asked
 * for again a second later. Watch before raising it, wait after the second end is up. The wait is for
 * the kernel's own notification; -ETIMEDOUT after two seconds. */
int veth_watch(struct batch *batch, struct err *err) MUST_CHECK;
int veth_wait_active(struct batch *batch, struct err *err) MUST_CHECK;

#endif
