/* SPDX-License-Identifier: Apache-2.0
 * The parts of plan_agent.c. */
#ifndef RUNTIME_PLAN_AGENT_H
#define RUNTIME_PLAN_AGENT_H

#include "runtime/plan.h"

/* plan_binds.c: the work folder and the manifest's read_only and read_write paths, checked; what is
 * guarded in the work folder; sockets masked. Sets plan->work_folder. */
int plan_agent_binds(struct plan *plan, const char *workdir_option, const struct plan_dirs *dirs,
		     struct err *err) MUST_CHECK;

/* plan_sockets.c: unix sockets below `folder` → *ret_paths. Bounded: *ret_complete tells whether all
 * of it was looked at. */
int plan_find_sockets(const char *folder, struct strlist *ret_paths, bool *ret_complete) MUST_CHECK;

#endif
