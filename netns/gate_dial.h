/* SPDX-License-Identifier: Apache-2.0
 *
 * Dialling: name → addresses → those that may be dialled → Happy Eyeballs (RFC 8305) → one connected
 * socket. The address that was judged is the address that is dialled.
 */
#ifndef NETNS_GATE_DIAL_H
#define NETNS_GATE_DIAL_H

#include "netns/gate_resolve.h"
#include "netns/gate_route.h"

struct gate_dial;

/* What all dials share. Zero-initialised, then filled. */
struct gate_dialer {
	struct gate_loop *loop;
	struct gate_groups *groups;
	struct gate_resolver *resolver;
	int route_fd;
	unsigned lookup_timeout_ms;
	unsigned connect_timeout_ms;
	size_t attempts_max; /* half-open sockets, all dials together */
	size_t attempts;
	TAILQ_HEAD(gate_dial_list, gate_dial) waiting; /* for a free attempt */
	struct gate_dial_list passed_over;	       /* while others are woken; else empty */
	struct gate_task wake;
};

void gate_dialer_init(struct gate_dialer *dialer);

struct gate_dial_request {
	const char *name;	       /* for the resolver; borrowed while dialling */
	const struct address *address; /* in place of resolving, or NULL; copied */
	struct gate_group *group;      /* borrowed while dialling */
	uint16_t port;
	bool allow_private;
	bool is_named; /* the route's `address` says it: dialled whatever it is */
};

struct gate_dial_result {
	int fd;		     /* connected, non-blocking, the callee's; -1: failed */
	const char *verdict; /* "deny" or "error" */
	const char *reason;
	const char *detail;		/* or NULL; valid during the call */
	const struct address *ip;	/* the one dialled or refused, or NULL */
	uint32_t lookup_us, connect_us; /* how long each took; 0: not come to */
};

typedef void gate_dial_done(void *ctx, const struct gate_dial_result *result);

/* Starts; `done` is called once, never before this has returned, unless gate_dial_cancel came first.
 * NULL without memory. The dial is gone once `done` returns. */
struct gate_dial *gate_dial_start(struct gate_dialer *dialer,
				  const struct gate_dial_request *request, gate_dial_done *done,
				  void *ctx);
void gate_dial_cancel(struct gate_dial *dial);

/* RFC 8305 §4: the order is kept within each family, the families take turns, beginning with the
 * first one's. Exported for its test. */
void gate_dial_interleave(struct address *ips, size_t count);

#endif
