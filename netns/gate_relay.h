/* SPDX-License-Identifier: Apache-2.0
 *
 * Relaying two connected TCP sockets by splice(2): no byte is copied to user space, half-closes are
 * kept both ways, a reset on one side is a reset on the other, after the bytes that came before it.
 */
#ifndef NETNS_GATE_RELAY_H
#define NETNS_GATE_RELAY_H

#include "netns/gate_loop.h"

enum { GATE_PIPES_SPARE = 32 };

/* Pipes are lent to a direction only while it has bytes in flight, so an idle connection holds none.
 * Zero-initialised. */
struct gate_pipes {
	int spare[GATE_PIPES_SPARE][2];
	size_t count;
	size_t open; /* spare and lent */
};

void gate_pipes_clear(struct gate_pipes *pipes);

struct gate_flow {
	int pipe[2];	/* -1, -1: none */
	size_t piped;	/* bytes in it */
	bool has_ended; /* the source said FIN */
	bool is_shut;	/* and the sink was told, or cannot be any more */
};

struct gate_relay;

struct gate_end {
	struct gate_source source;
	struct gate_relay *relay;
	int fd; /* owned */
};

/* Embedded in the connection. */
struct gate_relay {
	struct gate_loop *loop;
	struct gate_pipes *pipes;
	struct gate_end ends[2];   /* 0: the bottle's side, 1: the upstream's */
	struct gate_flow flows[2]; /* flows[i] leaves ends[i] */
	struct gate_task again;
	int error;	 /* the errno of the end that broke; 0: both are sound */
	int broken;	 /* which: what it had sent is still delivered */
	bool is_flushed; /* and all of it is the kernel's */
	struct gate_timer limit;
	/* Both sockets are closed. `error` is 0 or the errno of the side that broke. */
	void (*done)(struct gate_relay *relay, int error);
};

/* Takes both descriptors, which are non-blocking, in every case. `done` is not called before this has
 * returned; a negative return means that it will not be. */
int gate_relay_start(struct gate_relay *relay, struct gate_loop *loop, struct gate_pipes *pipes,
		     int client_fd, int upstream_fd,
		     void (*done)(struct gate_relay *relay, int error)) MUST_CHECK;

/* Ends it from outside: both sides are reset. `done` is not called. */
void gate_relay_abort(struct gate_relay *relay);

/* Closes a socket so that its peer gets RST. */
void gate_reset(int *fd);

/* What every connection into the network is given: no delay, and probes that notice a peer that is gone. */
void gate_relay_tune(int fd);

#endif
