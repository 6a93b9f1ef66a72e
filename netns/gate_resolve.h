/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking names up without waiting: a bounded pool of helpers, one lookup for each name at a time
 * whoever asks, a share of the pool for each routed host, and a cache of a few seconds (getaddrinfo
 * tells no TTL).
 */
#ifndef NETNS_GATE_RESOLVE_H
#define NETNS_GATE_RESOLVE_H

#include <sys/queue.h>

#include "netns/gate_group.h"
#include "netns/gate_helper.h"
#include "netns/gate_loop.h"

enum { GATE_HELPERS_MAX = 8 };

struct gate_resolver;
struct gate_lookup;

/* One who waits for an answer; embedded in the asker. */
struct gate_waiter {
	TAILQ_ENTRY(gate_waiter) entry;
	struct gate_lookup *lookup; /* NULL when not waiting */
	/* `reason` is NULL, or why there is no answer: "dns_nxdomain", "dns_timeout", "dns_failed". The
	 * waiter is no longer waiting; the answer is valid during the call. */
	void (*done)(struct gate_waiter *waiter, const char *reason,
		     const struct gate_answer *answer);
};

/* Forks the zygote: before the gate is confined. */
int gate_resolver_start(int (*confine)(struct err *err), unsigned timeout_s,
			struct gate_resolver **ret_resolver, struct err *err) MUST_CHECK;

/* Waits until the zygote has said that it is confined, and puts it into the loop. A zygote that dies
 * later stops the loop: nothing can be resolved any more. */
int gate_resolver_attach(struct gate_resolver *resolver, struct gate_loop *loop,
			 struct gate_groups *groups, struct err *err) MUST_CHECK;

void gate_resolver_free(struct gate_resolver *resolver);

/* Asks for a name. `done` may be called before this returns (from the cache, or without memory). */
void gate_resolver_ask(struct gate_resolver *resolver, const char *name, const char *group_host,
		       struct gate_waiter *waiter);
void gate_resolver_cancel(struct gate_waiter *waiter);

#endif
