/* SPDX-License-Identifier: Apache-2.0
 * runtime/limits.c and limits_cgroup.c. The cgroup's files are tested on a made-up tree below a
 * temporary folder, and making, placing and removing on a real cgroup v2 where the test may. */
#include "runtime/limits.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "runtime/idmap.h"
#include "tests/lib/in_child.h"

/* ------------------------------------------------------------------------------------ plan */

static const struct limits all_limits = {
	.memory_bytes = 64 << 20, .pids = 20, .cpu_milli = 1500, .open_files = 100
};

Test(limits, without_a_cgroup_the_plan_warns_of_what_cannot_be_held)
{
	cleanup_with(limits_plan_clear) struct limits_plan plan = { 0 };

	cr_assert_eq(limits_plan(&all_limits, NULL, &plan, NULL), 0);
	cr_assert_eq(plan.by_cgroup, 0);
	cr_assert(plan.memory_by_rlimit && plan.pids_by_rlimit);
	cr_assert_eq(plan.warnings.len, 2);
	cr_assert(strstr(plan.warnings.items[0], "limits.memory"));
	cr_assert(strstr(plan.warnings.items[1], "limits.cpu"));
}

Test(limits, a_cgroup_takes_what_it_can_and_the_rest_falls_back)
{
	const struct limits_cgroup cgroup = { .parent = "/x",
					      .controllers = LIMITS_PIDS | LIMITS_CPU };
	cleanup_with(limits_plan_clear) struct limits_plan plan = { 0 };

	cr_assert_eq(limits_plan(&all_limits, &cgroup, &plan, NULL), 0);
	cr_assert_eq(plan.by_cgroup, LIMITS_PIDS | LIMITS_CPU);
	cr_assert(plan.memory_by_rlimit && !plan.pids_by_rlimit);
	cr_assert_eq(plan.warnings.len, 1);
	cr_assert_str_eq(plan.cgroup.parent, "/x");
}

Test(limits, no_limits_want_no_cgroup_and_warn_of_nothing)
{
	const struct limits_cgroup cgroup = { .parent = "/x", .controllers = LIMITS_MEMORY };
	const struct limits none = { 0 };
	cleanup_with(limits_plan_clear) struct limits_plan plan = { 0 };
	int fd = 99;

	cr_assert_eq(limits_plan(&none, &cgroup, &plan, NULL), 0);
	cr_assert_eq(plan.by_cgroup, 0);
	cr_assert_eq(plan.warnings.len, 0);
	cr_assert_eq(limits_cgroup_create(&plan, "id", &fd, NULL), 0);
	cr_assert_eq(fd, -1);
	cr_assert_eq(limits_cgroup_place(fd, getpid(), NULL), 0);
}

Test(limits, what_is_not_said_has_a_bound)
{
	const struct limits_cgroup cgroup = { .parent = "/x", .controllers = LIMITS_PIDS };
	const struct limits none = { 0 }, own = { .pids = 99, .tmp_bytes = 8ULL << 30 };
	const uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	cleanup_with(limits_plan_clear) struct limits_plan plan = { 0 }, said = { 0 };

	cr_assert_eq(limits_plan(&none, &cgroup, &plan, NULL), 0);
	cr_assert_eq(plan.limits.pids, 4096);
	cr_assert(plan.pids_by_rlimit && !plan.by_cgroup, "the default makes no cgroup");
	cr_assert(plan.limits.tmp_bytes > 0 && plan.limits.tmp_bytes <= 2ULL << 30);
	cr_assert(6 * plan.limits.tmp_bytes <= memory / 4 * 3 + 6);
	cr_assert_eq(limits_plan(&own, &cgroup, &said, NULL), 0);
	cr_assert(said.limits.pids == 99 && said.by_cgroup == LIMITS_PIDS);
	cr_assert(said.limits.tmp_bytes == 8ULL << 30);
}

/* --------------------------------------------------------------------------------- rlimits */

static int complain(const char *what, const struct err *err)
{
	fprintf(stderr, "%s: %s\n", what, err->text);
	return 1;
}

/* The agent's own user namespace, below one that plays U1. */
static int enter_role(void)
{
	const struct idmap_single u1 = { 0, geteuid(), 0, getegid() };
	const struct idmap_role role = { .inside_uid = 1000, .inside_gid = 1000 };
	struct err err = { "" };

	if (unshare(CLONE_NEWUSER) < 0)
		return IN_CHILD_SKIP;
	if (idmap_write_single(AT_FDCWD, 0, &u1, &err) < 0 ||
	    idmap_enter_role(AT_FDCWD, &role, &err) < 0)
		return complain("namespaces", &err);
	return 0;
}

/* Sleeps until its parent dies, which may have happened before the prctl. */
static _Noreturn void sleep_for(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == parent)
		pause();
	_exit(0);
}

/* Forks sleepers until it fails; returns how many there were. */
static int count_forks(int most)
{
	pid_t self = getpid();
	int count = 0;

	for (; count < most; count++) {
		pid_t pid = fork();

		if (pid < 0)
			break;
		if (pid == 0)
			sleep_for(self);
	}
	return count;
}

/* The caller's other processes do not count, and those inside do. Without capabilities: whoever has
 * CAP_SYS_RESOURCE or CAP_SYS_ADMIN in the initial namespace is exempt, and kernel uid 0 always. */
static int pids_child(void *arg)
{
	struct limits_plan plan = {
		.limits = { .pids = 8 }, .files_soft = 64, .files_hard = 64, .pids_by_rlimit = true
	};
	struct err err = { "" };
	int rc, outside, inside;

	(void)arg;
	if (geteuid() == 0 && (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)))
		return 2;
	outside = count_forks(12); /* more than the limit, of the same kernel uid */
	if (outside != 12)
		return 3;
	rc = enter_role();
	if (rc)
		return rc;
	if (limits_apply_self(&plan, &err) < 0)
		return complain("apply", &err);
	inside = count_forks(100);
	if (inside != 7) { /* this process is the eighth */
		fprintf(stderr, "%d processes could be made\n", inside);
		return 4;
	}
	return 0;
}

static void assert_child(int (*fn)(void *), const char *skip)
{
	int rc = in_child(fn, NULL);

	if (rc == IN_CHILD_SKIP)
		cr_skip_test("%s", skip);
	cr_assert_eq(rc, 0, "child: %d", rc);
}

Test(limits, pids_are_counted_in_the_agents_own_namespace)
{
	assert_child(pids_child, "no user namespace can be made here");
}

static int rlimits_child(void *arg)
{
	struct limits_plan plan = {
		.limits = all_limits, .files_soft = 100, .files_hard = 100, .memory_by_rlimit = true
	};
	struct rlimit now, raised = { 200, 200 };
	struct err err = { "" };
	void *reserved, *used;

	(void)arg;
	if (geteuid() == 0 && setresuid(65534, 65534, 65534))
		return 2;
	if (limits_apply_self(&plan, &err) < 0)
		return complain("apply", &err);
	if (getrlimit(RLIMIT_CORE, &now) || now.rlim_max > LIMITS_CORE_NONE ||
	    getrlimit(RLIMIT_NOFILE, &now) || now.rlim_cur != 100 || now.rlim_max != 100)
		return 3;
	if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
		return 4;
	/* Address space that is only reserved is free, memory that can be written is not. */
	reserved = mmap(NULL, 1UL << 34, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			0);
	used = mmap(NULL, 128 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (reserved == MAP_FAILED)
		return 5;
	return used == MAP_FAILED && errno == ENOMEM ? 0 : 6;
}

Test(limits, rlimits_hold_and_cannot_be_raised)
{
	assert_child(rlimits_child, "");
}

/* A hard limit that is lower already stays. */
static int lower_child(void *arg)
{
	const struct rlimit low = { 50, 60 };
	struct limits_plan plan = { .files_soft = 100, .files_hard = 100 };
	struct rlimit now;

	(void)arg;
	return setrlimit(RLIMIT_NOFILE, &low) || limits_apply_self(&plan, NULL) ||
	       getrlimit(RLIMIT_NOFILE, &now) || now.rlim_max != 60;
}

Test(limits, nothing_is_ever_raised)
{
	assert_child(lower_child, "");
}

enum { IN_ONE_MESSAGE = 250 }; /* descriptors; the kernel takes 253 */

/* Puts stdin in flight `count` times. 0 or errno. */
static int send_copies(int fd, unsigned count)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(IN_ONE_MESSAGE * sizeof(int))];
	} control = { 0 };
	char byte = 'x';
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = CMSG_SPACE(count * sizeof(int)) };

	control.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(count * sizeof(int)),
					 .cmsg_level = SOL_SOCKET,
					 .cmsg_type = SCM_RIGHTS };
	return sendmsg(fd, &message, MSG_DONTWAIT) == 1 ? 0 : errno;
}

static int fill_flight(void)
{
	int pair[2], rc;

	do {
		if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair))
			return errno;
		while ((rc = send_copies(pair[0], IN_ONE_MESSAGE)) == 0)
			;
	} while (rc == EAGAIN); /* this queue is full: the next */
	return rc;
}

static int pass_one(void)
{
	int pair[2];

	return socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) ? errno : send_copies(pair[0], 1);
}

/* An agent that fills what it can of its user's descriptors in flight, beside a launcher. */
static int flight_child(void *arg)
{
	const struct rlimit own = { 1024, 2048 };
	const struct limits none = { 0 };
	cleanup_with(limits_plan_clear) struct limits_plan plan = { 0 };
	int done[2], said = -1;
	pid_t pid;

	(void)arg;
	if (geteuid() == 0 && setresuid(65531, 65531, 65531))
		return 2;
	if (setrlimit(RLIMIT_NOFILE, &own) || limits_plan(&none, NULL, &plan, NULL) || pipe(done) ||
	    limits_raise_own(NULL))
		return 3;
	pid = fork();
	if (pid == 0) {
		if (limits_apply_self(&plan, NULL) == 0 && limits_raise_own(NULL) == 0)
			said = fill_flight();
		(void)!write(done[1], &said, sizeof(said));
		pause();
		_exit(0);
	}
	if (read(done[0], &said, sizeof(said)) != sizeof(said))
		return 4;
	if (said == ETOOMANYREFS)
		said = pass_one() ? 5 : 0;
	else
		said = 6;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return said;
}

Test(limits, an_agents_descriptors_in_flight_stop_nobody_else)
{
	assert_child(flight_child, "");
}

/* ------------------------------------------------------------------------- a made-up cgroup tree */

struct tree {
	char root[64];
};

static void put(const struct tree *t, const char *path, const char *text)
{
	cleanup_free char *full = str_printf("%s/%s", t->root, path);
	cleanup_file FILE *file = NULL;

	for (char *slash = strchr(full + strlen(t->root) + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0755);
		*slash = '/';
	}
	file = fopen(full, "we");
	cr_assert(file, "%s", full);
	fputs(text, file);
}

/* As systemd lays it: the user's manager has its subtree delegated, and we live in a scope of it. */
static void make_tree(struct tree *t, const char *own)
{
	cleanup_free char *line = str_printf("0::%s\n", own);

	strcpy(t->root, "/tmp/bottle-cgroup-XXXXXX");
	cr_assert(mkdtemp(t->root));
	chmod(t->root, 0755);
	put(t, "proc/self/cgroup", line);
	put(t, "proc/self/mountinfo",
	    "22 1 0:20 / /proc rw - proc proc rw\n"
	    "30 22 0:26 /sub /elsewhere rw shared:9 - cgroup2 cgroup2 rw\n"
	    "31 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
	put(t, "sys/fs/cgroup/cgroup.procs", "");
	put(t, "sys/fs/cgroup/cgroup.subtree_control", "cpu memory pids\n");
	put(t, "sys/fs/cgroup/user/cgroup.procs", "");
	put(t, "sys/fs/cgroup/user/cgroup.subtree_control", "memory pids\n");
	put(t, "sys/fs/cgroup/user/app/cgroup.procs", "");
	put(t, "sys/fs/cgroup/user/app/cgroup.subtree_control", "\n");
	put(t, "sys/fs/cgroup/user/app/me/cgroup.procs", "");
	put(t, "sys/fs/cgroup/user/app/me/cgroup.subtree_control", "");
}

static void remove_tree(const struct tree *t)
{
	cleanup_free char *command = str_printf("rm -rf %s", t->root);

	cr_assert_eq(system(command), 0);
}

Test(limits, the_nearest_folder_above_that_hands_controllers_down)
{
	struct tree t;
	struct limits_cgroup found;
	cleanup_free char *want = NULL;

	make_tree(&t, "/user/app/me");
	want = str_printf("%s/sys/fs/cgroup/user", t.root);
	cr_assert_eq(limits_find_cgroup(t.root, &found, NULL), 0);
	cr_assert_str_eq(found.parent, want);
	cr_assert_eq(found.controllers, LIMITS_MEMORY | LIMITS_PIDS);
	remove_tree(&t);
}

Test(limits, never_below_the_folder_that_holds_us)
{
	struct tree t;
	struct limits_cgroup found;

	make_tree(&t, "/"); /* the top of a cgroup namespace: nothing above */
	cr_assert_eq(limits_find_cgroup(t.root, &found, NULL), 0);
	cr_assert_str_eq(found.parent, "");
	remove_tree(&t);
}

static int unwritable_child(void *arg)
{
	const struct tree *t = arg;
	struct limits_cgroup found;

	if (geteuid() == 0 && setresuid(65534, 65534, 65534))
		return 2;
	return limits_find_cgroup(t->root, &found, NULL) == 0 && !found.parent[0] ? 0 : 3;
}

Test(limits, a_folder_that_is_not_ours_is_not_taken)
{
	struct tree t;

	make_tree(&t, "/user/app/me");
	if (geteuid() == 0) {
		cr_assert_eq(in_child(unwritable_child, &t), 0);
	} else {
		cleanup_free char *procs = str_printf("%s/sys/fs/cgroup/user/cgroup.procs", t.root);
		cleanup_free char *top = str_printf("%s/sys/fs/cgroup/cgroup.procs", t.root);

		cr_assert(chmod(procs, 0444) == 0 && chmod(top, 0444) == 0);
		cr_assert_eq(in_child(unwritable_child, &t), 0);
	}
	remove_tree(&t);
}

Test(limits, v1_alone_is_no_cgroup)
{
	struct tree t;
	struct limits_cgroup found;

	make_tree(&t, "/user/app/me");
	put(&t, "proc/self/cgroup", "3:memory:/user\n2:pids:/user\n");
	cr_assert_eq(limits_find_cgroup(t.root, &found, NULL), 0);
	cr_assert_str_eq(found.parent, "");
	remove_tree(&t);
	cr_assert_eq(limits_find_cgroup("/nonexistent", &found, NULL), 0);
	cr_assert_str_eq(found.parent, "");
}

static void expect_file(const struct tree *t, const char *path, const char *text)
{
	cleanup_free char *full = str_printf("%s/%s", t->root, path);
	cleanup_with(buf_clear) struct buf now = { 0 };

	cr_assert_eq(file_read(AT_FDCWD, full, 4096, &now, NULL), 0);
	cr_assert(strncmp(now.data, text, strlen(text)) == 0, "%s holds '%s'", path, now.data);
}

Test(limits, values_as_the_kernel_wants_them)
{
	struct limits_plan plan = { .limits = all_limits,
				    .by_cgroup = LIMITS_MEMORY | LIMITS_PIDS | LIMITS_CPU };
	cleanup_free char *folder = NULL;
	cleanup_fd int fd = -1;
	struct err err = { "" };
	struct tree t;

	make_tree(&t, "/user/app/me");
	/* Spaces: a file, unlike a control file, keeps what the write did not overwrite. */
	put(&t, "cg/memory.max", "        ");
	put(&t, "cg/memory.swap.max", " ");
	put(&t, "cg/pids.max", "  ");
	put(&t, "cg/cpu.max", "             ");
	folder = str_printf("%s/cg", t.root);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(limits_cgroup_set(&plan, fd, &err), 0, "%s", err.text);
	expect_file(&t, "cg/memory.max", "67108864");
	expect_file(&t, "cg/memory.swap.max", "0");
	expect_file(&t, "cg/pids.max", "20");
	expect_file(&t, "cg/cpu.max", "150000 100000");
	remove_tree(&t);
}

Test(limits, a_missing_control_file_is_an_error_that_names_it)
{
	struct limits_plan plan = { .limits = all_limits, .by_cgroup = LIMITS_PIDS };
	cleanup_fd int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct err err = { "" };

	cr_assert_lt(limits_cgroup_set(&plan, fd, &err), 0);
	cr_assert(strstr(err.text, "pids.max"), "%s", err.text);
}

/* A folder whose lock is held stays, one that was left goes; on folders of a plain file system, where
 * rmdir works as in a cgroup. */
Test(limits, the_sweep_takes_only_what_nobody_holds)
{
	struct limits_cgroup cgroup = { .controllers = LIMITS_PIDS };
	cleanup_free char *left = NULL, *held = NULL, *other = NULL;
	cleanup_fd int fd = -1;
	struct tree t;

	make_tree(&t, "/user/app/me");
	snprintf(cgroup.parent, sizeof(cgroup.parent), "%s/sys", t.root);
	left = str_printf("%s/bottle-left", cgroup.parent);
	held = str_printf("%s/bottle-held", cgroup.parent);
	other = str_printf("%s/other", cgroup.parent);
	cr_assert(mkdir(left, 0755) == 0 && mkdir(held, 0755) == 0 && mkdir(other, 0755) == 0);
	fd = open(held, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(flock(fd, LOCK_SH), 0);
	cr_assert_eq(limits_cgroup_sweep(&cgroup, NULL), 1);
	cr_assert(access(left, F_OK) < 0 && access(held, F_OK) == 0 && access(other, F_OK) == 0);
	fd_close(&fd);
	cr_assert_eq(limits_cgroup_sweep(&cgroup, NULL), 1);
	remove_tree(&t);
}

/* -------------------------------------------------------------------------- a real cgroup v2 */

/* Only root may make folders in one that was not delegated. Controllers are not needed: making,
 * placing, removing and the kill are the same without. */
static const char *real_cgroup2(void)
{
	static const char *const places[] = { "/sys/fs/cgroup/unified", "/sys/fs/cgroup" };

	for (size_t i = 0; i < 2; i++) {
		cleanup_free char *procs = str_printf("%s/cgroup.procs", places[i]);

		if (access(procs, W_OK) == 0)
			return places[i];
	}
	return NULL;
}

static int sleeper(int cgroup_fd)
{
	struct err err = { "" };
	pid_t self = getpid(), pid = fork();

	if (pid == 0)
		sleep_for(self);
	if (pid > 0 && limits_cgroup_place(cgroup_fd, pid, &err) < 0)
		return -complain("place", &err);
	return pid;
}

static int real_child(void *arg)
{
	struct limits_plan plan = {
		.by_cgroup = 0x80
	}; /* something, so that it is made; no value */
	const char *top = real_cgroup2();
	char path[128];
	struct err err = { "" };
	int fd = -1, pid, status;

	(void)arg;
	if (!top)
		return IN_CHILD_SKIP;
	snprintf(plan.cgroup.parent, sizeof(plan.cgroup.parent), "%s", top);
	snprintf(path, sizeof(path), "%s/bottle-unit-test", top);
	if (limits_cgroup_create(&plan, "unit-test", &fd, &err) < 0)
		return complain("create", &err);
	if (limits_cgroup_sweep(&plan.cgroup, &err) < 0 || access(path, F_OK) < 0)
		return 2; /* empty, but its lock is held */
	pid = sleeper(fd);
	if (pid <= 0)
		return 3;
	/* Still populated: it is killed and removed, or is said to be left. */
	if (limits_cgroup_remove(&plan, "unit-test", &err) < 0 && !strstr(err.text, "rmdir"))
		return complain("remove", &err);
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		return 4;
	if (limits_cgroup_remove(&plan, "unit-test", &err) < 0 || access(path, F_OK) == 0)
		return complain("second remove", &err);
	return 0;
}

Test(limits, a_real_cgroup_is_made_locked_filled_emptied_and_removed)
{
	assert_child(real_child, "no cgroup v2 in which this user may make a folder");
}
