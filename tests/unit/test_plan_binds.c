/* SPDX-License-Identifier: Apache-2.0
 * runtime/plan_binds.c, plan_sockets.c: which folders of the host an agent may be shown. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime/plan_agent.h"

/* base/: home, home/work (the work folder), home/.local/share/bottle … as on a real host. */
static char base[64];
static struct plan plan;
static struct err err;
static struct plan_dirs dirs;
static char paths[4][128];

static char *below(const char *name)
{
	static char path[8][192];
	static unsigned next;
	char *p = path[next++ % 8];

	snprintf(p, sizeof(path[0]), "%s%s%s", base, *name ? "/" : "", name);
	return p;
}

static void set_up(void)
{
	static const char *const folders[] = { "home", "home/work", "home/work/sub",
					       "data", "state",	    "run" };

	snprintf(base, sizeof(base), "/tmp/test_plan.XXXXXX");
	cr_assert_not_null(mkdtemp(base));
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		cr_assert_eq(mkdir(below(folders[i]), 0755), 0);
	snprintf(paths[0], sizeof(paths[0]), "%s/data", base);
	snprintf(paths[1], sizeof(paths[1]), "%s/state", base);
	snprintf(paths[2], sizeof(paths[2]), "%s/run", base);
	dirs = (struct plan_dirs){ paths[0], paths[1], paths[2] };
	plan = (struct plan){ .home = strdup(below("home")) };
	manifest_init(&plan.manifest);
	err.text[0] = '\0';
}

static void tear_down(void)
{
	char command[128];

	plan_clear(&plan);
	snprintf(command, sizeof(command), "rm -rf -- '%s'", base);
	cr_assert_eq(system(command), 0);
}

TestSuite(plan_binds, .init = set_up, .fini = tear_down);

static const struct mount_op *op_at(const char *at, enum mount_kind kind)
{
	for (size_t i = 0; i < plan.agent.mounts.len; i++)
		if (plan.agent.mounts.ops[i].kind == kind &&
		    strcmp(plan.agent.mounts.ops[i].at, at) == 0)
			return &plan.agent.mounts.ops[i];
	return NULL;
}

static void assert_refused(const char *workdir, const char *sentence)
{
	cr_assert_lt(plan_agent_binds(&plan, workdir, &dirs, &err), 0, "%s was taken", workdir);
	cr_assert_not_null(strstr(err.text, sentence), "%s", err.text);
}

Test(plan_binds, work_folder_is_bound_writable_without_symlinks)
{
	const struct mount_op *op;

	cr_assert_eq(plan_agent_binds(&plan, below("home/work"), &dirs, &err), 0, "%s", err.text);
	op = op_at(below("home/work"), MOUNT_BIND);
	cr_assert_not_null(op);
	cr_assert_eq(op->flags & (MOUNT_WRITABLE | MOUNT_NO_SYMLINKS),
		     MOUNT_WRITABLE | MOUNT_NO_SYMLINKS);
}

Test(plan_binds, root_is_no_work_folder)
{
	assert_refused("/", "is '/'");
}

Test(plan_binds, home_is_no_work_folder)
{
	assert_refused(below("home"), "home folder");
}

Test(plan_binds, what_contains_home_is_no_work_folder)
{
	assert_refused(base, "home folder");
}

Test(plan_binds, the_state_folder_is_no_work_folder)
{
	assert_refused(below("state"), "what the agent must not write");
}

Test(plan_binds, below_the_data_folder_is_no_work_folder)
{
	cr_assert_eq(mkdir(below("data/images"), 0755), 0);
	assert_refused(below("data/images"), "what the agent must not write");
}

Test(plan_binds, a_file_is_no_work_folder)
{
	close(open(below("file"), O_CREAT | O_WRONLY, 0644));
	assert_refused(below("file"), "is not a folder");
}

Test(plan_binds, a_missing_folder_names_itself)
{
	assert_refused(below("nowhere"), "nowhere: No such file");
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(listen(fd, 1), 0);
	return fd;
}

Test(plan_binds, sockets_below_the_work_folder_are_masked_and_named)
{
	int fd = listen_at(below("home/work/sub/docker.sock"));

	cr_assert_eq(plan_agent_binds(&plan, below("home/work"), &dirs, &err), 0, "%s", err.text);
	cr_assert(strlist_has(&plan.masked, below("home/work/sub/docker.sock")));
	cr_assert_not_null(op_at(below("home/work/sub/docker.sock"), MOUNT_MASK));
	close(fd);
}

Test(plan_binds, a_path_that_is_a_socket_is_refused)
{
	int fd = listen_at(below("home/agent.sock"));

	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, below("home/agent.sock")), 0);
	assert_refused(below("home/work"), "way out of the bottle");
	close(fd);
}

Test(plan_binds, a_symlink_that_a_run_left_in_the_work_folder_is_refused)
{
	cr_assert_eq(symlink("/etc", below("home/work/link")), 0);
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_write, below("home/work/link")), 0);
	assert_refused(below("home/work"), "symbolic link");
}

/* run 1 in home/work may have made the link; run 2 names it. */
Test(plan_binds, a_symlink_below_the_current_folder_is_refused)
{
	cr_assert_eq(mkdir(below("home/other"), 0755), 0);
	cr_assert_eq(symlink("../other", below("home/work/link")), 0);
	cr_assert_eq(chdir(below("home/work")), 0);
	assert_refused("link", below("home/other; name the real path"));
	assert_refused(below("home/work/link"), "an earlier run may have made");
	cr_assert_eq(chdir("/tmp"), 0);
}

Test(plan_binds, a_symlink_below_the_manifests_folder_is_refused)
{
	cr_assert_eq(mkdir(below("home/other"), 0755), 0);
	cr_assert_eq(symlink("../other", below("home/work/link")), 0);
	plan.manifest.path = strdup(below("home/work/b.yaml"));
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, below("home/work/link")), 0);
	assert_refused(below("home/other"), "agent.read_only");
	cr_assert_not_null(strstr(err.text, "an earlier run may have made"));
	free(plan.manifest.path);
	free(plan.work_folder);			       /* the first plan's */
	plan.manifest.path = strdup("../work/b.yaml"); /* as `-f` may name it */
	cr_assert_eq(chdir(below("home/other")), 0);
	assert_refused(below("home/other"), "an earlier run may have made");
	cr_assert_eq(chdir("/tmp"), 0);
}

/* No run writes a home itself, nor what lies beside the project. */
Test(plan_binds, the_callers_own_symlinks_are_followed)
{
	cr_assert_eq(symlink("work", below("home/link")), 0);
	cr_assert_eq(chdir(below("home")), 0);
	cr_assert_eq(plan_agent_binds(&plan, "link", &dirs, &err), 0, "%s", err.text);
	cr_assert_not_null(op_at(below("home/work"), MOUNT_BIND));
	plan_clear(&plan);
	plan = (struct plan){ .home = strdup(below("home")) };
	manifest_init(&plan.manifest);
	cr_assert_eq(symlink("home/work", below("beside")), 0);
	cr_assert_eq(chdir(below("home/work")), 0);
	cr_assert_eq(plan_agent_binds(&plan, below("beside/sub"), &dirs, &err), 0, "%s", err.text);
	cr_assert_eq(chdir("/tmp"), 0);
}

Test(plan_binds, one_path_twice_is_refused)
{
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, below("home/work")), 0);
	assert_refused(below("home/work"), "shown twice");
}

Test(plan_binds, guarded_files_are_read_only_and_git_cannot_be_renamed)
{
	const struct mount_op *git, *hooks;

	cr_assert_eq(mkdir(below("home/work/.git"), 0755), 0);
	cr_assert_eq(mkdir(below("home/work/.git/hooks"), 0755), 0);
	cr_assert_eq(plan_agent_binds(&plan, below("home/work"), &dirs, &err), 0, "%s", err.text);
	git = op_at(below("home/work/.git"), MOUNT_ALIAS);
	hooks = op_at(below("home/work/.git/hooks"), MOUNT_ALIAS);
	cr_assert(git && git->flags & MOUNT_WRITABLE);
	cr_assert(hooks && !(hooks->flags & MOUNT_WRITABLE) && git < hooks);
}

Test(plan_binds, a_guarded_file_that_is_missing_is_looked_for_at_the_end)
{
	char wanted[192];

	snprintf(wanted, sizeof(wanted), "%s", below("home/work/.envrc"));
	cr_assert_eq(plan_agent_binds(&plan, below("home/work"), &dirs, &err), 0, "%s", err.text);
	cr_assert(strlist_has(&plan.absent, wanted));
}

Test(plan_binds, a_parent_is_bound_before_its_child)
{
	size_t parent = 0, child = 0;

	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, below("home/work/sub")), 0);
	cr_assert_eq(plan_agent_binds(&plan, below("home/work"), &dirs, &err), 0, "%s", err.text);
	parent = (size_t)(op_at(below("home/work"), MOUNT_BIND) - plan.agent.mounts.ops);
	child = (size_t)(op_at(below("home/work/sub"), MOUNT_BIND) - plan.agent.mounts.ops);
	cr_assert_lt(parent, child);
}

/* --- names with links, and folders that are nobody's own --- */

Test(plan_binds, home_behind_a_link_is_no_work_folder)
{
	cr_assert_eq(symlink("home", below("moved")), 0);
	free(plan.home);
	plan.home = strdup(below("moved"));
	assert_refused(below("home"), "home folder");
}

Test(plan_binds, the_environments_home_with_two_slashes_is_no_work_folder)
{
	char doubled[200];

	cr_assert_eq(mkdir(below("other"), 0755), 0);
	snprintf(doubled, sizeof(doubled), "/%s", below("other"));
	setenv("HOME", doubled, 1);
	assert_refused(below("other"), "home folder");
}

Test(plan_binds, a_kept_folder_behind_a_link_that_is_not_there_yet_is_no_work_folder)
{
	cr_assert_eq(symlink("data", below("link")), 0);
	snprintf(paths[0], sizeof(paths[0]), "%s/link/not/yet", base);
	assert_refused(below("data"), "what the agent must not write");
}

Test(plan_binds, the_systems_folders_are_no_work_folders_for_anyone)
{
	static const char *const common[] = { "/bin",  "/boot",	 "/dev",  "/etc",    "/home",
					      "/lib",  "/media", "/mnt",  "/opt",    "/proc",
					      "/root", "/run",	 "/sbin", "/srv",    "/sys",
					      "/tmp",  "/usr",	 "/var",  "/var/tmp" };

	free(plan.home);
	plan.home = strdup("/nowhere");
	for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++) {
		if (access(common[i], F_OK) < 0)
			continue;
		cr_assert_lt(plan_agent_binds(&plan, common[i], &dirs, &err), 0, "%s", common[i]);
		free(plan.work_folder);
		plan.work_folder = NULL;
	}
}

Test(plan_binds, what_a_bottle_lays_itself_is_not_shown_from_the_host)
{
	static const char *const laid[] = { "/", "/proc", "/proc/sys", "/sys", "/dev/shm", "/run" };

	for (size_t i = 0; i < sizeof(laid) / sizeof(laid[0]); i++) {
		cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, laid[i]), 0);
		cr_assert_lt(plan_agent_binds(&plan, below("home/work"), &dirs, &err), 0, "%s",
			     laid[i]);
		strlist_clear(&plan.manifest.agent.read_only);
		free(plan.work_folder);
		plan.work_folder = NULL;
	}
}

Test(plan_binds, what_is_shown_already_is_told)
{
	cr_assert_eq(mount_list_add(&plan.agent.mounts, (struct mount_op){ .kind = MOUNT_BIND,
									   .at = "/usr",
									   .source = "/usr" }),
		     0);
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, "/usr"), 0);
	assert_refused(below("home/work"),
		       "is shown already, read-only, and cannot be made writable");
}

/* --- sockets --- */

Test(plan_binds, a_listed_socket_below_a_folder_of_the_system_is_masked)
{
	int fd;

	cr_assert_eq(mkdir(below("opt"), 0755), 0);
	fd = listen_at(below("opt/s"));
	cr_assert_eq(
		mount_list_add(&plan.agent.mounts, (struct mount_op){ .kind = MOUNT_BIND,
								      .at = below("opt"),
								      .source = below("opt") }),
		0);
	cr_assert_eq(plan_agent_binds(&plan, below("home/work"), &dirs, &err), 0, "%s", err.text);
	cr_assert_not_null(op_at(below("opt/s"), MOUNT_MASK));
	close(fd);
}

Test(plan_binds, a_listed_socket_is_known_by_its_real_name)
{
	int fd;

	cr_assert_eq(symlink("home/work", below("link")), 0);
	fd = listen_at(below("link/s"));
	cr_assert_eq(plan_agent_binds(&plan, below("home/work"), &dirs, &err), 0, "%s", err.text);
	cr_assert_not_null(op_at(below("home/work/s"), MOUNT_MASK));
	close(fd);
}

Test(plan_binds, a_closed_folder_of_ones_own_is_refused)
{
	int fd;

	if (geteuid() == 0)
		cr_skip_test("no folder is closed to root");
	cr_assert_eq(chmod(below("home/work/sub"), 0), 0);
	assert_refused(below("home/work"), "chmod u+rwx");
	chmod(below("home/work/sub"), 0755);
	/* Readable but not to be entered: the entries are known, what they are is not. */
	cr_assert_eq(mkdir(below("home/work/sub/deep"), 0755), 0);
	fd = listen_at(below("home/work/sub/deep/s"));
	cr_assert_eq(chmod(below("home/work/sub"), 0444), 0);
	free(plan.work_folder);
	plan.work_folder = NULL;
	mount_list_clear(&plan.agent.mounts);
	assert_refused(below("home/work"), "chmod u+rwx");
	chmod(below("home/work/sub"), 0755);
	close(fd);
}

Test(plan_binds, a_closed_folder_that_is_shown_read_only_stays_closed)
{
	if (geteuid() == 0)
		cr_skip_test("no folder is closed to root");
	cr_assert_eq(mkdir(below("ro"), 0755), 0);
	cr_assert_eq(mkdir(below("ro/closed"), 0), 0);
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, below("ro")), 0);
	cr_assert_eq(plan_agent_binds(&plan, below("home/work"), &dirs, &err), 0, "%s", err.text);
}

/* --- FIFOs --- */

Test(plan_binds, a_fifo_is_masked_where_the_agent_may_only_read)
{
	cr_assert_eq(mkdir(below("ro"), 0755), 0);
	cr_assert_eq(mkdir(below("home/work/ro"), 0755), 0);
	cr_assert_eq(mkfifo(below("ro/fifo"), 0666), 0);
	cr_assert_eq(mkfifo(below("home/work/ro/fifo"), 0666), 0);
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, below("ro")), 0);
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, below("home/work/ro")), 0);
	cr_assert_eq(plan_agent_binds(&plan, below("home/work"), &dirs, &err), 0, "%s", err.text);
	cr_assert_not_null(op_at(below("ro/fifo"), MOUNT_MASK));
	cr_assert_not_null(op_at(below("home/work/ro/fifo"), MOUNT_MASK));
	cr_assert(strlist_has(&plan.masked, below("ro/fifo")));
}

Test(plan_binds, a_fifo_that_the_agent_may_write_stays_its_own)
{
	cr_assert_eq(mkfifo(below("home/work/fifo"), 0666), 0);
	/* The work folder lies in a folder that is shown read-only. */
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, below("home")), 0);
	cr_assert_eq(mkfifo(below("home/fifo"), 0666), 0);
	cr_assert_eq(plan_agent_binds(&plan, below("home/work"), &dirs, &err), 0, "%s", err.text);
	cr_assert_null(op_at(below("home/work/fifo"), MOUNT_MASK));
	cr_assert_not_null(op_at(below("home/fifo"), MOUNT_MASK));
}

/* --- names that are links --- */

static void plan_with_link(const char *name)
{
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, name), 0);
	cr_assert_eq(
		mount_list_add(&plan.agent.mounts, (struct mount_op){ .kind = MOUNT_ROOT_TMPFS }),
		0);
	cr_assert_eq(plan_agent_binds(&plan, below("home/work"), &dirs, &err), 0, "%s", err.text);
}

Test(plan_binds, a_link_that_named_a_path_is_made_inside)
{
	const struct mount_op *op;

	cr_assert_eq(mkdir(below("home/dot"), 0755), 0);
	close(open(below("home/dot/config"), O_CREAT | O_WRONLY, 0644));
	cr_assert_eq(symlink("dot", below("home/a")), 0);
	cr_assert_eq(symlink("a/config", below("home/config")), 0);
	plan_with_link(below("home/config"));
	cr_assert_not_null(op_at(below("home/dot/config"), MOUNT_BIND));
	op = op_at(below("home/config"), MOUNT_SYMLINK);
	cr_assert_not_null(op);
	cr_assert_str_eq(op->source, below("home/dot/config"));
	cr_assert_null(op_at(below("home/a"), MOUNT_SYMLINK));
	cr_assert_eq(plan.warnings.len, 0);
}

Test(plan_binds, a_link_on_the_way_is_made_once)
{
	size_t links = 0;

	cr_assert_eq(mkdir(below("home/dot"), 0755), 0);
	cr_assert_eq(mkdir(below("home/dot/one"), 0755), 0);
	cr_assert_eq(mkdir(below("home/dot/two"), 0755), 0);
	cr_assert_eq(symlink("dot", below("home/a")), 0);
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, below("home/a/one")), 0);
	plan_with_link(below("home/a/../a/two"));
	for (size_t i = 0; i < plan.agent.mounts.len; i++)
		links += plan.agent.mounts.ops[i].kind == MOUNT_SYMLINK;
	cr_assert_eq(links, 1);
	cr_assert_str_eq(op_at(below("home/a"), MOUNT_SYMLINK)->source, below("home/dot"));
}

/* To make it there would be to write to the host. */
Test(plan_binds, a_link_in_a_folder_that_is_shown_is_not_made)
{
	cr_assert_eq(mkdir(below("home/dot"), 0755), 0);
	cr_assert_eq(mkdir(below("home/bin"), 0755), 0);
	cr_assert_eq(symlink("../dot", below("home/bin/a")), 0);
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, below("home/bin")), 0);
	plan_with_link(below("home/bin/a"));
	cr_assert_null(op_at(below("home/bin/a"), MOUNT_SYMLINK));
	cr_assert_eq(plan.warnings.len, 0);
}

Test(plan_binds, a_link_that_an_images_root_cannot_have_is_warned_about)
{
	cr_assert_eq(mkdir(below("home/dot"), 0755), 0);
	cr_assert_eq(symlink("dot", below("home/a")), 0);
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, below("home/a")), 0);
	cr_assert_eq(plan_agent_binds(&plan, below("home/work"), &dirs, &err), 0, "%s", err.text);
	cr_assert_eq(plan.warnings.len, 1);
	cr_assert_not_null(strstr(plan.warnings.items[0], below("home/dot")));
}

Test(plan_binds, a_home_that_is_shown_whole_is_warned_about)
{
	cr_assert_eq(mkdir(below("home/bin"), 0755), 0);
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, below("home/bin")), 0);
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, below("home")), 0);
	cr_assert_eq(plan_agent_binds(&plan, below("home/work"), &dirs, &err), 0, "%s", err.text);
	cr_assert_eq(plan.warnings.len, 1, "%zu", plan.warnings.len);
	cr_assert_not_null(strstr(plan.warnings.items[0], "is or contains the home folder"), "%s",
			   plan.warnings.items[0]);
	cr_assert_str_empty(err.text);
}
