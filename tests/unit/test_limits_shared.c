/* SPDX-License-Identifier: Apache-2.0
 * runtime/limits.c: what is counted for the caller as well, of which he keeps a part. */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "runtime/limits.h"
#include "tests/lib/in_child.h"

static void assert_child(int (*fn)(void *), const char *skip)
{
	int rc = in_child(fn, NULL);

	if (rc == IN_CHILD_SKIP)
		cr_skip_test("%s", skip);
	cr_assert_eq(rc, 0, "child: %d", rc);
}

/* Beside a hard limit of 2000: half of it is the most, the caller's soft limit the default. */
static int files_child(void *arg)
{
	const struct rlimit own = { 300, 2000 }, tiny = { 64, 64 };
	const struct limits none = { 0 }, some = { .open_files = 400 },
			    many = { .open_files = 1800 };
	cleanup_with(limits_plan_clear) struct limits_plan a = { 0 }, b = { 0 }, c = { 0 },
							   d = { 0 };
	struct rlimit now;

	(void)arg;
	if (setrlimit(RLIMIT_NOFILE, &own) || limits_plan(&none, NULL, &a, NULL) ||
	    limits_plan(&some, NULL, &b, NULL) || limits_plan(&many, NULL, &c, NULL))
		return 1;
	if (a.files_soft != 300 || a.files_hard != 1000 || b.files_soft != 400 ||
	    b.files_hard != 400 || c.files_soft != 1000 || c.files_hard != 1000)
		return 2;
	if (b.warnings.len != 0 || c.warnings.len != 1 ||
	    !strstr(c.warnings.items[0], "limits.open_files is 1000, not 1800"))
		return 3;
	if (limits_raise_own(NULL) || getrlimit(RLIMIT_NOFILE, &now) || now.rlim_cur != 2000 ||
	    now.rlim_max != 2000)
		return 4;
	if (limits_apply_self(&a, NULL) || getrlimit(RLIMIT_NOFILE, &now) || now.rlim_cur != 300 ||
	    now.rlim_max != 1000)
		return 5;
	return setrlimit(RLIMIT_NOFILE, &tiny) || limits_plan(&none, NULL, &d, NULL) ||
	       d.files_hard != 64;
}

Test(limits_shared, the_agent_has_half_of_the_descriptors_and_the_launcher_all)
{
	assert_child(files_child, "");
}

/* What is counted in the namespaces above too must leave the caller a part of his own. */
static int parts_child(void *arg)
{
	static const int quarters[] = { RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE };
	static const int none[] = { RLIMIT_RTPRIO, RLIMIT_NICE };
	const struct rlimit pids = { 500, 600 }, queued = { 300, 400 };
	const struct limits said = { .pids = 499 }, few = { .pids = 40 };
	cleanup_with(limits_plan_clear) struct limits_plan a = { 0 }, b = { 0 }, c = { 0 };
	struct rlimit now;

	(void)arg;
	if (geteuid() == 0 && setresuid(65534, 65534, 65534))
		return 1;
	if (setrlimit(RLIMIT_NPROC, &pids) || limits_plan(&(struct limits){ 0 }, NULL, &a, NULL) ||
	    limits_plan(&said, NULL, &b, NULL) || limits_plan(&few, NULL, &c, NULL))
		return 2;
	if (a.limits.pids != 250 || a.warnings.len || b.limits.pids != 250 || c.limits.pids != 40)
		return 3;
	if (b.warnings.len != 1 || !strstr(b.warnings.items[0], "limits.pids is 250, not 499"))
		return 4;
	for (size_t i = 0; i < 2; i++)
		if (setrlimit(quarters[i], &queued))
			return 5;
	if (limits_apply_self(&c, NULL))
		return 6;
	for (size_t i = 0; i < 2; i++)
		if (getrlimit(quarters[i], &now) || now.rlim_cur != 100 || now.rlim_max != 100)
			return 7;
	for (size_t i = 0; i < 2; i++)
		if (getrlimit(none[i], &now) || now.rlim_cur || now.rlim_max)
			return 8;
	return 0;
}

Test(limits_shared, the_caller_keeps_a_part_of_what_is_counted_for_him)
{
	assert_child(parts_child, "");
}

static int real_time_child(void *arg)
{
	const struct sched_param low = { .sched_priority = 1 };
	struct limits_plan plan = { .files_soft = 64, .files_hard = 64 };

	(void)arg;
	if (sched_setscheduler(0, SCHED_FIFO, &low) < 0)
		return IN_CHILD_SKIP;
	if (geteuid() == 0 && setresuid(65534, 65534, 65534))
		return 1;
	if (limits_apply_self(&plan, NULL) || sched_getscheduler(0) != SCHED_OTHER)
		return 2;
	return sched_setscheduler(0, SCHED_FIFO, &low) == 0 || errno != EPERM ? 3 : 0;
}

Test(limits_shared, real_time_priority_is_left_and_not_had_again)
{
	assert_child(real_time_child, "this user may not have real-time priority");
}
