/* SPDX-License-Identifier: Apache-2.0
 * The plan's part of the namespaces backend; see backend.h. */
#ifndef RUNTIME_PLAN_NAMESPACES_H
#define RUNTIME_PLAN_NAMESPACES_H

#include <stddef.h>
#include <sys/resource.h>

#include "runtime/plan.h"

/* The descriptors that a run must be allowed: those that launcher, init or a reaper hold at once, a listener
 * for each port and, in the agent's last step, one for each writable path. */
rlim_t plan_open_files(size_t ports, size_t writable);

/* Of the simplest run: one port, one work folder. `bottle doctor` asks for it. */
rlim_t plan_open_files_simplest(void);

/* The processes of the simplest run that asks for one name: launcher, two relays, init, gate, its resolver
 * and a helper of that, two reapers, the proxy, its signer, the command. */
enum { PLAN_PROCESSES_LEAST = 12 };

int plan_namespaces(struct plan *plan, const struct run_options *options,
		    const struct plan_dirs *dirs, struct err *err) MUST_CHECK;
void plan_namespaces_clear(struct plan *plan);

#endif
