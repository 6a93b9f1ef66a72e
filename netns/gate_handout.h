/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections that are handed over: a proxy that knows the gate asks for (name, port) and is given the
 * connected socket itself, so that no byte is relayed. base/gate_wire.h has the messages.
 *
 * Such a socket belongs to the host's network. The gate gives it to whoever holds the other end; that
 * only a proxy holds it that can do nothing with a socket but use it, is the runtime's business
 * (SECCOMP_PROXY_HANDED).
 */
#ifndef NETNS_GATE_HANDOUT_H
#define NETNS_GATE_HANDOUT_H

#include <stdint.h>
#include <sys/queue.h>

#include "netns/gate_loop.h"

enum { GATE_HANDOUT_BUCKETS = 256 };

struct gate;
struct gate_handout;

/* The channel and what was asked for on it. */
struct gate_handouts {
	struct gate_source source;
	int fd; /* -1: there is none, or no more */
	LIST_HEAD(gate_handout_bucket, gate_handout) buckets[GATE_HANDOUT_BUCKETS]; /* by id */
	TAILQ_HEAD(gate_handout_line, gate_handout) line; /* answered; the socket has no room */
	struct gate_timer resume;			  /* out of accepts: read on then */
};

/* Takes the descriptor, -1: none. Before anything is served. */
int gate_handouts_init(struct gate *gate, int fd) MUST_CHECK;

/* Into the loop; after the confinement. */
int gate_handouts_start(struct gate *gate) MUST_CHECK;

/* Ends the channel and all that is under way on it. */
void gate_handouts_close(struct gate *gate);

#endif
