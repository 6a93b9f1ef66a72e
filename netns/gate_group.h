/* SPDX-License-Identifier: Apache-2.0
 *
 * Fair shares. Everything bounded (connections, lookups, half-open connects) is counted for each
 * routed host ("*.suffix" counts as one), and one host never gets all of it: a dead name server or a
 * black hole costs the others nothing.
 */
#ifndef NETNS_GATE_GROUP_H
#define NETNS_GATE_GROUP_H

#include <stddef.h>

struct gate_group {
	struct gate_group *next;
	size_t refs;
	size_t conns;	 /* accepted and not yet ended */
	size_t lookups;	 /* occupying a helper */
	size_t attempts; /* half-open sockets */
	char host[];	 /* as the route says it */
};

struct gate_groups {
	struct gate_group *first;
};

/* The group of a routed host, made if there is none; NULL without memory. Each get needs a put. */
struct gate_group *gate_group_get(struct gate_groups *groups, const char *host);
void gate_group_put(struct gate_groups *groups, struct gate_group *group);

/* What one group may have of `all`. */
static inline size_t gate_group_share(size_t all)
{
	return all > 3 ? all - all / 4 : 1;
}

#endif
