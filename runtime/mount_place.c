/* SPDX-License-Identifier: Apache-2.0
 * Places in a root that is being put together; see mount_place.h. Runs in: the reapers. */
#include "runtime/mount_place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

int mount_place_parent(int root_fd, const char *path, bool make, char name[static NAME_MAX + 1])
{
	cleanup_fd int dir_fd = fd_open_in_root(root_fd, ".", O_PATH | O_DIRECTORY, 0);
	char prefix[PATH_MAX] = "";
	size_t len = 0;

	if (dir_fd < 0)
		return dir_fd;
	while (*path == '/')
		path++;
	for (const char *slash; (slash = strchr(path, '/')); path = slash + 1) {
		size_t part = (size_t)(slash - path);
		int next;

		if (!part)
			continue;
		if (len + part + 2 > sizeof(prefix) || part > NAME_MAX)
			return -ENAMETOOLONG;
		len += (size_t)snprintf(prefix + len, sizeof(prefix) - len, "/%.*s", (int)part,
					path);
		next = fd_open_in_root(root_fd, prefix, O_PATH | O_DIRECTORY, 0);
		if (next == -ENOENT && make) {
			snprintf(name, NAME_MAX + 1, "%.*s", (int)part, path);
			if (mkdirat(dir_fd, name, 0755) < 0 && errno != EEXIST)
				return -errno;
			next = fd_open_in_root(root_fd, prefix, O_PATH | O_DIRECTORY, 0);
		}
		if (next < 0)
			return next;
		fd_close(&dir_fd);
		dir_fd = next;
	}
	if (strlen(path) > NAME_MAX || !*path)
		return *path ? -ENAMETOOLONG : -EINVAL;
	memcpy(name, path, strlen(path) + 1);
	return take_fd(&dir_fd);
}

/* Makes the file or folder `at`, with its parents. Where the last component is a symlink into
 * nothing (resolv.conf into /run, on many distributions), what it points to is made, inside the root. */
static int make_target(int root_fd, const char *at, bool folder, int depth)
{
	char name[NAME_MAX + 1], link[PATH_MAX], path[2 * PATH_MAX];
	cleanup_fd int parent_fd = mount_place_parent(root_fd, at, true, name);
	cleanup_fd int file_fd = -1;
	ssize_t len;

	if (parent_fd < 0)
		return parent_fd;
	len = readlinkat(parent_fd, name, link, sizeof(link) - 1);
	if (len > 0) {
		link[len] = '\0';
		if (depth == 0)
			return -ELOOP;
		if (link[0] == '/')
			return make_target(root_fd, link, folder, depth - 1);
		snprintf(path, sizeof(path), "%.*s%s", (int)(strlen(at) - strlen(name)), at, link);
		return make_target(root_fd, path, folder, depth - 1);
	}
	if (folder)
		return mkdirat(parent_fd, name, 0755) < 0 && errno != EEXIST ? -errno : 0;
	file_fd = openat(parent_fd, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0444);
	return file_fd < 0 ? -errno : 0;
}

int mount_place_open(int root_fd, const char *at, bool make, bool folder)
{
	int target_fd = fd_open_in_root(root_fd, at, O_PATH, 0);

	if (target_fd != -ENOENT || !make)
		return target_fd;
	TRY(make_target(root_fd, at, folder, 8));
	return fd_open_in_root(root_fd, at, O_PATH, 0);
}
