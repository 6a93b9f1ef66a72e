/* SPDX-License-Identifier: Apache-2.0
 * The test helper itself: a status, a signal and a hang are told apart. */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/in_child.h"

static int give_status(void *arg)
{
	return *(int *)arg;
}

static int die(void *arg)
{
	return raise(*(int *)arg);
}

/* Leaves a grandchild that holds on; the time limit must end it too. */
static int hang(void *arg)
{
	int *alive_fd = arg;

	close(alive_fd[0]);
	if (fork() < 0)
		return 1;
	for (;;)
		pause();
}

static int new_userns(void *arg)
{
	(void)arg;
	return unshare(CLONE_NEWUSER) < 0 ? errno : 0;
}

Test(in_child, gives_the_exit_status)
{
	int zero = 0, nine = 9;

	cr_assert_eq(in_child(give_status, &zero), 0);
	cr_assert_eq(in_child(give_status, &nine), 9);
}

Test(in_child, gives_the_signal)
{
	int sig = SIGSEGV;

	cr_assert_eq(in_child(die, &sig), 128 + SIGSEGV);
}

Test(in_child, ends_a_hang_and_its_children)
{
	int alive[2];
	char byte;

	cr_assert_eq(pipe(alive), 0);
	cr_assert_eq(in_child_for(100, hang, alive), -ETIMEDOUT);
	close(alive[1]);
	cr_assert_eq(read(alive[0], &byte, 1), 0, "a grandchild still holds the pipe");
}

Test(in_child, may_make_a_user_namespace)
{
	int rc = in_child(new_userns, NULL);

	if (rc == EPERM || rc == ENOSYS || rc == ENOSPC)
		cr_skip_test("no user namespaces on this host");
	cr_assert_eq(rc, 0, "unshare in a single-threaded child: errno %d", rc);
}
