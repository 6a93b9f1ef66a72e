/* SPDX-License-Identifier: Apache-2.0
 * Mount points of the proxy's root; see mountpoints.h. Runs in: launcher (`bottle image import`).
 *
 * A run binds the tree read-only and can make nothing in it, so what it mounts over is made once,
 * here (docs/decisions/image-mount-points.md). Docker does the same at each start. */
#include "rootfs/mountpoints.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

static const struct {
	const char *path;
	mode_t mode; /* of a folder made here; one that is there keeps its own */
} folders[] = {
	{ "proc", 0755 },
	{ "dev", 0755 },
	{ "sys", 0755 },
	{ "tmp", 01777 },
	{ "run", 0755 },
	{ "var/tmp", 01777 },
	{ "etc/egress-proxy", 0755 },
	{ "home/mitmproxy/.mitmproxy", 0755 },
};

static const struct {
	const char *dir, *name;
} files[] = {
	{ "etc", "hosts" },
	{ "etc", "resolv.conf" },
};

static int make_folder(int root_fd, const char *path, mode_t mode, struct err *err)
{
	/* A symlink that leads to nothing (/tmp → /run/tmp, which a boot would have made) cannot be
	 * mounted over, so a folder takes its place. */
	struct tree_walk walk = { .over_dangling = true, .room = TREE_NAME_DEPTH_MAX };
	cleanup_fd int fd = -1;

	TRY(tree_open_dir(root_fd, path, &walk, &fd, err));
	if (walk.made && fchmod(fd, mode) < 0)
		return err_sys(err, errno, "/%s", path);
	return 0;
}

/* A symlink there (resolv.conf → ../run/systemd/resolve/stub-resolv.conf) would be followed by the
 * mount, to a place under /run that is a fresh tmpfs then. An empty regular file takes its place in
 * our unpacked tree; its contents never count, a run always mounts its own over it. */
static int make_file(int root_fd, const char *dir, const char *name, struct tree_trash *trash,
		     struct err *err)
{
	struct tree_walk walk = { .over_dangling = true, .room = TREE_NAME_DEPTH_MAX };
	cleanup_fd int dir_fd = -1;
	cleanup_fd int fd = -1;
	struct stat st;
	int rc;

	TRY(tree_open_dir(root_fd, dir, &walk, &dir_fd, err));
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
		return 0;
	rc = tree_remove(dir_fd, name, trash);
	if (rc < 0)
		return err_sys(err, -rc, "/%s/%s", dir, name);
	fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	return fd < 0 ? err_sys(err, errno, "/%s/%s", dir, name) : 0;
}

int mountpoints_make(int root_fd, struct tree_trash *trash, struct err *err)
{
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		TRY(make_folder(root_fd, folders[i].path, folders[i].mode, err));
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		TRY(make_file(root_fd, files[i].dir, files[i].name, trash, err));
	return 0;
}
