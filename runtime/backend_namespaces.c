/* SPDX-License-Identifier: Apache-2.0
 * The namespaces backend; see backend.h. Runs in: the launcher and the subcommands. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/backend.h"
#include "runtime/host.h"
#include "runtime/limits.h"
#include "runtime/plan_namespaces.h"
#include "runtime/run.h"

static int end_at_once(void *ignored)
{
	(void)ignored;
	return 0;
}

/* A user namespace, and in it a power over another namespace: AppArmor may give the first without the
 * second. Nothing is left of it. The child borrows our memory as vfork(2)'s does: nothing is copied. */
static int try_namespaces(void)
{
	enum { STACK_BYTES = 16 << 10 };
	static _Alignas(16) char stack[STACK_BYTES];
	const int flags = CLONE_NEWUSER | CLONE_NEWUTS | CLONE_VM | CLONE_VFORK | SIGCHLD;
	pid_t pid = clone(end_at_once, stack + STACK_BYTES, flags, NULL);

	if (pid < 0)
		return -errno;
	while (waitpid(pid, NULL, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

static int check(struct err *err)
{
	struct host_facts facts;
	int rc;

	TRY(host_probe(&facts, err));
	rc = try_namespaces();
	if (rc == 0)
		return 0;
	err_set(err, -rc, "this host makes no user namespace: %s", strerror(-rc));
	return host_explain(HOST_STEP_USERNS, -rc, err);
}

/* Processes, mounts and links of a dead launcher are gone with it; its control group is not. */
static int clean(const char *name, struct cleaned *cleaned, struct err *err)
{
	struct host_facts facts;
	int swept;

	if (name) /* they bear no name, and are swept together */
		return 0;
	TRY(host_probe(&facts, err));
	swept = limits_cgroup_sweep(&facts.cgroup, err);
	cleaned->count += swept > 0 ? (size_t)swept : 0;
	return swept < 0 ? swept : 0;
}

const struct backend backend_namespaces = {
	.name = "namespaces",
	.check = check,
	.plan = plan_namespaces,
	.plan_clear = plan_namespaces_clear,
	.run = run_plan,
	.clean = clean,
};
