/* SPDX-License-Identifier: Apache-2.0
 *
 * What `bottle doctor` tries, one function each. Each runs in a forked child, may change its own
 * namespaces and powers as it likes, and leaves nothing behind.
 */
#ifndef RUNTIME_DOCTOR_CHECKS_H
#define RUNTIME_DOCTOR_CHECKS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "runtime/host.h"

enum { DOCTOR_NO_STEP = -1 };

struct doctor_check {
	const char *name;
	bool is_needed; /* else a failure is only a warning */
	/* Returns 0 with what was seen in `said`, 1 for "works, but" with the but in it, or -errno with a
	 * sentence. Before it tries what a host can refuse it says so in *ret_step. */
	int (*run)(int *ret_step, struct err *said);
};

extern const struct doctor_check doctor_checks[];
extern const size_t doctor_check_count;

#endif
