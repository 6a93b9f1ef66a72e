/* SPDX-License-Identifier: Apache-2.0
 * A tree with hostile contents; see tree.h. Runs in: launcher (`bottle image`), with the caller's
 * own rights and nothing more. */
#include "rootfs/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

enum { ESCAPED_NAME_BYTES = 256 };

void tree_name_clear(struct tree_name *name)
{
	free(name->dir);
	free(name->base);
	*name = (struct tree_name){ 0 };
}

/* Appends one component; "." falls away. */
static int add_component(struct buf *path, const char *part, size_t len)
{
	if (len == 0 || (len == 1 && part[0] == '.'))
		return 0;
	if (len == 2 && part[0] == '.' && part[1] == '.')
		return -EINVAL;
	if (len > NAME_MAX)
		return -ENAMETOOLONG;
	if (path->len)
		buf_append(path, "/", 1);
	buf_append(path, part, len);
	return path->failed ? -ENOMEM : 0;
}

static int normalise(const char *text, struct buf *path)
{
	const char *at = text;
	size_t depth = 0;

	if (!*text)
		return -EINVAL;
	if (strlen(text) >= PATH_MAX)
		return -ENAMETOOLONG;
	while (*at) {
		size_t len = strcspn(at, "/");

		if (len && ++depth > TREE_NAME_DEPTH_MAX)
			return -ENAMETOOLONG;
		TRY(add_component(path, at, len));
		at += len + (at[len] == '/');
	}
	return 0;
}

static int take_parts(const char *path, struct tree_name *ret_name)
{
	const char *slash = strrchr(path, '/');
	cleanup_free char *dir = slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
	cleanup_free char *base = strdup(slash ? slash + 1 : path);

	if (!dir || !base)
		return -ENOMEM;
	ret_name->dir = take_ptr(dir);
	ret_name->base = take_ptr(base);
	return 0;
}

int tree_name_split(const char *text, struct tree_name *ret_name, struct err *err)
{
	cleanup_with(buf_clear) struct buf path = { 0 };
	char shown[ESCAPED_NAME_BYTES];
	int rc = normalise(text, &path);

	if (rc == 0)
		rc = take_parts(path.data ? path.data : "", ret_name);
	if (rc == 0)
		return 0;
	str_escape(shown, sizeof(shown), text, strlen(text));
	if (rc == -EINVAL)
		return err_set(err, EINVAL, "entry '%s': %s", shown,
			       *text ? "its name has a '..', which could lead out of the image"
				     : "its name is empty");
	return err_sys(err, -rc, "entry '%s'", shown);
}

static int open_dir_in_root(int root_fd, const char *path)
{
	return fd_open_in_root(root_fd, path, O_RDONLY | O_DIRECTORY, 0);
}

/* Makes `name` in parent_fd because it could not be opened: it is not there, a symlink to nothing, or
 * no folder. */
static int make_missing(int parent_fd, const char *name, struct tree_walk *walk)
{
	struct stat st;

	if (walk->made == walk->room)
		return -E2BIG;
	if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (!S_ISLNK(st.st_mode))
			return -ENOTDIR;
		if (!walk->over_dangling)
			return -ENOENT;
		if (unlinkat(parent_fd, name, 0) < 0)
			return -errno;
	}
	if (mkdirat(parent_fd, name, 0700) < 0)
		return -errno;
	/* Past the umask; nobody else writes here, so it is the folder just made. */
	if (fchmodat(parent_fd, name, 0755, 0) < 0)
		return -errno;
	walk->made++;
	return 0;
}

/* Where each component of a path ends. */
struct components {
	size_t ends[TREE_NAME_DEPTH_MAX];
	size_t count;
};

static int split_components(const char *path, struct components *ret)
{
	size_t at = 0;

	ret->count = 0;
	while (path[at]) {
		at += strcspn(path + at, "/");
		if (ret->count == sizeof(ret->ends) / sizeof(ret->ends[0]))
			return -ENAMETOOLONG;
		ret->ends[ret->count++] = at;
		at += path[at] == '/';
	}
	return 0;
}

/* Opens the first `count` components, resolved from the root as a whole, so that a symlink with ".."
 * or an absolute target means what it will mean inside the image. */
static int open_prefix(int root_fd, char *path, const struct components *parts, size_t count)
{
	size_t end = count ? parts->ends[count - 1] : 0;
	char kept = path[end];
	int fd;

	path[end] = '\0';
	fd = open_dir_in_root(root_fd, count ? path : ".");
	path[end] = kept;
	return fd;
}

/* The longest prefix that can be opened → *ret_count; returns its descriptor. By halves: each
 * try walks the whole prefix. */
static int open_longest(int root_fd, char *path, const struct components *parts, size_t *ret_count)
{
	size_t opens = 0, fails = parts->count + 1;
	cleanup_fd int best_fd = open_prefix(root_fd, path, parts, 0);

	while (best_fd >= 0 && fails - opens > 1) {
		size_t middle = opens + (fails - opens) / 2;
		int fd = open_prefix(root_fd, path, parts, middle);

		if (fd < 0) {
			fails = middle;
			continue;
		}
		opens = middle;
		fd_close(&best_fd);
		best_fd = fd;
	}
	*ret_count = opens;
	return take_fd(&best_fd);
}

/* Makes what is missing of the path and opens its end. Below the first folder made here all are new:
 * they are opened by name from their parent, and cannot be symlinks. */
static int make_dirs(int root_fd, char *path, struct tree_walk *walk)
{
	struct components parts;
	size_t count = 0;
	cleanup_fd int fd = -1;

	TRY(split_components(path, &parts));
	fd = open_longest(root_fd, path, &parts, &count);
	for (; fd >= 0 && count < parts.count; count++) {
		char *name = path + (count ? parts.ends[count - 1] + 1 : 0);
		int made_fd;

		path[parts.ends[count]] = '\0';
		TRY(make_missing(fd, name, walk));
		made_fd = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (made_fd < 0)
			return -errno;
		fd_close(&fd);
		fd = made_fd;
	}
	return take_fd(&fd);
}

int tree_open_dir(int root_fd, const char *dir, struct tree_walk *walk, int *ret_fd,
		  struct err *err)
{
	cleanup_free char *copy = NULL;
	char shown[ESCAPED_NAME_BYTES];
	int fd = open_dir_in_root(root_fd, dir);

	if (fd == -ENOENT || (fd == -ELOOP && walk->over_dangling)) {
		copy = strdup(dir);
		fd = copy ? make_dirs(root_fd, copy, walk) : -ENOMEM;
	}
	if (fd >= 0) {
		*ret_fd = fd;
		return 0;
	}
	str_escape(shown, sizeof(shown), dir, strlen(dir));
	if (fd == -ENOENT)
		return err_set(err, ENOENT, "folder '%s': a symlink on the way points to nothing",
			       shown);
	return err_sys(err, -fd, "folder '%s'", shown);
}

int tree_rename_new(int old_fd, const char *old_name, int new_fd, const char *new_name)
{
	struct stat st;

	if (renameat2(old_fd, old_name, new_fd, new_name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (fstatat(new_fd, new_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	return renameat(old_fd, old_name, new_fd, new_name) < 0 ? -errno : 0;
}

/* Moves a folder into the trash under the first free number. */
static int move_to_trash(int parent_fd, const char *name, struct tree_trash *trash)
{
	/* Moving a folder rewrites its "..", which needs write permission on the folder itself. */
	if (fchmodat(parent_fd, name, 0700, 0) < 0)
		return -errno;
	for (;;) {
		char target[16];
		int rc;

		snprintf(target, sizeof(target), "rm-%u", trash->next++);
		rc = tree_rename_new(parent_fd, name, trash->fd, target);
		if (rc != -EEXIST)
			return rc;
	}
}

int tree_remove(int parent_fd, const char *name, struct tree_trash *trash)
{
	/* Linux says EISDIR where POSIX has EPERM, unlink(2). */
	if (unlinkat(parent_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR)
		return -errno;
	/* An empty folder needs no way through the trash. */
	if (unlinkat(parent_fd, name, AT_REMOVEDIR) == 0)
		return 0;
	return move_to_trash(parent_fd, name, trash);
}

int tree_list(int dir_fd, size_t max, struct strlist *ret_names)
{
	cleanup_fd int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;
	int rc = 0;
	DIR *dir;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	(void)take_fd(&fd);
	while (rc == 0 && (errno = 0, entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		rc = ret_names->len < max ? strlist_add(ret_names, entry->d_name) : -E2BIG;
	}
	if (rc == 0)
		rc = -errno;
	closedir(dir);
	return rc;
}

/* Empties folder `name` of the top, its own folders moving up into the top, and removes it. */
static int remove_dir_flat(struct tree_trash *top, const char *name)
{
	cleanup_with(strlist_clear) struct strlist names = { 0 };
	cleanup_fd int fd = -1;

	if (fchmodat(top->fd, name, 0700, 0) < 0)
		return -errno;
	fd = openat(top->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	TRY(tree_list(fd, SIZE_MAX, &names));
	for (size_t i = 0; i < names.len; i++)
		TRY(tree_remove(fd, names.items[i], top));
	return unlinkat(top->fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

static int empty_once(struct tree_trash *top, const char *keep, bool *ret_found)
{
	cleanup_with(strlist_clear) struct strlist names = { 0 };

	*ret_found = false;
	TRY(tree_list(top->fd, SIZE_MAX, &names));
	for (size_t i = 0; i < names.len; i++) {
		const char *name = names.items[i];
		int rc;

		if (keep && strcmp(name, keep) == 0)
			continue;
		*ret_found = true;
		if (unlinkat(top->fd, name, 0) == 0)
			continue;
		rc = errno == EISDIR ? remove_dir_flat(top, name) : -errno;
		if (rc < 0 && rc != -ENOENT) /* another sweeper was faster */
			return rc;
	}
	return 0;
}

int tree_empty(int dir_fd, const char *keep)
{
	struct tree_trash top = { .fd = dir_fd };
	bool found = true;

	while (found)
		TRY(empty_once(&top, keep, &found));
	return 0;
}
