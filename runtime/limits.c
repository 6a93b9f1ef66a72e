/* SPDX-License-Identifier: Apache-2.0
 *
 * What holds each limit, and the rlimits; see limits.h. The cgroup is in limits_cgroup.c.
 *
 * Runs in: launcher (the plan), the child that becomes the program (limits_apply_self).
 * Power: none; a hard limit is only ever lowered.
 *
 * RLIMIT_NPROC inside a user namespace. Since Linux 5.14 it is counted for each pair of user namespace
 * and uid, and in every namespace above against the limit that held when the namespace below was
 * made. So set inside the agent's own namespace it counts the agent's processes and threads and
 * nobody else's, although its kernel uid is the caller's; and a namespace that the agent makes
 * inherits it. Set before the namespace is made it would count all processes of the caller. As they count
 * above as well, the agent gets at most half of the caller's own limit, or it could take all of that.
 *
 * RLIMIT_SIGPENDING and RLIMIT_MSGQUEUE are counted in the namespaces above in the same way: queued signals
 * (and every POSIX timer has one) and the bytes of POSIX message queues. A quarter of each is the agent's.
 *
 * RLIMIT_RTPRIO and RLIMIT_NICE let the user of a desktop's audio group have real-time priority without any
 * capability: an agent with it would starve those who watch it.
 *
 * RLIMIT_DATA rather than RLIMIT_AS for memory: V8, the JVM, Go and sanitizers reserve address
 * space by the gigabyte without using it, and RLIMIT_AS counts reservations; RLIMIT_DATA counts
 * private writable mappings only (since Linux 4.7). Either holds for each process alone.
 *
 * RLIMIT_NOFILE and descriptors in flight. The kernel counts what is in flight over unix sockets for
 * each user of the host, and refuses to send (ETOOMANYREFS) where that exceeds the sender's own soft
 * limit (unix(7)). An agent under the caller's uid shares the count with the launcher and gate of every
 * other bottle of the caller. So it gets half of the hard limit, and they raise theirs to the whole of
 * it: it cannot put as many in flight as would stop them. One message carries 253, so below 1024 half
 * would be no margin, and too few for the start of the agent besides: there it gets all.
 *
 * RLIMIT_CORE is 1, not 0: where core_pattern names a program, the kernel pipes the core to it whatever
 * the limit says, and 1 alone stops that (core(5)); into a file a core of one byte is none. A hard limit
 * of 0 that came from outside stays; there, and where a kernel hands cores to a socket (Linux 6.16),
 * the filter of secrets_no_dump() leaves all memory out.
 *
 * The defaults. Without any a plain program fills the host's memory: what lies in a tmpfs is nobody's,
 * and killing processes does not free it. The agent has six that it can fill; a tenth of the memory
 * for each, and a quarter of that again for the inodes of each (mounts.c), leaves the host a quarter.
 * Their sum with the processes' own memory is held only by a memory cgroup. A default for processes is
 * always an rlimit's: a cgroup costs some milliseconds of each start.
 */
#include "runtime/limits.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"

#define DEFAULT_TMP_MAX_BYTES (UINT64_C(2) << 30)
enum {
	DEFAULT_TMP_MEMORY_PART = 10,
	DEFAULT_PIDS = 4096,
	AGENT_FILES_PART = 2,
	AGENT_PIDS_PART = 2,
	AGENT_QUEUED_PART = 4,
	SHARED_FILES_MIN = 1024
};

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
		"limits.memory holds for each process alone, not for their sum, and not for memory "
		"files (memfd_create) and shared mappings: no memory cgroup was delegated to you%s",
		limits_scope_helps("", getenv("XDG_RUNTIME_DIR"))
			? "; start bottle with `systemd-run --user --scope -p Delegate=yes` to get "
			  "one"
			: "");
}

static int warn_cpu(struct limits_plan *plan)
{
	if (!plan->limits.cpu_milli || (plan->by_cgroup & LIMITS_CPU))
		return 0;
	return strlist_addf(&plan->warnings,
			    "limits.cpu cannot be enforced: no cpu cgroup was delegated to you; an "
			    "administrator adds `Delegate=cpu` to user@.service");
}

static uint64_t default_tmp_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
	uint64_t part = (uint64_t)pages * (uint64_t)page_bytes / DEFAULT_TMP_MEMORY_PART;

	return pages > 0 && page_bytes > 0 ? MIN(part, DEFAULT_TMP_MAX_BYTES)
					   : DEFAULT_TMP_MAX_BYTES;
}

static int warn_if_less(struct limits_plan *plan, const char *key, uint64_t most, uint64_t wanted,
			const char *whose, struct err *err)
{
	if (wanted <= most ||
	    strlist_addf(&plan->warnings,
			 "limits.%s is %llu, not %llu: the agent gets at most half "
			 "of your own %s",
			 key, (unsigned long long)most, (unsigned long long)wanted, whose) == 0)
		return 0;
	return err_set(err, ENOMEM, "out of memory");
}

/* What the agent may open: asked for or not, at most its part of the hard limit. */
static int plan_files(struct limits_plan *plan, struct err *err)
{
	const uint64_t wanted = plan->limits.open_files;
	struct rlimit own;
	uint64_t most;

	if (getrlimit(RLIMIT_NOFILE, &own) < 0)
		return err_sys(err, errno, "cannot read the limit RLIMIT_NOFILE");
	most = own.rlim_max < SHARED_FILES_MIN ? own.rlim_max : own.rlim_max / AGENT_FILES_PART;
	plan->files_hard = wanted ? MIN(wanted, most) : most;
	plan->files_soft = wanted ? plan->files_hard : MIN(own.rlim_cur, most);
	return warn_if_less(plan, "open_files", most, wanted, "hard limit (`ulimit -Hn`)", err);
}

/* Root of the host is bound by no RLIMIT_NPROC. */
static int plan_pids(struct limits_plan *plan, struct err *err)
{
	const uint64_t wanted = plan->limits.pids;
	struct rlimit own;
	uint64_t most;

	if (getrlimit(RLIMIT_NPROC, &own) < 0)
		return err_sys(err, errno, "cannot read the limit RLIMIT_NPROC");
	most = geteuid() == 0 || own.rlim_cur == RLIM_INFINITY ? UINT64_MAX
							       : own.rlim_cur / AGENT_PIDS_PART;
	plan->limits.pids = MIN(wanted ? wanted : DEFAULT_PIDS, most);
	return warn_if_less(plan, "pids", most, wanted, "limit (`ulimit -u`)", err);
}

int limits_plan(const struct limits *limits, const struct limits_cgroup *cgroup,
		struct limits_plan *ret_plan, struct err *err)
{
	cleanup_with(limits_plan_clear) struct limits_plan plan = { .limits = *limits };
	unsigned wanted = (limits->memory_bytes ? LIMITS_MEMORY : 0) |
			  (limits->pids ? LIMITS_PIDS : 0) | (limits->cpu_milli ? LIMITS_CPU : 0);

	if (cgroup && cgroup->parent[0] && (cgroup->controllers & wanted)) {
		plan.cgroup = *cgroup;
		plan.by_cgroup = cgroup->controllers & wanted;
	}
	if (!plan.limits.tmp_bytes)
		plan.limits.tmp_bytes = default_tmp_bytes();
	plan.pids_by_rlimit = !(plan.by_cgroup & LIMITS_PIDS);
	if (warn_memory(&plan) < 0 || warn_cpu(&plan) < 0)
		return err_set(err, ENOMEM, "out of memory");
	TRY(plan_pids(&plan, err));
	TRY(plan_files(&plan, err));
	*ret_plan = plan;
	plan.warnings = (struct strlist){ 0 };
	return 0;
}

/* Never raises the hard limit, and reads back. */
static int set_limit(int resource, const char *name, struct rlimit want, struct err *err)
{
	struct rlimit now, after;

	if (getrlimit(resource, &now) < 0)
		return err_sys(err, errno, "cannot read the limit %s", name);
	want.rlim_max = MIN(want.rlim_max, now.rlim_max);
	want.rlim_cur = MIN(want.rlim_cur, want.rlim_max);
	if (setrlimit(resource, &want) < 0)
		return err_sys(err, errno, "cannot set the limit %s", name);
	if (getrlimit(resource, &after) < 0 || after.rlim_cur != want.rlim_cur ||
	    after.rlim_max != want.rlim_max)
		return err_set(err, EPROTO, "the limit %s does not read back as set", name);
	return 0;
}

/* Soft and hard alike, to `value` or the hard limit. */
static int set_both(int resource, const char *name, rlim_t value, struct err *err)
{
	return set_limit(resource, name, (struct rlimit){ value, value }, err);
}

int limits_no_core(struct err *err)
{
	return set_both(RLIMIT_CORE, "RLIMIT_CORE", LIMITS_CORE_NONE, err);
}

int limits_raise_own(struct err *err)
{
	return set_both(RLIMIT_NOFILE, "RLIMIT_NOFILE", RLIM_INFINITY, err);
}

static int set_part(int resource, const char *name, rlim_t part, struct err *err)
{
	struct rlimit own;

	if (getrlimit(resource, &own) < 0)
		return err_sys(err, errno, "cannot read the limit %s", name);
	return own.rlim_max == RLIM_INFINITY ? 0
					     : set_both(resource, name, own.rlim_max / part, err);
}

/* Who was started with real-time priority would have the agent inherit it. */
static int leave_real_time(struct err *err)
{
	const struct sched_param none = { 0 };
	int policy = sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;

	TRY(set_both(RLIMIT_RTPRIO, "RLIMIT_RTPRIO", 0, err));
	TRY(set_both(RLIMIT_NICE, "RLIMIT_NICE", 0, err));
	if (policy != SCHED_FIFO && policy != SCHED_RR)
		return 0;
	return sched_setscheduler(0, SCHED_OTHER, &none) < 0
		       ? err_sys(err, errno, "leave real-time scheduling")
		       : 0;
}

int limits_apply_self(const struct limits_plan *plan, struct err *err)
{
	const struct limits *limits = &plan->limits;

	TRY(limits_no_core(err));
	TRY(leave_real_time(err));
	TRY(set_part(RLIMIT_SIGPENDING, "RLIMIT_SIGPENDING", AGENT_QUEUED_PART, err));
	TRY(set_part(RLIMIT_MSGQUEUE, "RLIMIT_MSGQUEUE", AGENT_QUEUED_PART, err));
	TRY(set_limit(RLIMIT_NOFILE, "RLIMIT_NOFILE",
		      (struct rlimit){ plan->files_soft, plan->files_hard }, err));
	if (plan->pids_by_rlimit)
		TRY(set_both(RLIMIT_NPROC, "RLIMIT_NPROC", limits->pids, err));
	if (plan->memory_by_rlimit)
		TRY(set_both(RLIMIT_DATA, "RLIMIT_DATA", limits->memory_bytes, err));
	return 0;
}
