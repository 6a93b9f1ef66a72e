/* SPDX-License-Identifier: Apache-2.0
 *
 * Unix sockets below a folder. A socket file crosses network namespaces: whoever can open its path
 * can talk to whoever listens. Runs in: launcher, before anything has changed.
 *
 * Two sources: what the kernel lists as bound in this network namespace (/proc/net/unix, exact but
 * blind to other namespaces and to relative names), and a walk of the folder itself, by d_type
 * alone, which is bounded so that a huge tree cannot hold the start up.
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
	struct strlist *paths;
	size_t entries;
	bool complete;
};

static int note(struct strlist *paths, const char *path)
{
	return strlist_has(paths, path) ? 0 : strlist_add(paths, path);
}

static void close_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int walk_folder(struct walk *walk, int dir_fd, const char *path, int depth)
{
	cleanup_with(close_dir) DIR *dir = fdopendir(dir_fd);
	const struct dirent *entry;

	if (!dir) {
		close(dir_fd);
		return -errno;
	}
	while ((entry = readdir(dir))) {
		cleanup_free char *child = NULL;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (++walk->entries > WALK_MAX_ENTRIES || depth > WALK_MAX_DEPTH) {
			walk->complete = false;
			return 0;
		}
		if (entry->d_type != DT_SOCK && entry->d_type != DT_DIR)
			continue;
		child = str_printf("%s/%s", path, entry->d_name);
		if (!child)
			return -ENOMEM;
		if (entry->d_type == DT_SOCK) {
			TRY(note(walk->paths, child));
		} else {
			int fd = openat(dirfd(dir), entry->d_name,
					O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			if (fd >= 0) /* what the caller cannot read, the agent cannot either */
				TRY(walk_folder(walk, fd, child, depth + 1));
		}
	}
	return 0;
}

/* Columns of /proc/net/unix: Num RefCount Protocol Flags Type St Inode Path (proc(5)). */
static int from_kernel(const char *folder, struct strlist *ret_paths)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	size_t len = strlen(folder);
	char *save = NULL;

	if (file_read(AT_FDCWD, "/proc/net/unix", PROC_NET_UNIX_MAX, &text, NULL) < 0)
		return 0;
	for (char *line = strtok_r(text.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *path = strchr(line, '/');
		struct stat st;

		if (path && strncmp(path, folder, len) == 0 && path[len] == '/' &&
		    lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
			TRY(note(ret_paths, path));
	}
	return 0;
}

int plan_find_sockets(const char *folder, struct strlist *ret_paths, bool *ret_complete)
{
	struct walk walk = { .paths = ret_paths, .complete = true };
	int dir_fd;

	TRY(from_kernel(folder, ret_paths));
	dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir_fd >= 0)
		TRY(walk_folder(&walk, dir_fd, folder, 0));
	*ret_complete = walk.complete;
	return 0;
}
