/* SPDX-License-Identifier: Apache-2.0
 * runtime/idmap.c and idmap_subid.c: maps made in children, as the user that runs the tests. */
#include "runtime/idmap.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "runtime/caps.h"
#include "tests/lib/in_child.h"

static int complain(const char *what, const struct err *err)
{
	fprintf(stderr, "%s: %s\n", what, err->text);
	return 1;
}

static int enter_u1(void)
{
	const struct idmap_single map = { 0, geteuid(), 0, getegid() };
	struct err err = { "" };

	if (unshare(CLONE_NEWUSER) < 0)
		return IN_CHILD_SKIP;
	return idmap_write_single(AT_FDCWD, 0, &map, &err) < 0 ? complain("U1", &err) : 0;
}

static void assert_child(int (*fn)(void *), const char *skip)
{
	int rc = in_child(fn, NULL);

	if (rc == IN_CHILD_SKIP)
		cr_skip_test("%s", skip);
	cr_assert_eq(rc, 0, "child: %d", rc);
}
#define NO_USERNS "no user namespace can be made here"

static int single_child(void *arg)
{
	int rc;

	(void)arg;
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* else /proc/self/uid_map would be root's */
	rc = enter_u1();
	if (rc)
		return rc;
	if (getuid() != 0 || getgid() != 0)
		return 2;
	return prctl(PR_GET_DUMPABLE) == 0 ? 0 : 3;
}

Test(idmap, single_map_of_a_process_that_is_not_dumpable)
{
	assert_child(single_child, NO_USERNS);
}

static int foreign_id_child(void *arg)
{
	const struct idmap_single map = { 0, geteuid() + 1, 0, getegid() };
	struct err err = { "" };

	(void)arg;
	if (geteuid() == 0 && (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)))
		return 2;
	if (unshare(CLONE_NEWUSER) < 0)
		return IN_CHILD_SKIP;
	if (idmap_write_single(AT_FDCWD, 0, &map, &err) >= 0)
		return 3;
	return strstr(err.text, "uid_map") ? 0 : complain("sentence", &err);
}

Test(idmap, a_map_that_is_not_ours_to_make_is_an_error_that_names_the_file)
{
	assert_child(foreign_id_child, NO_USERNS);
}

/* init's child becomes the proxy: image USER 1000 on the caller's own id. */
static int role_child(void *arg)
{
	const struct idmap_role role = { .inside_uid = 1000, .inside_gid = 1000 };
	struct err err = { "" };
	int signal = 0, rc = enter_u1();

	(void)arg;
	if (rc)
		return rc;
	prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	if (idmap_enter_role(AT_FDCWD, &role, &err) < 0)
		return complain("role", &err);
	if (getuid() != 1000 || getegid() != 1000)
		return 2;
	if (prctl(PR_GET_PDEATHSIG, &signal) < 0 || signal != SIGTERM)
		return 3;
	if (unshare(CLONE_NEWUSER) == 0 || errno != ENOSPC)
		return 4;
	if (caps_drop_all(&err) < 0 || caps_prove_none(&err) < 0)
		return complain("caps", &err);
	/* Without CAP_SYS_RESOURCE the limit cannot be raised again. */
	if (open("/proc/sys/user/max_user_namespaces", O_WRONLY | O_CLOEXEC) >= 0)
		return 5;
	return unshare(CLONE_NEWUSER) == -1 ? 0 : 6;
}

Test(idmap, a_role_gets_its_id_and_no_nested_namespace)
{
	assert_child(role_child, NO_USERNS);
}

static long number_in(const char *path)
{
	cleanup_file FILE *file = fopen(path, "re");
	long value = -1;

	return file && fscanf(file, "%ld", &value) == 1 ? value : -1;
}

/* A quarter of the host's, of which another process of the same user takes none here. */
static int inotify_child(void *arg)
{
	const struct idmap_role role = { .inside_uid = 1000, .inside_gid = 1000 };
	const long host = number_in("/proc/sys/fs/inotify/max_user_instances");
	const long watches = number_in("/proc/sys/fs/inotify/max_user_watches");
	struct err err = { "" };
	long count = 0;
	int rc;

	(void)arg;
	if (host < 4)
		return IN_CHILD_SKIP;
	rc = enter_u1();
	if (rc)
		return rc;
	if (idmap_enter_role(AT_FDCWD, &role, &err) < 0 || caps_drop_all(&err) < 0)
		return complain("role", &err);
	while (count <= host && inotify_init1(IN_CLOEXEC) >= 0)
		count++;
	CHILD_CHECK(count > 0 && count <= host / 4 && errno == EMFILE);
	CHILD_CHECK(number_in("/proc/sys/user/max_inotify_instances") == host / 4);
	CHILD_CHECK(number_in("/proc/sys/user/max_inotify_watches") == watches / 4);
	CHILD_CHECK(open("/proc/sys/user/max_inotify_instances", O_WRONLY | O_CLOEXEC) < 0);
	return 0;
}

Test(idmap, a_role_leaves_inotify_instances_to_the_hosts_programs)
{
	assert_child(inotify_child, NO_USERNS);
}

static int nested_child(void *arg)
{
	const struct idmap_role role = { .inside_uid = 1000,
					 .inside_gid = 1000,
					 .nested_ok = true };
	struct err err = { "" };
	int rc = enter_u1();

	(void)arg;
	if (rc)
		return rc;
	if (idmap_enter_role(AT_FDCWD, &role, &err) < 0)
		return complain("role", &err);
	return unshare(CLONE_NEWUSER) == 0 ? 0 : 2;
}

Test(idmap, nested_namespaces_where_asked_for)
{
	assert_child(nested_child, NO_USERNS);
}

/* A file that the launcher made with mode 0400 is the image USER's own inside: the defect that
 * a map of any other shape has. */
static int key_child(void *arg)
{
	const struct idmap_role role = { .inside_uid = 1000, .inside_gid = 1000 };
	char path[] = "/tmp/bottle-idmap-XXXXXX";
	cleanup_fd int fd = mkostemp(path, O_CLOEXEC);
	struct stat st;
	int rc;

	(void)arg;
	if (fd < 0 || fchmod(fd, 0400) < 0 || unlink(path) < 0)
		return 2;
	rc = enter_u1();
	if (rc)
		return rc;
	if (idmap_enter_role(AT_FDCWD, &role, NULL) < 0 || fstat(fd, &st) < 0)
		return 3;
	return st.st_uid == 1000 && st.st_gid == 1000 && (st.st_mode & 07777) == 0400 ? 0 : 4;
}

Test(idmap, a_0400_file_of_the_caller_belongs_to_the_image_user)
{
	assert_child(key_child, NO_USERNS);
}

/* ---------------------------------------------------------------------------------- subid */

static const char *login(void)
{
	const struct passwd *pw = getpwuid(geteuid());

	return pw ? pw->pw_name : NULL;
}

struct subid_case {
	struct idmap_range uids, gids;
	int ready[2], mapped[2];
};

static bool lacks_subids(struct subid_case *c)
{
	return !idmap_helper_path("newuidmap") || !idmap_helper_path("newgidmap") ||
	       idmap_find_range("/etc/subuid", geteuid(), login(), &c->uids, NULL) < 0 ||
	       idmap_find_range("/etc/subgid", geteuid(), login(), &c->gids, NULL) < 0;
}

/* The proxy under subid: uid 1 of U1, hence another uid on the host than the agent's. */
static int subid_inner(struct subid_case *c)
{
	const struct idmap_role role = {
		.inside_uid = 1000, .outer_uid = 1, .inside_gid = 1000, .outer_gid = 1
	};
	struct err err = { "" };
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (unshare(CLONE_NEWUSER) < 0 || write(c->ready[1], "x", 1) != 1 ||
	    read(c->mapped[0], &byte, 1) != 1)
		return 10;
	if (getuid() != 0)
		return 11;
	if (idmap_enter_role(AT_FDCWD, &role, &err) < 0)
		return complain("role", &err);
	if (getuid() != 1000 || getgid() != 1000)
		return 12;
	if (caps_drop_all(&err) < 0 || caps_prove_none(&err) < 0)
		return complain("caps", &err);
	return write(c->ready[1], "x", 1) == 1 && read(c->mapped[0], &byte, 1) == 1 ? 0 : 13;
}

static int subid_child(void *arg)
{
	struct subid_case c;
	struct err err = { "" };
	char byte, path[64];
	struct stat st;
	int status;
	pid_t pid;

	(void)arg;
	if (lacks_subids(&c))
		return IN_CHILD_SKIP;
	if (pipe2(c.ready, O_CLOEXEC) < 0 || pipe2(c.mapped, O_CLOEXEC) < 0)
		return 2;
	pid = fork();
	if (pid == 0)
		_exit(subid_inner(&c));
	if (pid < 0 || read(c.ready[0], &byte, 1) != 1)
		return 3;
	if (idmap_write_subid(pid, geteuid(), getegid(), &c.uids, &c.gids, &err) < 0)
		return complain("newuidmap", &err);
	if (write(c.mapped[1], "x", 1) != 1 || read(c.ready[0], &byte, 1) != 1)
		return 4;
	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	if (stat(path, &st) < 0)
		return 5;
	if (write(c.mapped[1], "x", 1) != 1 || waitpid(pid, &status, 0) != pid || status != 0)
		return 6;
	if (st.st_uid != c.uids.first) {
		fprintf(stderr, "host uid %u, wanted %u\n", st.st_uid, c.uids.first);
		return 7;
	}
	return 0;
}

Test(idmap, subid_puts_the_proxy_under_another_host_uid)
{
	assert_child(subid_child,
		     "the user that runs the tests has no subordinate ids or newuidmap "
		     "is not installed");
}

static void write_file(char *path, const char *text)
{
	cleanup_fd int fd = mkostemp(path, O_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

Test(idmap, ranges_by_number_and_name_largest_first)
{
	char path[] = "/tmp/bottle-subuid-XXXXXX";
	struct idmap_range range = { 0 };

	write_file(path, "# comment\nother:1:2\nann:100000:1000\nbad:x\n1234:500000:65536\n"
			 "ann:0:70000\nann:200000:99999999999\nann:300000:5:9\n\nann:7\n");
	cr_assert_eq(idmap_find_range(path, 1234, "ann", &range, NULL), 0);
	cr_assert_eq(range.first, 500000);
	cr_assert_eq(range.count, 65536);
	cr_assert_eq(idmap_find_range(path, 99, "ann", &range, NULL), 0);
	cr_assert_eq(range.first, 100000);
	unlink(path);
}

Test(idmap, no_range_says_who_where_and_what_to_do)
{
	char path[] = "/tmp/bottle-subuid-XXXXXX";
	struct idmap_range range = { 0 };
	struct err err = { "" };

	write_file(path, "other:1:2\nann2:5:5\n");
	cr_assert_eq(idmap_find_range(path, 1234, "ann", &range, &err), -ENOENT);
	cr_assert(strstr(err.text, path) && strstr(err.text, "ann") &&
			  strstr(err.text, "idmap: single"),
		  "%s", err.text);
	cr_assert_eq(idmap_find_range(path, 1234, NULL, &range, &err), -ENOENT);
	unlink(path);
	cr_assert_lt(idmap_find_range("/nonexistent/subuid", 1234, "ann", &range, &err), 0);
}
