/* SPDX-License-Identifier: Apache-2.0
 *
 * AnyIP: `local default dev lo` in the main table makes every address, but those of the links, local
 * to the namespace: whatever the proxy dials arrives on lo, where the gate listens.
 */
#ifndef NETNS_ANYIP_H
#define NETNS_ANYIP_H

#include "netns/batch.h"

/* Adds the route for AF_INET or AF_INET6 to the batch. lo must be up when the kernel comes to it. */
void anyip_add_route(struct batch *batch, int family);

#endif
