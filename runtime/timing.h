/* SPDX-License-Identifier: Apache-2.0
 * When each phase of a run was reached (`--timings`). */
#ifndef RUNTIME_TIMING_H
#define RUNTIME_TIMING_H

#include <stdint.h>
#include <stdio.h>

#define TIMING_POINTS(X)                                                      \
	X(PLANNED, "planned_us")	  /* manifest read, plan made */      \
	X(FORKED, "forked_us")		  /* relays, gate and init exist */   \
	X(MINTED, "minted_us")		  /* CA and trust stores made */      \
	X(LISTENING, "gate_listening_us") /* the gate has its sockets */      \
	X(PROXY_SPAWN, "proxy_spawn_us")  /* the proxy was told to exec */    \
	X(PROXY_READY, "proxy_ready_us")                                      \
	X(AGENT_BUILT, "agent_built_us") /* root, powers gone, proofs held */ \
	X(AGENT_EXEC, "agent_exec_us")	 /* the agent's exec happened */      \
	X(AGENT_EXIT, "agent_exit_us")                                        \
	X(ENDED, "ended_us") /* every process is gone */

enum timing_point {
#define X(id, name) TIMING_##id,
	TIMING_POINTS(X)
#undef X
		TIMING_COUNT
};

struct timings {
	int64_t start_ns;
	int64_t at_ns[TIMING_COUNT];
};

void timing_start(struct timings *timings);
void timing_mark(struct timings *timings, enum timing_point point);
/* One JSON object on one line: µs since the start, null for what was not reached. */
void timing_print(const struct timings *timings, FILE *out);

#endif
