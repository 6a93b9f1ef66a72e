/* SPDX-License-Identifier: Apache-2.0
 * What is told when a run is over, in every backend: guarded files that changed, and the summary of refused
 * requests. Runs in: launcher; it prints, as run.c does. */
#ifndef RUNTIME_REPORT_H
#define RUNTIME_REPORT_H

#include "runtime/audit.h"
#include "runtime/plan.h"

void report_end(const struct plan *plan, const struct audit *audit, bool a_guard_was_lost);

#endif
