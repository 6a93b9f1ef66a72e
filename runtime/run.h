/* SPDX-License-Identifier: Apache-2.0
 * One run of a plan. */
#ifndef RUNTIME_RUN_H
#define RUNTIME_RUN_H

#include "runtime/session.h"
#include "runtime/state.h"
#include "runtime/timing.h"

struct run {
	struct session session;
	struct state state;
	struct state_run folder;
	int cgroup_fd;
	struct timings timings;
	struct strlist warnings; /* of the end and the sweep */
};

/* Carries the plan out; returns the exit status. Errors are printed. */
int run_plan(const struct plan *plan, struct timings *timings);

#endif
