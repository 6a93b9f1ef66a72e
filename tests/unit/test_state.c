/* SPDX-License-Identifier: Apache-2.0
 * State: folders that nobody else can have laid, and a lock that alone says who lives. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "runtime/state.h"
#include "tests/lib/in_child.h"

static char home[64];

static void setup(void)
{
	strcpy(home, "/tmp/test_state.XXXXXX");
	cr_assert_not_null(mkdtemp(home));
	setenv("HOME", home, 1);
	unsetenv("XDG_STATE_HOME");
	unsetenv("XDG_DATA_HOME");
	unsetenv("XDG_RUNTIME_DIR");
}

static void teardown(void)
{
	char command[256];

	snprintf(command, sizeof(command), "chmod -R u+rwx %s; rm -rf %s", home, home);
	cr_assert_eq(system(command), 0);
}

TestSuite(state, .init = setup, .fini = teardown);

static char *below(const char *path)
{
	static char full[4][256];
	static int next;
	char *out = full[next++ % 4];

	snprintf(out, sizeof(full[0]), "%s/%s", home, path);
	return out;
}

static void open_state(struct state *state)
{
	struct err err;

	cr_assert_eq(state_open(state, &err), 0, "%s", err.text);
}

static int count_runs(const struct state *state)
{
	DIR *dir = opendir(state->runtime_path);
	int count = 0;

	for (const struct dirent *entry; (entry = readdir(dir));)
		count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(dir);
	return count;
}

static void begin(struct state *state, struct state_run *run)
{
	char id[STATE_RUN_ID_SIZE];
	struct err err;

	cr_assert_eq(state_run_id(id, &err), 0);
	cr_assert_eq(state_run_begin(state, "demo", id, run, &err), 0, "%s", err.text);
}

/* ---- where ---- */

Test(state, folders_follow_home)
{
	cleanup_with(state_clear) struct state state;
	struct stat st;

	open_state(&state);
	cr_assert_str_eq(state.state_path, below(".local/state/bottle"));
	cr_assert_str_eq(state.data_path, below(".local/share/bottle"));
	cr_assert_str_eq(state.runtime_path, below(".local/state/bottle/.run"));
	cr_assert_eq(stat(state.state_path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0700);
	cr_assert_neq(stat(state.data_path, &st), 0, "made though nothing is stored");
	cr_assert(!state.runtime_is_network);
}

Test(state, folders_follow_xdg)
{
	cleanup_with(state_clear) struct state state;

	cr_assert_eq(mkdir(below("run"), 0700), 0);
	setenv("XDG_STATE_HOME", below("s"), 1);
	setenv("XDG_RUNTIME_DIR", below("run"), 1);
	setenv("XDG_DATA_HOME", "not/absolute", 1);
	open_state(&state);
	cr_assert_str_eq(state.state_path, below("s/bottle"));
	cr_assert_str_eq(state.runtime_path, below("run/bottle-runs"));
	cr_assert_str_eq(state.data_path, below(".local/share/bottle"));
}

Test(state, without_a_home_that_is_absolute_that_of_passwd_counts)
{
	const struct passwd *entry = getpwuid(geteuid());
	const char *const homes[] = { NULL, "", "not/absolute" };

	cr_assert(entry && entry->pw_dir[0] == '/');
	for (size_t i = 0; i < sizeof(homes) / sizeof(homes[0]); i++) {
		cleanup_with(state_clear) struct state state;
		cleanup_free char *want = str_printf("%s/.local/share/bottle", entry->pw_dir);
		struct err err;

		unsetenv("HOME");
		if (homes[i])
			setenv("HOME", homes[i], 1);
		setenv("XDG_DATA_HOME", "", 1);
		cr_assert_eq(state_paths(&state, &err), 0);
		cr_assert_str_eq(state.data_path, want);
		state_clear(&state);
		setenv("XDG_DATA_HOME", "/x", 1);
		cr_assert_eq(state_paths(&state, &err), 0);
		cr_assert_str_eq(state.data_path, "/x/bottle");
	}
}

Test(state, paths_alone_make_nothing)
{
	cleanup_with(state_clear) struct state state;
	struct err err;

	cr_assert_eq(state_paths(&state, &err), 0);
	cr_assert_str_eq(state.state_path, below(".local/state/bottle"));
	cr_assert_neq(access(below(".local"), F_OK), 0);
}

Test(state, a_runtime_folder_that_others_may_enter_is_not_used)
{
	cleanup_with(state_clear) struct state state;

	cr_assert_eq(mkdir(below("run"), 0700), 0);
	cr_assert_eq(chmod(below("run"), 0755), 0);
	setenv("XDG_RUNTIME_DIR", below("run"), 1);
	open_state(&state);
	cr_assert_str_eq(state.runtime_path, below(".local/state/bottle/.run"));
}

static int note_path(struct state *state, void *ctx, struct err *err)
{
	struct strlist *seen = ctx;

	(void)err;
	return strlist_add(seen, state->runtime_path);
}

static void each_path(struct strlist *ret_seen)
{
	struct err err = { "" };

	strlist_clear(ret_seen);
	cr_assert_eq(state_each(note_path, ret_seen, &err), 0, "%s", err.text);
}

Test(state, both_folders_are_looked_at_whatever_the_environment)
{
	cleanup_with(strlist_clear) struct strlist seen = { 0 };
	struct err err = { "" };

	cr_assert(mkdir(below("run"), 0700) == 0 && mkdir(below("run/bottle-runs"), 0700) == 0);
	setenv("XDG_RUNTIME_DIR", below("run"), 1);
	each_path(&seen);
	cr_assert_eq(seen.len, 1, "the state folder's is not there yet");
	cr_assert_eq(chmod(below("run"), 0755), 0);
	each_path(&seen);
	cr_assert_eq(seen.len, 2);
	cr_assert_str_eq(seen.items[0], below(".local/state/bottle/.run"));
	cr_assert_str_eq(seen.items[1], below("run/bottle-runs"));
	cr_assert_eq(chmod(below("run"), 0700), 0);
	each_path(&seen);
	cr_assert_str_eq(seen.items[0], below("run/bottle-runs"));
	cr_assert_str_eq(seen.items[1], below(".local/state/bottle/.run"));
	cr_assert_eq(chmod(below(".local/state/bottle/.run"), 0777), 0);
	cr_assert_eq(state_each(note_path, &seen, &err), -EPERM);
}

Test(state, names)
{
	static const char *const bad[] = {
		"", "-a", "A", "a b", "../x", "a_b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_not(state_is_name(bad[i]), "%s", bad[i]);
	cr_assert(state_is_name("a") && state_is_name("9-x"));
}

static void expect_refusal(int code, const char *part)
{
	struct state state;
	struct err err = { "" };

	cr_assert_eq(state_open(&state, &err), -code, "%s", err.text);
	cr_assert_not_null(strstr(err.text, part), "%s", err.text);
}

Test(state, our_own_folder_is_no_symlink)
{
	cr_assert_eq(mkdir(below("elsewhere"), 0700), 0);
	setenv("XDG_STATE_HOME", home, 1);
	cr_assert_eq(symlink(below("elsewhere"), below("bottle")), 0);
	expect_refusal(ENOTDIR, "symlinks are not followed");
}

Test(state, our_own_folder_is_not_writable_by_others)
{
	setenv("XDG_STATE_HOME", home, 1);
	cr_assert_eq(mkdir(below("bottle"), 0700), 0);
	cr_assert_eq(chmod(below("bottle"), 0770), 0);
	expect_refusal(EPERM, "chmod 0700");
}

Test(state, our_own_folder_belongs_to_us)
{
	if (geteuid() != 0)
		cr_skip("only root can give a folder away");
	setenv("XDG_STATE_HOME", home, 1);
	cr_assert_eq(mkdir(below("bottle"), 0700), 0);
	cr_assert_eq(chown(below("bottle"), 1234, 1234), 0);
	expect_refusal(EPERM, "belongs to uid 1234");
}

/* ---- runs ---- */

Test(state, run_ids_are_short_plain_and_different)
{
	char a[STATE_RUN_ID_SIZE], b[STATE_RUN_ID_SIZE];
	struct err err;

	cr_assert_eq(state_run_id(a, &err), 0);
	cr_assert_eq(state_run_id(b, &err), 0);
	cr_assert_eq(strlen(a), 10);
	cr_assert_eq(strspn(a, "abcdefghijklmnopqrstuvwxyz0123456789"), 10);
	cr_assert_str_neq(a, b);
}

static void note_run(void *ctx, const char *folder, const char *info)
{
	cr_assert(str_starts(folder, "demo-"));
	cr_assert_not_null(strstr(info, "\"name\":\"demo\""));
	++*(int *)ctx;
}

static int count_alive(struct state *state)
{
	struct err err;
	int count = 0;

	cr_assert_eq(state_list(state, note_run, &count, &err), 0);
	return count;
}

Test(state, a_run_that_cannot_begin_leaves_no_folder)
{
	cleanup_with(state_clear) struct state state;
	struct rlimit was, none;
	struct state_run run;
	struct err err;
	int rc;

	open_state(&state);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &was), 0);
	none = (struct rlimit){ 0, was.rlim_max };
	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	rc = state_run_begin(&state, "demo", "abcdefgh", &run, &err);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &was), 0);
	cr_expect_eq(rc, -EFBIG);
	cr_expect_not_null(strstr(err.text, "info.json: File too large"), "%s", err.text);
	cr_expect_eq(count_runs(&state), 0);
}

Test(state, a_live_run_is_listed_and_not_swept)
{
	cleanup_with(state_clear) struct state state;
	struct strlist warnings = { 0 };
	struct state_run run;

	open_state(&state);
	begin(&state, &run);
	state_sweep(&state, &warnings);
	cr_assert_eq(count_runs(&state), 1);
	cr_assert_eq(count_alive(&state), 1);
	state_run_end(&state, &run, &warnings);
	cr_assert_eq(count_runs(&state), 0);
	cr_assert_eq(warnings.len, 0);
}

/* `spare` descriptors are left: the list of the runtime folder takes the first. */
static void expect_spared(struct state *state, unsigned spare)
{
	struct strlist warnings = { 0 };
	int next = dup(STDERR_FILENO), count = 0;
	struct rlimit was, few;
	struct err err = { "" };
	int rc;

	close(next);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
	few = (struct rlimit){ (rlim_t)next + spare, was.rlim_max };
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	state_sweep(state, &warnings);
	rc = state_list(state, note_run, &count, &err);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
	cr_expect_eq(warnings.len, 0);
	cr_expect_eq(rc, -EMFILE, "%u: %d %s", spare, rc, err.text);
	cr_expect_not_null(strstr(err.text, "Too many open files"), "%s", err.text);
}

/* What cannot be looked at for want of something is not dead for that. */
Test(state, a_live_run_is_spared_where_it_cannot_be_looked_at)
{
	cleanup_with(state_clear) struct state state;
	struct strlist warnings = { 0 };
	struct state_run run;

	open_state(&state);
	begin(&state, &run);
	for (unsigned spare = 0; spare < 3; spare++)
		expect_spared(&state, spare);
	cr_assert_eq(count_alive(&state), 1);
	state_run_end(&state, &run, &warnings);
	cr_assert_eq(count_runs(&state), 0);
}

static int begin_and_die(void *arg)
{
	struct state_run run;
	struct err err;

	if (state_run_begin(arg, "demo", "abc", &run, &err) < 0)
		return 1;
	(void)!mkdirat(run.dir_fd, "stage", 0700);
	(void)!symlinkat("/etc", run.dir_fd, "stage/link");
	return raise(SIGKILL);
}

Test(state, a_dead_run_is_swept_whatever_its_pid_says)
{
	cleanup_with(state_clear) struct state state;
	struct strlist warnings = { 0 };

	open_state(&state);
	cr_assert_eq(in_child(begin_and_die, &state), 128 + SIGKILL);
	cr_assert_eq(count_runs(&state), 1);
	cr_assert_eq(count_alive(&state), 0);
	state_sweep(&state, &warnings);
	cr_assert_eq(count_runs(&state), 0);
	cr_assert_eq(warnings.len, 0);
	cr_assert_eq(access("/etc/passwd", F_OK), 0);
}

/* The launcher died between mkdir(2) and flock(2). */
Test(state, half_a_run_is_swept)
{
	cleanup_with(state_clear) struct state state;
	struct strlist warnings = { 0 };

	open_state(&state);
	cr_assert_eq(mkdirat(state.runtime_fd, "demo-half", 0700), 0);
	state_sweep(&state, &warnings);
	cr_assert_eq(count_runs(&state), 0);
}

Test(state, no_sweep_while_a_run_begins)
{
	cleanup_with(state_clear) struct state state;
	struct strlist warnings = { 0 };
	int fd;

	open_state(&state);
	cr_assert_eq(mkdirat(state.runtime_fd, "demo-half", 0700), 0);
	fd = open(state.runtime_path, O_RDONLY | O_CLOEXEC);
	cr_assert_eq(flock(fd, LOCK_SH), 0); /* another launcher is here */
	state_sweep(&state, &warnings);
	cr_assert_eq(count_runs(&state), 1);
	close(fd);
	state_sweep(&state, &warnings);
	cr_assert_eq(count_runs(&state), 0);
}

Test(state, what_cannot_be_removed_is_said_with_the_command)
{
	cleanup_with(state_clear) struct state state;
	struct strlist warnings = { 0 };
	char expected[256];

	if (geteuid() == 0)
		cr_skip("root can remove it");
	open_state(&state);
	cr_assert_eq(in_child(begin_and_die, &state), 128 + SIGKILL);
	cr_assert_eq(chmod(below(".local/state/bottle/.run"), 0500), 0);
	state_sweep(&state, &warnings);
	cr_assert_eq(warnings.len, 1);
	snprintf(expected, sizeof(expected), "remove it with: rm -rf '%s'",
		 below(".local/state/bottle/.run/demo-abc"));
	cr_assert_not_null(strstr(warnings.items[0], expected), "%s", warnings.items[0]);
	strlist_clear(&warnings);
}

Test(state, what_is_closed_to_ourselves_is_removed)
{
	cleanup_with(state_clear) struct state state;
	cleanup_with(strlist_clear) struct strlist warnings = { 0 };

	open_state(&state);
	cr_assert_eq(in_child(begin_and_die, &state), 128 + SIGKILL);
	cr_assert_eq(chmod(below(".local/state/bottle/.run/demo-abc/stage"), 0500), 0);
	cr_assert_eq(mkdirat(state.runtime_fd, "demo-half", 0), 0);
	cr_assert_eq(state_sweep(&state, &warnings), 2);
	cr_assert_eq(warnings.len, 0, "%s", warnings.items[0]);
	cr_assert_eq(count_runs(&state), 0);
}

Test(state, an_odd_umask_does_not_close_our_folders)
{
	cleanup_with(state_clear) struct state state;
	const mode_t was = umask(0777);
	struct strlist warnings = { 0 };
	struct state_run run;
	struct stat st;

	state_set_umask();
	open_state(&state);
	begin(&state, &run);
	umask(was);
	cr_assert_eq(state_callers_umask(), 0777);
	cr_assert_eq(stat(below(".local"), &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0700);
	cr_assert_eq(fstat(run.dir_fd, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0700);
	state_run_end(&state, &run, &warnings);
	cr_assert_eq(warnings.len, 0);
}

Test(state, a_run_folder_that_cannot_be_entered_is_undone)
{
	cleanup_with(state_clear) struct state state;
	struct state_run run;
	struct err err;
	mode_t was;

	if (geteuid() == 0)
		cr_skip("root can enter it");
	open_state(&state);
	was = umask(0777);
	cr_assert_eq(state_run_begin(&state, "demo", "abcdefgh", &run, &err), -EACCES);
	umask(was);
	cr_assert_eq(count_runs(&state), 0);
}

Test(state, foreign_files_stay)
{
	cleanup_with(state_clear) struct state state;
	struct strlist warnings = { 0 };
	int fd;

	open_state(&state);
	fd = openat(state.runtime_fd, "notes", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	close(fd);
	cr_assert_eq(symlinkat("/etc", state.runtime_fd, "demo-link"), 0);
	state_sweep(&state, &warnings);
	cr_assert_eq(count_runs(&state), 2);
}

static void put_record(const struct state *state, const char *name)
{
	cleanup_fd int dir_fd = -1;
	int fd;

	cr_assert_eq(mkdirat(state->state_fd, name, 0700), 0);
	dir_fd = openat(state->state_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = openat(dir_fd, "record", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	close(fd);
}

/* Some point all of these variables at one folder. */
Test(state, records_stay_where_all_folders_are_one)
{
	cleanup_with(state_clear) struct state state;
	struct strlist warnings = { 0 };

	setenv("XDG_STATE_HOME", home, 1);
	setenv("XDG_DATA_HOME", home, 1);
	setenv("XDG_RUNTIME_DIR", home, 1);
	open_state(&state);
	put_record(&state, "trust");
	put_record(&state, "images");
	state_sweep(&state, &warnings);
	cr_assert_eq(access(below("bottle/trust/record"), F_OK), 0);
	cr_assert_eq(access(below("bottle/images/record"), F_OK), 0);
}

/* A run's folder is named by its lock; anything else in the runtime folder is somebody's. */
Test(state, a_folder_without_a_lock_but_with_files_is_not_swept)
{
	cleanup_with(state_clear) struct state state;
	struct strlist warnings = { 0 };

	open_state(&state);
	cr_assert_eq(mkdirat(state.runtime_fd, "somebodys", 0700), 0);
	cr_assert_eq(mkdirat(state.runtime_fd, "somebodys/folder", 0700), 0);
	state_sweep(&state, &warnings);
	cr_assert_eq(faccessat(state.runtime_fd, "somebodys/folder", F_OK, 0), 0);
}

/* Many begin, end, die and sweep at once: no live run may lose its folder. */
static int live_a_little(void *arg)
{
	struct state *state = arg;
	struct strlist warnings = { 0 };

	for (int i = 0; i < 50; i++) {
		char id[STATE_RUN_ID_SIZE];
		struct state_run run;
		struct err err = { "" };

		if (state_run_id(id, &err) < 0 ||
		    state_run_begin(state, "demo", id, &run, &err) < 0) {
			fprintf(stderr, "%s\n", err.text);
			return 1;
		}
		state_sweep(state, &warnings);
		if (faccessat(run.dir_fd, "lock", F_OK, 0) < 0 || access(run.path, F_OK) < 0)
			return 2;
		if (i % 3)
			state_run_end(state, &run, &warnings);
		else
			close(run.lock_fd); /* as good as dead */
	}
	return warnings.len ? 3 : 0;
}

static int live_together(void *arg)
{
	int status, worst = 0;

	(void)arg;
	for (int i = 0; i < 4; i++)
		if (fork() == 0) {
			struct state state;
			struct err err;

			_exit(state_open(&state, &err) < 0 ? 9 : live_a_little(&state));
		}
	while (wait(&status) > 0)
		worst |= WIFEXITED(status) ? WEXITSTATUS(status) : 64;
	return worst;
}

Test(state, sweeps_and_starts_do_not_hurt_each_other)
{
	cleanup_with(state_clear) struct state state;
	struct strlist warnings = { 0 };

	cr_assert_eq(in_child(live_together, NULL), 0);
	open_state(&state);
	state_sweep(&state, &warnings);
	cr_assert_eq(count_runs(&state), 0);
}
