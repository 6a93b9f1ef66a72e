/* SPDX-License-Identifier: Apache-2.0
 * runtime/guard_watch.c, guard_mark.c: guards found in the text of mountinfo, and taken away by an edit
 * from another mount namespace, as one on the host is; files compared with what they were. */
#include "runtime/guard_watch.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "runtime/guard_mark.h"
#include "tests/lib/in_child.h"

/* --- text ------------------------------------------------------------------------------------ */

#define ROOT_LINE	"20 1 0:30 / / rw,nosuid shared:1 - tmpfs none rw\n"
#define WORK_LINE	"21 20 8:1 /home/me/work /work rw - ext4 /dev/sda1 rw\n"
#define CONFIG_LINE	"22 21 8:1 /home/me/work/.git/config /work/.git/config ro - ext4 /dev/sda1 rw\n"
#define ENVRC_LINE	"123 21 8:1 /home/me/work/.envrc /work/.envrc ro - ext4 /dev/sda1 rw\n"
#define ENVRC_ELSEWHERE "123 21 8:1 /home/me/work/.envrc /work/.envrc2 ro - ext4 /dev/sda1 rw\n"

static struct guard_place places[2];

static void note(const char *text)
{
	places[0] = (struct guard_place){ .id = 22, .name = "config" };
	places[1] = (struct guard_place){ .id = 123, .name = "envrc" };
	cr_assert_eq(guard_places_note(places, 2, text), 0);
}

static void forget(void)
{
	free(places[0].place);
	free(places[1].place);
}

static const char *lost_in(const char *text)
{
	const struct guard_place *lost = guard_places_find_lost(places, 2, text);

	return lost ? lost->name : "none";
}

TestSuite(guard_places, .fini = forget);

Test(guard_places, are_all_there)
{
	note(ROOT_LINE WORK_LINE CONFIG_LINE ENVRC_LINE);
	cr_assert_str_eq(places[0].place, "/work/.git/config");
	cr_assert_str_eq(places[1].place, "/work/.envrc");
	cr_assert_str_eq(lost_in(ROOT_LINE WORK_LINE CONFIG_LINE ENVRC_LINE), "none");
	cr_assert_str_eq(lost_in(ENVRC_LINE CONFIG_LINE), "none", "the order or others matter");
}

Test(guard_places, one_is_gone)
{
	note(ROOT_LINE WORK_LINE CONFIG_LINE ENVRC_LINE);
	cr_assert_str_eq(lost_in(ROOT_LINE WORK_LINE ENVRC_LINE), "config");
	cr_assert_str_eq(lost_in(ROOT_LINE WORK_LINE CONFIG_LINE), "envrc");
	cr_assert_str_eq(lost_in(""), "config");
	cr_assert_str_eq(lost_in(ROOT_LINE WORK_LINE CONFIG_LINE ENVRC_LINE), "none", "remembered");
}

Test(guard_places, one_was_moved_or_has_anothers_place)
{
	note(CONFIG_LINE ENVRC_LINE);
	cr_assert_str_eq(lost_in(CONFIG_LINE ENVRC_ELSEWHERE), "envrc");
	cr_assert_str_eq(lost_in(CONFIG_LINE "124 21 8:1 / /work/.envrc ro - ext4 x rw\n"),
			 "envrc");
	cr_assert_str_eq(lost_in(CONFIG_LINE "123 21 8:1 / /work/.env ro - ext4 x rw\n"), "envrc");
	cr_assert_str_eq(lost_in(CONFIG_LINE "123 21 8:1 / /work/.envrc//deleted ro - ext4 x rw\n"),
			 "envrc");
}

Test(guard_places, damaged_text_counts_as_gone)
{
	static const char *const damaged[] = { "123",
					       "123 ",
					       "123 21 8:1 /x",
					       "123x 21 8:1 / /work/.envrc ro",
					       "x 21 8:1 / /work/.envrc ro",
					       "\n\n" };

	note(CONFIG_LINE ENVRC_LINE);
	for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
		char text[512];

		snprintf(text, sizeof(text), "%s%s", CONFIG_LINE, damaged[i]);
		cr_assert_str_eq(lost_in(text), "envrc", "%s", damaged[i]);
	}
}

Test(guard_places, one_that_was_never_listed_is_lost)
{
	note(CONFIG_LINE);
	cr_assert_null(places[1].place);
	cr_assert_str_eq(lost_in(CONFIG_LINE ENVRC_LINE), "envrc");
}

/* --- the kernel ------------------------------------------------------------------------------ */

#define NO_USERNS "no user namespace can be made here"

/* A host that does `edit` to the folder while a child in namespaces of its own guards `file` in it. */
struct world {
	char folder[64];
	const char *edit; /* shell; NULL: none */
	const char *lost; /* what of the sentence must be there; NULL: no loss */
	int wake[2], done[2];
};

static uint64_t mount_id(const char *path)
{
	struct statx stx = { 0 };

	return statx(AT_FDCWD, path, 0, STATX_MNT_ID, &stx) == 0 ? stx.stx_mnt_id : 0;
}

static int open_watch(struct guard_watch *watch, struct mount_op *op)
{
	const struct mount_guard guard = { mount_id(op->at), op };
	cleanup_fd int proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct err err = { "" };
	int rc = guard_watch_open(watch, proc_fd, &guard, 1, &err);

	if (rc < 0)
		fprintf(stderr, "%s\n", err.text);
	return rc;
}

static int guard_file(void *arg)
{
	struct world *world = arg;
	char path[128];
	struct mount_op op = { .kind = MOUNT_ALIAS, .at = path };
	struct guard_watch watch;
	struct err err = { "" };
	char byte = 0;
	int rc;

	snprintf(path, sizeof(path), "%s/a file", world->folder);
	guard_watch_init(&watch);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return IN_CHILD_SKIP;
	CHILD_CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHILD_CHECK(mount(path, path, NULL, MS_BIND, NULL) == 0);
	CHILD_CHECK(open_watch(&watch, &op) == 0);
	CHILD_CHECK(guard_watch_check(&watch, &err) == 0);
	CHILD_CHECK(write(world->wake[1], &byte, 1) == 1 && read(world->done[0], &byte, 1) == 1);

	struct pollfd fds[] = { { .fd = watch.mounts_fd, .events = POLLPRI },
				{ .fd = watch.moves_fd, .events = POLLIN } };
	/* Both, where the inode ended with the mount. */
	CHILD_CHECK((poll(fds, 2, world->lost ? 5000 : 0) > 0) == !!world->lost);
	rc = guard_watch_check(&watch, &err);
	CHILD_CHECK(rc == (world->lost ? -ESTALE : 0));
	CHILD_CHECK(!world->lost || (strstr(err.text, path) && strstr(err.text, world->lost)));
	return 0;
}

static int in_folder(const char *folder, const char *command)
{
	char text[512];

	snprintf(text, sizeof(text), "cd '%s' && { %s; }", folder, command);
	return system(text);
}

/* The host: waits until the child guards, edits, and says so. */
static pid_t fork_host(const struct world *world)
{
	pid_t pid = fork();
	char byte = 0;

	if (pid != 0)
		return pid;
	close(world->wake[1]); /* the child's end alone keeps it open */
	if (read(world->wake[0], &byte, 1) != 1)
		_exit(0); /* it was skipped */
	if (in_folder(world->folder, world->edit) != 0 || write(world->done[1], &byte, 1) != 1)
		_exit(1);
	_exit(0);
}

static void assert_edit(const char *edit, const char *lost)
{
	struct world world = { .folder = "/tmp/test_guard_watch.XXXXXX",
			       .edit = edit,
			       .lost = lost };
	int rc, status;
	pid_t host;

	cr_assert_not_null(mkdtemp(world.folder));
	cr_assert_eq(in_folder(world.folder, "echo old >'a file'; echo x >other"), 0);
	cr_assert(pipe(world.wake) == 0 && pipe(world.done) == 0);
	host = fork_host(&world);
	rc = in_child(guard_file, &world);
	close(world.wake[1]);
	waitpid(host, &status, 0);
	close(world.wake[0]);
	close(world.done[0]);
	close(world.done[1]);
	(void)!in_folder(world.folder, "rm -rf -- \"$PWD\"");
	if (rc == IN_CHILD_SKIP)
		cr_skip_test(NO_USERNS);
	cr_assert_eq(rc, 0);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

Test(guard_watch, sees_a_rename_over_the_file)
{
	assert_edit("mv other 'a file'", "was replaced");
}

Test(guard_watch, sees_a_removal)
{
	assert_edit("rm 'a file'", "was replaced");
}

Test(guard_watch, sees_the_file_moved_away)
{
	assert_edit("mv 'a file' elsewhere", "was replaced");
}

Test(guard_watch, sees_nothing_in_an_edit_in_place_or_of_others)
{
	assert_edit("echo new >'a file'; chmod 600 'a file'; mv other elsewhere; rm elsewhere",
		    NULL);
}

/* --- marks ----------------------------------------------------------------------------------- */

static char folder[64];
static char path[128];

static void make_file(void)
{
	snprintf(folder, sizeof(folder), "/tmp/test_guard_mark.XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/file", folder);
	cr_assert_eq(in_folder(folder, "echo old >file"), 0);
}

static void drop_file(void)
{
	(void)!in_folder(folder, "rm -rf -- \"$PWD\"");
}

static struct guard_mark marked(void)
{
	cleanup_fd int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct guard_mark mark = { 0 };

	cr_assert_geq(fd, 0);
	cr_assert_eq(guard_mark_take(fd, &mark), 0);
	return mark;
}

TestSuite(guard_mark, .init = make_file, .fini = drop_file);

Test(guard_mark, the_same_file_differs_by_content_only)
{
	struct guard_mark mark = marked();

	cr_assert(!guard_mark_differs(&mark, path, true));
	cr_assert_eq(in_folder(folder, "sleep 0.02; echo new >file"),
		     0); /* past the clock's tick */
	cr_assert(!guard_mark_differs(&mark, path, false));
	cr_assert(guard_mark_differs(&mark, path, true));
}

Test(guard_mark, another_file_differs)
{
	struct guard_mark mark = marked();

	cr_assert_eq(in_folder(folder, "cp file other && mv other file"), 0);
	cr_assert(guard_mark_differs(&mark, path, false));
}

Test(guard_mark, what_is_gone_does_not_and_what_is_hidden_does)
{
	struct guard_mark mark = marked();

	cr_assert_eq(in_folder(folder, "mv file kept"), 0);
	cr_assert(!guard_mark_differs(&mark, path, true));
	cr_assert_eq(in_folder(folder, "ln -s kept file"), 0);
	cr_assert(guard_mark_differs(&mark, path, false));
}
