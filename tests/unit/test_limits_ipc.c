/* SPDX-License-Identifier: Apache-2.0
 * runtime/limits_ipc.c: in children, in an IPC namespace of their own. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

#include "runtime/idmap.h"
#include "runtime/limits.h"
#include "tests/lib/in_child.h"

static int complain(const char *what, const struct err *err)
{
	fprintf(stderr, "%s: %s\n", what, err->text);
	return 1;
}

/* Makes the agent's IPC namespace below one that plays U1, and bounds it. */
static int enter_bounded_ipc(const struct limits *limits)
{
	const struct idmap_single u1 = { 0, geteuid(), 0, getegid() };
	const struct idmap_role role = { .inside_uid = 1000, .inside_gid = 1000 };
	const struct limits_plan plan = { .limits = *limits };
	struct err err = { "" };

	if (unshare(CLONE_NEWUSER | CLONE_NEWIPC) < 0)
		return IN_CHILD_SKIP;
	if (idmap_write_single(AT_FDCWD, 0, &u1, &err) < 0)
		return complain("U1", &err);
	if (access("/proc/sys/kernel/shmall", W_OK) < 0)
		return IN_CHILD_SKIP;
	if (limits_bound_ipc(&plan, AT_FDCWD, &err) < 0 ||
	    idmap_enter_role(AT_FDCWD, &role, &err) < 0)
		return complain("bound", &err);
	return 0;
}

static int ipc_child(void *arg)
{
	int rc = enter_bounded_ipc(arg), count = 0;

	if (rc)
		return rc;
	CHILD_CHECK(shmget(IPC_PRIVATE, 6 << 20, 0600) >= 0);
	CHILD_CHECK(shmget(IPC_PRIVATE, 6 << 20, 0600) < 0 && errno == ENOSPC);
	CHILD_CHECK(shmget(IPC_PRIVATE, 1 << 20, 0600) >= 0);
	CHILD_CHECK(semget(IPC_PRIVATE, 251, 0600) < 0 && errno == EINVAL);
	CHILD_CHECK(semget(IPC_PRIVATE, 17, 0600) >= 0); /* PostgreSQL's sets */
	while (count < 100 && msgget(IPC_PRIVATE, 0600) >= 0)
		count++;
	CHILD_CHECK(count == 64);
	return 0;
}

static void assert_ipc(struct limits *limits)
{
	int rc = in_child(ipc_child, limits);

	if (rc == IN_CHILD_SKIP)
		cr_skip_test("no IPC namespace whose limits may be written");
	cr_assert_eq(rc, 0, "child: %d", rc);
}

Test(limits_ipc, system_v_shared_memory_is_bounded_by_the_memory)
{
	assert_ipc(&(struct limits){ .memory_bytes = 8 << 20, .tmp_bytes = 1ULL << 30 });
}

Test(limits_ipc, system_v_shared_memory_is_bounded_by_default)
{
	assert_ipc(&(struct limits){ .tmp_bytes = 32 << 20 });
}
