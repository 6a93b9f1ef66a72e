/* SPDX-License-Identifier: Apache-2.0
 * runtime/mounts.c: roots built in children, in namespaces of their own. */
#include "runtime/mounts.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "runtime/idmap.h"
#include "tests/lib/in_child.h"

#define NO_USERNS "no user namespace can be made here"

/* A host folder with what an agent could have left in it. Made before the child: it is its arg. */
struct world {
	char host[64];
	struct mount_list list;
	int (*check)(struct world *world, struct mount_result *result);
	int expect; /* of mounts_build_and_enter */
	const char *sentence;
};

static void put(const struct world *world, const char *name, const char *text)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", world->host, name);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void add(struct world *world, struct mount_op op)
{
	cr_assert_eq(mount_list_add(&world->list, op), 0);
}

static void world_make(struct world *world)
{
	snprintf(world->host, sizeof(world->host), "/tmp/test_mounts.XXXXXX");
	cr_assert_not_null(mkdtemp(world->host));
	put(world, "kept", "kept");
	add(world, (struct mount_op){ .kind = MOUNT_ROOT_TMPFS });
}

static void world_drop(struct world *world)
{
	char command[128];
	int status;

	mount_list_clear(&world->list);
	snprintf(command, sizeof(command), "%s", world->host);
	if (fork() == 0) {
		execlp("rm", "rm", "-rf", "--", command, (char *)NULL);
		_exit(1);
	}
	wait(&status);
}

static int build(struct world *world)
{
	const struct idmap_single map = { 0, geteuid(), 0, getegid() };
	struct mount_result result = { .proc_fd = -1 };
	struct err err = { "" };
	int rc;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return IN_CHILD_SKIP;
	CHILD_CHECK(idmap_write_single(AT_FDCWD, 0, &map, &err) == 0);
	rc = mounts_build_and_enter(&world->list, 0, &result, &err);
	if (rc != world->expect)
		fprintf(stderr, "mounts_build_and_enter: %d: %s\n", rc, err.text);
	CHILD_CHECK(rc == world->expect);
	if (world->sentence && !strstr(err.text, world->sentence))
		fprintf(stderr, "sentence: %s\n", err.text);
	CHILD_CHECK(!world->sentence || strstr(err.text, world->sentence));
	return world->check ? world->check(world, &result) : 0;
}

static int build_child(void *arg)
{
	return build(arg);
}

static void assert_world(struct world *world)
{
	int rc = in_child(build_child, world);

	world_drop(world);
	if (rc == IN_CHILD_SKIP)
		cr_skip_test(NO_USERNS);
	cr_assert_eq(rc, 0, "child: %d", rc);
}

static bool reads(const char *path, const char *text)
{
	struct buf got = { 0 };
	bool same = file_read(AT_FDCWD, path, 4096, &got, NULL) == 0 && got.len == strlen(text) &&
		    (got.len == 0 || memcmp(got.data, text, got.len) == 0);

	buf_clear(&got);
	return same;
}

static int check_nothing_of_the_host(struct world *world, struct mount_result *result)
{
	(void)result;
	CHILD_CHECK(access(world->host, F_OK) < 0 && errno == ENOENT);
	CHILD_CHECK(access("/etc/passwd", F_OK) < 0 && errno == ENOENT);
	CHILD_CHECK(access("/..//etc/passwd", F_OK) < 0 && errno == ENOENT);
	CHILD_CHECK(open("/made", O_CREAT | O_WRONLY, 0600) < 0 && errno == EROFS);
	return 0;
}

Test(mounts, root_is_empty_read_only_and_without_the_host)
{
	struct world world = { .check = check_nothing_of_the_host };

	world_make(&world);
	add(&world, (struct mount_op){ .kind = MOUNT_ROOT_READ_ONLY, .at = "/" });
	assert_world(&world);
}

static int check_binds(struct world *world, struct mount_result *result)
{
	int fd = open("/rw/new", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

	(void)world;
	(void)result;
	CHILD_CHECK(fd >= 0);
	close(fd);
	CHILD_CHECK(unlink("/rw/new") == 0);
	CHILD_CHECK(reads("/ro/kept", "kept"));
	CHILD_CHECK(open("/ro/new", O_CREAT | O_WRONLY, 0644) < 0 && errno == EROFS);
	CHILD_CHECK(open("/ro/kept", O_WRONLY | O_TRUNC) < 0 && errno == EROFS);
	return 0;
}

Test(mounts, binds_are_read_only_unless_said)
{
	struct world world = { .check = check_binds };

	world_make(&world);
	add(&world,
	    (struct mount_op){
		    .kind = MOUNT_BIND, .flags = MOUNT_MAKE, .at = "/ro", .source = world.host });
	add(&world, (struct mount_op){ .kind = MOUNT_BIND,
				       .flags = MOUNT_MAKE | MOUNT_WRITABLE,
				       .at = "/rw",
				       .source = world.host });
	assert_world(&world);
}

Test(mounts, a_symlink_in_a_bind_source_is_refused)
{
	struct world world = { .expect = -ELOOP, .sentence = "symbolic link" };
	char link[128];

	world_make(&world);
	snprintf(link, sizeof(link), "%s/link", world.host);
	cr_assert_eq(symlink("/etc", link), 0);
	add(&world, (struct mount_op){ .kind = MOUNT_BIND,
				       .flags = MOUNT_MAKE | MOUNT_NO_SYMLINKS,
				       .at = "/etc",
				       .source = link });
	assert_world(&world);
}

Test(mounts, a_missing_source_names_itself)
{
	struct world world = { .expect = -ENOENT, .sentence = "/nowhere/at/all" };

	world_make(&world);
	add(&world, (struct mount_op){ .kind = MOUNT_BIND,
				       .flags = MOUNT_MAKE,
				       .at = "/x",
				       .source = "/nowhere/at/all" });
	assert_world(&world);
}

/* How many folders there is room for, up to `most`. */
static int count_folders(const char *folder, int most)
{
	char path[64];
	int count = 0;

	for (; count < most; count++) {
		snprintf(path, sizeof(path), "%s/%d", folder, count);
		if (mkdir(path, 0700) < 0)
			break;
	}
	return count;
}

static int check_inodes(struct world *world, struct mount_result *result)
{
	int small, large;

	(void)world;
	(void)result;
	small = count_folders("/small", 5000);
	CHILD_CHECK(small > 1000 && small <= 1024 && errno == ENOSPC);
	/* A file in every page. */
	large = count_folders("/large", 5000);
	CHILD_CHECK(large > 4000 && large <= 4096 && errno == ENOSPC);
	return 0;
}

Test(mounts, folders_without_content_do_not_fill_the_kernels_memory)
{
	struct world world = { .check = check_inodes };

	world_make(&world);
	add(&world, (struct mount_op){ .kind = MOUNT_TMPFS,
				       .flags = MOUNT_MAKE,
				       .at = "/small",
				       .mode = 0755,
				       .bytes = 65536 });
	add(&world, (struct mount_op){ .kind = MOUNT_TMPFS,
				       .flags = MOUNT_MAKE,
				       .at = "/large",
				       .mode = 0755,
				       .bytes = 4096 * 4096 });
	assert_world(&world);
}

static int check_texts(struct world *world, struct mount_result *result)
{
	(void)world;
	(void)result;
	CHILD_CHECK(reads("/etc/hosts", "127.0.0.1 localhost\n"));
	CHILD_CHECK(open("/etc/hosts", O_WRONLY) < 0 && errno == EROFS);
	/* The link led out to where nothing is; what it points to was made inside. */
	CHILD_CHECK(reads("/run/resolve/stub.conf", "nameserver 127.0.0.1\n"));
	CHILD_CHECK(reads("/etc/resolv.conf", "nameserver 127.0.0.1\n"));
	return 0;
}

Test(mounts, texts_follow_dangling_links_inside_the_root)
{
	struct world world = { .check = check_texts };

	world_make(&world);
	add(&world, (struct mount_op){ .kind = MOUNT_DIR, .at = "/etc" });
	add(&world, (struct mount_op){ .kind = MOUNT_DIR, .at = "/run" });
	add(&world, (struct mount_op){ .kind = MOUNT_SYMLINK,
				       .at = "/etc/resolv.conf",
				       .source = "../../../run/resolve/stub.conf" });
	add(&world, (struct mount_op){ .kind = MOUNT_TEXT,
				       .flags = MOUNT_MAKE,
				       .at = "/etc/hosts",
				       .source = "127.0.0.1 localhost\n" });
	add(&world, (struct mount_op){ .kind = MOUNT_TEXT,
				       .flags = MOUNT_MAKE,
				       .at = "/etc/resolv.conf",
				       .source = "nameserver 127.0.0.1\n" });
	assert_world(&world);
}

static int check_handed(struct world *world, struct mount_result *result)
{
	struct stat st;

	(void)world;
	CHILD_CHECK(result->handed_count == 2);
	CHILD_CHECK(fd_write_all(result->handed_fds[0], "key", 3) == 0);
	CHILD_CHECK(fd_write_all(result->handed_fds[1], "cert", 4) == 0);
	CHILD_CHECK(reads("/secret/key", "key") && reads("/cert", "cert"));
	CHILD_CHECK(stat("/secret/key", &st) == 0 && (st.st_mode & 07777) == 0400);
	CHILD_CHECK(open("/secret/key", O_WRONLY) < 0);
	CHILD_CHECK(chmod("/secret/key", 0644) < 0 && errno == EROFS);
	/* The descriptor stays writable (a reload rewrites it) while the file is read-only inside. */
	CHILD_CHECK(ftruncate(result->handed_fds[0], 0) == 0 && reads("/secret/key", ""));
	return 0;
}

Test(mounts, handed_files_are_filled_by_descriptor_only)
{
	struct world world = { .check = check_handed };

	world_make(&world);
	add(&world, (struct mount_op){ .kind = MOUNT_HANDED,
				       .flags = MOUNT_MAKE | MOUNT_SECRET,
				       .at = "/secret/key" });
	add(&world, (struct mount_op){ .kind = MOUNT_HANDED, .flags = MOUNT_MAKE, .at = "/cert" });
	assert_world(&world);
}

static int check_guard(struct world *world, struct mount_result *result)
{
	(void)world;
	(void)result;
	CHILD_CHECK(reads("/w/.git/config", "config"));
	CHILD_CHECK(open("/w/.git/config", O_WRONLY) < 0 && errno == EROFS);
	CHILD_CHECK(unlink("/w/.git/config") < 0 && errno == EBUSY);
	CHILD_CHECK(rename("/w/.git", "/w/.git2") < 0 && errno == EBUSY);
	CHILD_CHECK(open("/w/.git/index", O_CREAT | O_WRONLY | O_CLOEXEC, 0644) >= 0);
	CHILD_CHECK(reads("/w/masked", "")); /* root of U1 may open it, and finds nothing */
	return 0;
}

Test(mounts, guarded_files_cannot_be_changed_or_moved_away)
{
	struct world world = { .check = check_guard };
	char git[128];

	world_make(&world);
	snprintf(git, sizeof(git), "%s/.git", world.host);
	cr_assert_eq(mkdir(git, 0755), 0);
	put(&world, ".git/config", "config");
	put(&world, "masked", "masked");
	add(&world, (struct mount_op){ .kind = MOUNT_BIND,
				       .flags = MOUNT_MAKE | MOUNT_WRITABLE,
				       .at = "/w",
				       .source = world.host });
	add(&world, (struct mount_op){ .kind = MOUNT_ALIAS,
				       .flags = MOUNT_NO_SYMLINKS | MOUNT_WRITABLE,
				       .at = "/w/.git",
				       .source = "/w/.git" });
	add(&world, (struct mount_op){ .kind = MOUNT_ALIAS,
				       .flags = MOUNT_NO_SYMLINKS,
				       .at = "/w/.git/config",
				       .source = "/w/.git/config" });
	add(&world, (struct mount_op){ .kind = MOUNT_MASK, .at = "/w/masked" });
	if (geteuid() ==
	    0) /* uid 0 without CAP_DAC_OVERRIDE is what the agent is; here it has it */
		world.check = NULL;
	assert_world(&world);
}
