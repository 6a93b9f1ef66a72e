/* SPDX-License-Identifier: Apache-2.0
 *
 * Live runs; see state.h, and state_where.c for the folders. Runs in: the launcher and the subcommands.
 *
 * The race of a starting run with a sweep is closed by a lock on the runtime folder itself: who makes
 * a run's folder holds it shared until the new folder's own lock is held, who sweeps takes it
 * exclusively or does not sweep. A sweep then only sees folders whose lock is held or whose run is
 * dead, also when the launcher was killed between mkdir(2) and flock(2). Dead folders are renamed to
 * ".dead-…" under that lock, and removed after it was let go.
 */
#include "runtime/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "runtime/host_id.h"

enum { TREE_DEPTH_MAX = 64, INFO_MAX = 4096 };

#define DEAD_PREFIX ".dead-"

/* ---- one run ---- */

int state_run_id(char ret_id[static STATE_RUN_ID_SIZE], struct err *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	enum { LETTERS = sizeof(letters) - 1, UNBIASED = 256 / LETTERS * LETTERS };
	size_t len = 0;

	while (len < STATE_RUN_ID_SIZE - 1) {
		unsigned char random[2 * STATE_RUN_ID_SIZE];

		if (getentropy(random, sizeof(random)) < 0)
			return err_sys(err, errno, "getentropy");
		for (size_t i = 0; i < sizeof(random) && len < STATE_RUN_ID_SIZE - 1; i++)
			if (random[i] < UNBIASED)
				ret_id[len++] = letters[random[i] % LETTERS];
	}
	ret_id[len] = '\0';
	return 0;
}

void state_run_init(struct state_run *run)
{
	*run = (struct state_run){ .dir_fd = -1, .lock_fd = -1 };
}

static void run_clear(struct state_run *run)
{
	free(run->folder);
	free(run->path);
	fd_close(&run->dir_fd);
	fd_close(&run->lock_fd);
	state_run_init(run);
}

static int lock_file(int fd, int how)
{
	while (flock(fd, how) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

static int lock_failed(int rc, const char *path, struct err *err)
{
	const char *hint =
		rc == -ENOLCK || rc == -EOPNOTSUPP || rc == -ENOSYS
			? " (this file system cannot lock: point XDG_RUNTIME_DIR to a local "
			  "folder of mode 0700)"
			: "";

	return err_set(err, -rc, "%s: flock: %s%s", path, strerror(-rc), hint);
}

/* For people and for `bottle list`; nothing here is trusted later. */
static int write_info(const struct state_run *run, const char *name, const char *run_id,
		      struct err *err)
{
	char host[HOST_ID_SIZE], boot_id[HOST_BOOT_ID_SIZE];
	cleanup_with(buf_clear) struct buf info = { 0 };
	cleanup_fd int fd = openat(run->dir_fd, "info.json",
				   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct timespec now;
	int rc;

	if (fd < 0)
		return err_sys(err, errno, "%s/info.json", run->path);
	clock_gettime(CLOCK_REALTIME, &now);
	host_id(host);
	host_boot_id(boot_id);
	buf_printf(&info,
		   "{\"name\":\"%s\",\"run\":\"%s\",\"pid\":%d,\"host\":\"%s\",\"boot\":\"%s\","
		   "\"started\":%lld}\n",
		   name, run_id, (int)getpid(), host, boot_id, (long long)now.tv_sec);
	rc = info.failed ? -ENOMEM : fd_write_all(fd, info.data, info.len);
	return rc < 0 ? err_sys(err, -rc, "%s/info.json", run->path) : 0;
}

static int make_run_folder(const struct state *state, struct state_run *run, struct err *err)
{
	int rc;

	if (mkdirat(state->runtime_fd, run->folder, 0700) < 0)
		return err_folder(err, errno, state_runtime_variable(state), "%s", run->path);
	run->dir_fd = openat(state->runtime_fd, run->folder,
			     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (run->dir_fd < 0)
		return err_sys(err, errno, "%s", run->path);
	run->lock_fd = openat(run->dir_fd, "lock",
			      O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (run->lock_fd < 0)
		return err_sys(err, errno, "%s/lock", run->path);
	rc = lock_file(run->lock_fd, LOCK_EX); /* a `bottle list` may look at it for an instant */
	return rc < 0 ? lock_failed(rc, run->path, err) : 0;
}

/* What make_run_folder and write_info came to. */
static void undo_run_folder(const struct state *state, const struct state_run *run)
{
	if (run->dir_fd >= 0) {
		(void)unlinkat(run->dir_fd, "info.json", 0);
		(void)unlinkat(run->dir_fd, "lock", 0);
	}
	(void)unlinkat(state->runtime_fd, run->folder, AT_REMOVEDIR);
}

int state_run_begin(struct state *state, const char *name, const char *run_id,
		    struct state_run *ret_run, struct err *err)
{
	cleanup_with(run_clear) struct state_run run;
	int rc;

	state_run_init(&run);
	run.folder = str_printf("%s-%s", name, run_id);
	run.path = str_printf("%s/%s-%s", state->runtime_path, name, run_id);
	if (!run.folder || !run.path)
		return err_sys(err, ENOMEM, "state");
	rc = lock_file(state->runtime_fd, LOCK_SH);
	if (rc < 0)
		return lock_failed(rc, state->runtime_path, err);
	rc = make_run_folder(state, &run, err);
	(void)!lock_file(state->runtime_fd, LOCK_UN);
	if (rc == 0)
		rc = write_info(&run, name, run_id, err);
	if (rc < 0) {
		undo_run_folder(state, &run);
		return rc;
	}
	*ret_run = run;
	state_run_init(&run);
	return 0;
}

/* ---- removal ---- */

static int remove_tree(int parent_fd, const char *name, unsigned depth);

static int remove_entries(int dir_fd, unsigned depth)
{
	int copy_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
	DIR *dir = copy_fd < 0 ? NULL : fdopendir(copy_fd);
	const struct dirent *entry;
	int rc = dir ? 0 : -errno;

	if (!dir && copy_fd >= 0)
		close(copy_fd);
	while (rc == 0 && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			rc = remove_tree(dir_fd, entry->d_name, depth + 1);
	if (dir)
		closedir(dir);
	return rc;
}

/* The folder, if it is one and no mount point. Ours may be closed to ourselves, by an odd umask. */
static int open_to_empty(int parent_fd, const char *name)
{
	enum { FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };
	cleanup_fd int fd = openat(parent_fd, name, FLAGS);
	struct stat parent, st;

	if (fd < 0 && errno == EACCES && fchmodat(parent_fd, name, 0700, AT_SYMLINK_NOFOLLOW) == 0)
		fd = openat(parent_fd, name, FLAGS);
	if (fd < 0 || fstat(fd, &st) < 0 || fstat(parent_fd, &parent) < 0)
		return -errno;
	if (st.st_dev != parent.st_dev)
		return -EBUSY;
	if (st.st_uid == geteuid() && (st.st_mode & 0700) != 0700 && fchmod(fd, 0700) < 0)
		return -errno;
	return take_fd(&fd);
}

/* By descriptor, never through a symlink, never onto another file system. Another sweep may be at
 * the same tree: what is gone already is fine. */
static int remove_tree(int parent_fd, const char *name, unsigned depth)
{
	cleanup_fd int dir_fd = -1;
	int rc;

	if (unlinkat(parent_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	rc = -errno;
	if ((rc != -EISDIR && rc != -EPERM) || depth > TREE_DEPTH_MAX)
		return rc;
	dir_fd = open_to_empty(parent_fd, name);
	if (dir_fd < 0) /* EPERM was about a file */
		return dir_fd == -ENOENT ? 0 : dir_fd == -ENOTDIR ? rc : dir_fd;
	TRY(remove_entries(dir_fd, depth));
	return unlinkat(parent_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

static void warn_removal(const struct state *state, const char *folder, int rc,
			 struct strlist *warnings)
{
	cleanup_with(buf_clear) struct buf command = { 0 };
	cleanup_free char *path = str_printf("%s/%s", state->runtime_path, folder);
	struct stat st;

	const bool is_foreign = fstatat(state->runtime_fd, folder, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
				st.st_uid != geteuid();

	buf_puts(&command,
		 is_foreign && (rc == -EACCES || rc == -EPERM) ? "sudo rm -rf " : "rm -rf ");
	buf_quote(&command, path ? path : folder);
	if (!command.failed)
		(void)!strlist_addf(
			warnings, "a dead run's folder cannot be removed (%s); remove it with: %s",
			strerror(-rc), command.data);
}

/* ---- sweep and list ---- */

enum life {
	RUN_NONE, /* no run's, or gone meanwhile */
	RUN_ALIVE,
	RUN_DEAD,
	RUN_UNKNOWN, /* errno: for want of descriptors or memory, say. It may well be alive */
};

static bool is_empty(int dir_fd)
{
	int copy_fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy_fd < 0 ? NULL : fdopendir(copy_fd);
	const struct dirent *entry = NULL;

	if (!dir) {
		if (copy_fd >= 0)
			close(copy_fd);
		return false;
	}
	while ((entry = readdir(dir)) &&
	       (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0))
		continue;
	closedir(dir);
	return !entry;
}

/* An empty folder without a lock file was left between mkdir(2) and flock(2); see the top. One with
 * anything else in it was never a run's. */
static enum life run_life(int runtime_fd, const char *folder, int *ret_dir_fd)
{
	cleanup_fd int dir_fd = openat(runtime_fd, folder,
				       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_fd int lock_fd = -1;
	int rc = 0;

	if (dir_fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return RUN_NONE;
	if (dir_fd < 0) /* its own launcher could enter it, whatever the umask was */
		return errno == EACCES ? RUN_DEAD : RUN_UNKNOWN;
	lock_fd = openat(dir_fd, "lock", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (lock_fd < 0 && errno != ENOENT)
		return errno == EACCES || errno == ELOOP || errno == EISDIR ? RUN_NONE
									    : RUN_UNKNOWN;
	if (lock_fd < 0 && !is_empty(dir_fd))
		return RUN_NONE;
	if (lock_fd >= 0)
		rc = lock_file(lock_fd, LOCK_EX | LOCK_NB);
	if (ret_dir_fd)
		*ret_dir_fd = take_fd(&dir_fd);
	return rc < 0 ? RUN_ALIVE : RUN_DEAD;
}

/* One that has the name of a dead one's, whole or partly removed, and is held all the same. */
static bool is_held(int runtime_fd, const char *folder)
{
	return run_life(runtime_fd, folder, NULL) == RUN_ALIVE;
}

static int open_list(const struct state *state, DIR **ret_dir)
{
	int fd = openat(state->runtime_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret_dir = fdopendir(fd);
	if (*ret_dir)
		return 0;
	close(fd);
	return -ENOMEM;
}

/* Once it has this name, whoever is killed while removing it leaves it to the next sweep. */
static void mark(const struct state *state, const char *folder,
		 char ret_name[static NAME_MAX + sizeof(DEAD_PREFIX)])
{
	snprintf(ret_name, NAME_MAX + sizeof(DEAD_PREFIX), DEAD_PREFIX "%s", folder);
	if (renameat(state->runtime_fd, folder, state->runtime_fd, ret_name) < 0)
		snprintf(ret_name, NAME_MAX + sizeof(DEAD_PREFIX), "%s", folder);
}

/* Whether a folder, dead or not, is of a run of that name; the run id, of a fixed length, ends it. */
static bool is_named(const char *folder, const char *name)
{
	const size_t len = name ? strlen(name) : 0;

	if (!name)
		return true;
	if (str_starts(folder, DEAD_PREFIX))
		folder += strlen(DEAD_PREFIX);
	return str_starts(folder, name) && folder[len] == '-' &&
	       strlen(folder + len + 1) == STATE_RUN_ID_SIZE - 1;
}

/* Under the exclusive lock: gives every dead run's folder its ".dead-" name. */
static void mark_dead(const struct state *state, const char *name, struct strlist *dead)
{
	const struct dirent *entry;
	DIR *dir = NULL;

	if (open_list(state, &dir) < 0)
		return;
	while ((entry = readdir(dir))) {
		char marked[NAME_MAX + sizeof(DEAD_PREFIX)];

		if (!is_named(entry->d_name, name))
			continue;
		if (str_starts(entry->d_name, DEAD_PREFIX)) {
			if (!is_held(state->runtime_fd, entry->d_name))
				(void)!strlist_add(dead, entry->d_name);
			continue;
		}
		if (entry->d_name[0] == '.' ||
		    run_life(state->runtime_fd, entry->d_name, NULL) != RUN_DEAD)
			continue;
		mark(state, entry->d_name, marked);
		(void)!strlist_add(dead, marked);
	}
	closedir(dir);
}

size_t state_sweep(struct state *state, struct strlist *warnings)
{
	return state_sweep_name(state, NULL, warnings);
}

size_t state_sweep_name(struct state *state, const char *name, struct strlist *warnings)
{
	cleanup_with(strlist_clear) struct strlist dead = { 0 };
	size_t removed = 0;

	/* A run that is starting, or another sweep: the next one will do. */
	if (lock_file(state->runtime_fd, LOCK_EX | LOCK_NB) < 0)
		return 0;
	mark_dead(state, name, &dead);
	(void)!lock_file(state->runtime_fd, LOCK_UN);
	for (size_t i = 0; i < dead.len; i++) {
		int rc = remove_tree(state->runtime_fd, dead.items[i], 0);

		if (rc < 0)
			warn_removal(state, dead.items[i], rc, warnings);
		else
			removed++;
	}
	return removed;
}

void state_run_end(struct state *state, struct state_run *run, struct strlist *warnings)
{
	char marked[NAME_MAX + sizeof(DEAD_PREFIX)];
	int rc = 0;

	if (run->folder && run->lock_fd >= 0) {
		mark(state, run->folder, marked);
		rc = remove_tree(state->runtime_fd, marked, 0);
		if (rc < 0)
			warn_removal(state, marked, rc, warnings);
	}
	run_clear(run);
}

int state_list(struct state *state, void (*each)(void *ctx, const char *folder, const char *info),
	       void *ctx, struct err *err)
{
	const struct dirent *entry;
	DIR *dir = NULL;
	int rc = open_list(state, &dir);

	if (rc < 0)
		return err_sys(err, -rc, "%s", state->runtime_path);
	while ((entry = readdir(dir))) {
		cleanup_with(buf_clear) struct buf info = { 0 };
		cleanup_fd int dir_fd = -1;
		enum life life = entry->d_name[0] == '.'
					 ? RUN_NONE
					 : run_life(state->runtime_fd, entry->d_name, &dir_fd);

		if (life == RUN_UNKNOWN) {
			rc = err_sys(err, errno, "%s/%s", state->runtime_path, entry->d_name);
			break;
		}
		if (life != RUN_ALIVE)
			continue;
		if (file_read(dir_fd, "info.json", INFO_MAX, &info, NULL) == 0 && info.data)
			each(ctx, entry->d_name, info.data);
	}
	closedir(dir);
	return rc;
}
