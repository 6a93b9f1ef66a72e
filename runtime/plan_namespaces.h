/* SPDX-License-Identifier: Apache-2.0
 * The plan's part of the namespaces backend; see backend.h. */
#ifndef RUNTIME_PLAN_NAMESPACES_H
#define RUNTIME_PLAN_NAMESPACES_H

#include "runtime/plan.h"

/* Descriptors that launcher, init or a reaper hold at once, besides a listener for each port and, in
 * the agent's last step, one for each writable path. 60 were enough for one port. */
enum { PLAN_OPEN_FILES_LEAST = 128 };

int plan_namespaces(struct plan *plan, const struct run_options *options,
		    const struct plan_dirs *dirs, struct err *err) MUST_CHECK;
void plan_namespaces_clear(struct plan *plan);

#endif
