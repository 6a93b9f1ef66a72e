/* SPDX-License-Identifier: Apache-2.0
 *
 * What a bottle is made with: namespaces, or Docker. A backend is a table of functions; what stands above
 * it (options, manifest, the common part of the plan) does not know which one it is.
 *
 * Runs in: the launcher and the subcommands.
 */
#ifndef RUNTIME_BACKEND_H
#define RUNTIME_BACKEND_H

#include <stdbool.h>

#include "runtime/plan.h"
#include "runtime/timing.h"

/* What `bottle stop` and `bottle prune` have to tell. */
struct cleaned {
	size_t count;		 /* how many things there were */
	struct strlist warnings; /* what should be gone and stays: a failure */
	struct strlist notes;	 /* what was left on purpose: none */
};

struct backend {
	const char *name;

	/* 0 where a bottle can be made with it here; else why not. Changes nothing. */
	int (*check)(struct err *err);

	/* Its part of the plan, and what of it must be given back. */
	int (*plan)(struct plan *plan, const struct run_options *options,
		    const struct plan_dirs *dirs, struct err *err);
	void (*plan_clear)(struct plan *plan);

	/* Carries the plan out; returns the exit status. Errors are printed. */
	int (*run)(const struct plan *plan, struct timings *timings);

	/* Removes what dead launchers left: all of it, or that of bottles of this name. What is missing is
	 * success. -ENOENT: what this backend works with is not installed; -ENOTCONN: it does not answer. */
	int (*clean)(const char *name, struct cleaned *cleaned, struct err *err);
};

extern const struct backend backend_namespaces; /* not in a bottle of `make DOCKER_ONLY=1` */
extern const struct backend backend_docker;

/* `word` is that of `what`, --backend or BOTTLE_BACKEND: NULL, "auto" or a name. With auto, the first that works
 * here, and *ret_why is why the one before it does not (else ""). */
int backend_choose(const char *word, const char *what, const struct backend **ret_backend,
		   struct err *ret_why, struct err *err) MUST_CHECK;

/* One after the other; NULL at the end. */
const struct backend *backend_at(size_t i);

#endif
