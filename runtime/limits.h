/* SPDX-License-Identifier: Apache-2.0
 *
 * The manifest's `limits`: by a cgroup v2 of the bottle's own where the caller has a delegated one,
 * else by rlimits, with a warning for each that can then not be held as stated.
 *
 * The cgroup is a folder "bottle-<run id>" beside the launcher's own. Its life is held by a flock on
 * the folder: the launcher removes it at the end, and after a killed launcher the next run's sweep
 * does. Nothing else is left on the host.
 */
#ifndef RUNTIME_LIMITS_H
#define RUNTIME_LIMITS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"
#include "config/manifest.h"

/* Controllers, as bits. */
enum { LIMITS_MEMORY = 1, LIMITS_PIDS = 2, LIMITS_CPU = 4 };

/* A delegated place for cgroups, found by limits_find_cgroup(). */
struct limits_cgroup {
	char parent[PATH_MAX]; /* absolute path, "" when there is none */
	unsigned controllers;  /* LIMITS_* bits that children of `parent` get */
};

struct limits_plan {
	struct limits limits; /* with the defaults for tmp_bytes and pids */
	uint64_t files_soft;  /* the agent's RLIMIT_NOFILE, not limits.open_files */
	uint64_t files_hard;
	struct limits_cgroup cgroup; /* parent "": rlimits only */
	unsigned by_cgroup;	     /* LIMITS_* bits held by the cgroup */
	bool memory_by_rlimit;	     /* RLIMIT_DATA, for each process alone */
	bool pids_by_rlimit;	     /* RLIMIT_NPROC, counted in the agent's own user namespace */
	struct strlist warnings;     /* one sentence each */
};
void limits_plan_clear(struct limits_plan *plan);

/* Looks for the nearest folder above the caller's own cgroup in which it may make children that get
 * controllers. `root` is "" (or, in tests, a folder that holds proc/self/cgroup,
 * proc/self/mountinfo and the cgroup tree). Finding none is no error. */
int limits_find_cgroup(const char *root, struct limits_cgroup *ret_cgroup,
		       struct err *err) MUST_CHECK;

/* Whether `systemd-run --user --scope` can give a memory cgroup here: the kernel's memory controller is on
 * cgroup2, and a user manager answers at `runtime_dir`/bus ($XDG_RUNTIME_DIR; NULL: none). `root` as above. */
bool limits_scope_helps(const char *root, const char *runtime_dir);

/* What holds each limit, and the defaults: for these it reads the machine's memory and the launcher's
 * RLIMIT_NOFILE, so it comes before limits_raise_own. `cgroup` may be NULL. */
int limits_plan(const struct limits *limits, const struct limits_cgroup *cgroup,
		struct limits_plan *ret_plan, struct err *err) MUST_CHECK;

/* Launcher: makes the cgroup (nothing to do: *ret_fd = -1), locks it, writes its limits. The
 * descriptor is the lock: keep it until the end. */
int limits_cgroup_create(const struct limits_plan *plan, const char *run_id, int *ret_fd,
			 struct err *err) MUST_CHECK;
/* Writes the plan's limits into an existing cgroup folder and reads them back (create does this). */
int limits_cgroup_set(const struct limits_plan *plan, int cgroup_fd, struct err *err) MUST_CHECK;
/* Launcher: moves a process (init, before it forks) into it. No-op with -1. */
int limits_cgroup_place(int cgroup_fd, pid_t pid, struct err *err) MUST_CHECK;
/* Launcher, after every process of the bottle has ended: kills stragglers, removes the folder. */
int limits_cgroup_remove(const struct limits_plan *plan, const char *run_id,
			 struct err *err) MUST_CHECK;
/* Removes folders whose lock nobody holds, whatever this run's limits are. Returns how many went, or
 * -errno. */
int limits_cgroup_sweep(const struct limits_cgroup *cgroup, struct err *err) MUST_CHECK;

/* The agent's process, inside its own user namespace (RLIMIT_NPROC counts there), before exec:
 * open files, no core dumps, and what the cgroup does not hold. Read back. */
int limits_apply_self(const struct limits_plan *plan, struct err *err) MUST_CHECK;

/* Bounds what System V IPC may take in the agent's IPC namespace: shared memory together limits.memory, or
 * a quarter of limits.tmp where that is not said, and queues and semaphores a few MiB. These sizes are
 * no process's memory, and stay when it ends. Called with all capabilities of the user namespace that
 * owns the IPC namespace; `proc_fd` as for idmap_enter_role. Linux before 6.9 lets only the host's root
 * write them: there nothing is done. */
int limits_bound_ipc(const struct limits_plan *plan, int proc_fd, struct err *err) MUST_CHECK;

/* Launcher, after the plan and before it forks: its soft RLIMIT_NOFILE becomes the hard one, for itself
 * and for gate, init and proxy, so that no agent's descriptors in flight can keep them from passing
 * theirs. */
int limits_raise_own(struct err *err) MUST_CHECK;

/* No core dump, ever, to a file or to the host's handler (launcher, gate, init, proxy: they hold what must
 * not reach a disk; agent: it must not be what a handler with root's power reads). */
enum { LIMITS_CORE_NONE = 1 };
int limits_no_core(struct err *err) MUST_CHECK;

#endif
