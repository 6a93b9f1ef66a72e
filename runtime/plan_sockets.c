/* SPDX-License-Identifier: Apache-2.0
 *
 * Unix sockets and FIFOs below a folder. A socket file crosses network namespaces: whoever can open its
 * path can talk to whoever listens. So does a FIFO, and no read-only mount keeps it from being written.
 * Runs in: launcher, before anything has changed.
 *
 * Two sources: what the kernel lists as bound in this network namespace (/proc/net/unix, exact but
 * blind to other namespaces and to relative names), and a walk of the folder itself, which is bounded
 * so that a huge tree cannot hold the start up.
 *
 * A folder that cannot be opened may hide one. Where another user owns it, it is as closed to the
 * agent; where we do, the agent has only to chmod(2) it, if it may write there.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "runtime/plan_agent.h"

enum { WALK_MAX_ENTRIES = 20000, WALK_MAX_DEPTH = 32, PROC_NET_UNIX_MAX = 16 * 1024 * 1024 };

struct walk {
	struct strlist *sockets, *fifos;
	struct err *err;
	size_t entries;
	bool writable, complete;
};

static int walk_folder(struct walk *walk, int dir_fd, const char *path, int depth);

static void close_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int closed(const struct walk *walk, const char *path)
{
	return err_set(
		walk->err, EACCES,
		"%s: this folder is yours but closed to you, so it cannot be searched for unix "
		"sockets, and the agent could open it again; first: chmod u+rwx it",
		path);
}

/* A folder, or its entry, that gave `code` when it was looked at; `st` is that of the folder. */
static int passed_over(struct walk *walk, int code, const struct stat *st, const char *path)
{
	if (code == ENOENT || code == ENOTDIR || code == ELOOP)
		return 0; /* gone or replaced since it was listed */
	if (code != EACCES) {
		walk->complete = false;
		return 0;
	}
	return walk->writable && st->st_uid == geteuid() ? closed(walk, path) : 0;
}

static unsigned char type_of(const struct stat *st)
{
	return IFTODT(st->st_mode);
}

static int walk_child(struct walk *walk, int dir_fd, const char *name, const char *child, int depth)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int code = errno;
	struct stat st;

	if (fd >= 0)
		return walk_folder(walk, fd, child, depth + 1);
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && fstat(dir_fd, &st) < 0)
		return -errno;
	return passed_over(walk, code, &st, child);
}

static int walk_entry(struct walk *walk, int dir_fd, const struct dirent *entry, const char *path,
		      int depth)
{
	cleanup_free char *child = NULL;
	unsigned char type = entry->d_type;
	struct stat st;

	if (type == DT_UNKNOWN) { /* some filesystems do not say */
		if (fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			type = type_of(&st);
		else if (errno != EACCES || fstat(dir_fd, &st) < 0)
			return passed_over(walk, errno, &st, path);
		else
			return passed_over(walk, EACCES, &st, path);
	}
	if (type != DT_SOCK && type != DT_FIFO && type != DT_DIR)
		return 0;
	child = str_printf("%s/%s", path, entry->d_name);
	if (!child)
		return -ENOMEM;
	return type == DT_DIR ? walk_child(walk, dir_fd, entry->d_name, child, depth)
			      : strlist_add(type == DT_SOCK ? walk->sockets : walk->fifos, child);
}

/* Takes dir_fd. */
static int walk_folder(struct walk *walk, int dir_fd, const char *path, int depth)
{
	cleanup_with(close_dir) DIR *dir = fdopendir(dir_fd);
	const struct dirent *entry;

	if (!dir) {
		close(dir_fd);
		return -ENOMEM;
	}
	for (errno = 0; (entry = readdir(dir)); errno = 0) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (++walk->entries > WALK_MAX_ENTRIES || depth > WALK_MAX_DEPTH) {
			walk->complete = false;
			return 0;
		}
		TRY(walk_entry(walk, dirfd(dir), entry, path, depth));
	}
	walk->complete = walk->complete && errno == 0;
	return 0;
}

int plan_sockets_walk(const char *folder, bool writable, struct strlist *ret_sockets,
		      struct strlist *ret_fifos, bool *ret_complete, struct err *err)
{
	struct walk walk = { .sockets = ret_sockets,
			     .fifos = ret_fifos,
			     .err = err,
			     .writable = writable,
			     .complete = true };
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int code = errno;
	struct stat st;

	if (fd >= 0)
		TRY(walk_folder(&walk, fd, folder, 0));
	else if (stat(folder, &st) == 0)
		TRY(passed_over(&walk, code, &st, folder));
	*ret_complete = walk.complete;
	return 0;
}

/* Columns of /proc/net/unix: Num RefCount Protocol Flags Type St Inode Path (proc(5)). */
int plan_sockets_bound(struct strlist *ret_paths)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	char real[PATH_MAX];
	char *save = NULL;

	if (file_read(AT_FDCWD, "/proc/net/unix", PROC_NET_UNIX_MAX, &text, NULL) < 0 || !text.data)
		return 0;
	for (char *line = strtok_r(text.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		const char *path = strchr(line, '/');
		struct stat st;

		if (path && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) &&
		    plan_path_resolve(path, NULL, NULL, real) == 0 && !strlist_has(ret_paths, real))
			TRY(strlist_add(ret_paths, real));
	}
	return 0;
}
