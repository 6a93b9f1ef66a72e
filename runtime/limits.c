/* SPDX-License-Identifier: Apache-2.0
 *
 * What holds each limit, and the rlimits; see limits.h. The cgroup is in limits_cgroup.c.
 *
 * Runs in: launcher (the plan), the child that becomes the program (limits_apply_self).
 * Power: none; a limit is only ever lowered.
 *
 * RLIMIT_NPROC inside a user namespace. Since Linux 5.14 it is counted for each pair of user namespace
 * and uid, and in every namespace above against the limit that held when the namespace below was
 * made. So set inside the agent's own namespace it counts the agent's processes and threads and
 * nobody else's, although its kernel uid is the caller's; and a namespace that the agent makes
 * inherits it. Set before the namespace is made it would count all processes of the caller.
 *
 * RLIMIT_DATA rather than RLIMIT_AS for memory: V8, the JVM, Go and sanitizers reserve address
 * space by the gigabyte without using it, and RLIMIT_AS counts reservations; RLIMIT_DATA counts
 * private writable mappings only (since Linux 4.7). Either holds for each process alone.
 */
#include "runtime/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

void limits_plan_clear(struct limits_plan *plan)
{
	strlist_clear(&plan->warnings);
}

static int warn_memory(struct limits_plan *plan)
{
	if (!plan->limits.memory_bytes || (plan->by_cgroup & LIMITS_MEMORY))
		return 0;
	plan->memory_by_rlimit = true;
	return strlist_addf(
		&plan->warnings,
		"limits.memory holds for each process alone, not for their sum: no memory "
		"cgroup was delegated to you; start bottle with `systemd-run --user --scope "
		"-p Delegate=yes` to get one");
}

static int warn_pids(struct limits_plan *plan)
{
	if (!plan->limits.pids || (plan->by_cgroup & LIMITS_PIDS))
		return 0;
	plan->pids_by_rlimit = true;
	return 0;
}

static int warn_cpu(struct limits_plan *plan)
{
	if (!plan->limits.cpu_milli || (plan->by_cgroup & LIMITS_CPU))
		return 0;
	return strlist_addf(&plan->warnings,
			    "limits.cpu cannot be enforced: no cpu cgroup was delegated to you; an "
			    "administrator adds `Delegate=cpu` to user@.service");
}

int limits_plan(const struct limits *limits, const struct limits_cgroup *cgroup,
		struct limits_plan *ret_plan, struct err *err)
{
	struct limits_plan plan = { .limits = *limits };
	unsigned wanted = (limits->memory_bytes ? LIMITS_MEMORY : 0) |
			  (limits->pids ? LIMITS_PIDS : 0) | (limits->cpu_milli ? LIMITS_CPU : 0);

	if (cgroup && cgroup->parent[0] && (cgroup->controllers & wanted)) {
		plan.cgroup = *cgroup;
		plan.by_cgroup = cgroup->controllers & wanted;
	}
	if (warn_memory(&plan) < 0 || warn_pids(&plan) < 0 || warn_cpu(&plan) < 0) {
		limits_plan_clear(&plan);
		return err_set(err, ENOMEM, "out of memory");
	}
	*ret_plan = plan;
	return 0;
}

/* Lowers soft and hard alike to `value`, never raises, and reads back. */
static int lower(int resource, const char *name, rlim_t value, struct err *err)
{
	struct rlimit now, after;

	if (getrlimit(resource, &now) < 0)
		return err_sys(err, errno, "cannot read the limit %s", name);
	if (now.rlim_max < value)
		value = now.rlim_max;
	now.rlim_cur = now.rlim_max = value;
	if (setrlimit(resource, &now) < 0)
		return err_sys(err, errno, "cannot set the limit %s", name);
	if (getrlimit(resource, &after) < 0 || after.rlim_cur != value || after.rlim_max != value)
		return err_set(err, EPROTO, "the limit %s does not read back as set", name);
	return 0;
}

int limits_no_core(struct err *err)
{
	return lower(RLIMIT_CORE, "RLIMIT_CORE", 0, err);
}

int limits_apply_self(const struct limits_plan *plan, struct err *err)
{
	const struct limits *limits = &plan->limits;

	TRY(limits_no_core(err));
	if (limits->open_files)
		TRY(lower(RLIMIT_NOFILE, "RLIMIT_NOFILE", limits->open_files, err));
	if (plan->pids_by_rlimit)
		TRY(lower(RLIMIT_NPROC, "RLIMIT_NPROC", limits->pids, err));
	if (plan->memory_by_rlimit)
		TRY(lower(RLIMIT_DATA, "RLIMIT_DATA", limits->memory_bytes, err));
	return 0;
}
