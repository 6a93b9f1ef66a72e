/* SPDX-License-Identifier: Apache-2.0
 * USER as numbers; see image_user.h. Runs in: launcher (`bottle image import`).
 *
 * The image's passwd is hostile: it is opened inside the root, may be a symlink only within it, is
 * read up to a limit. */
#include "rootfs/image_user.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "rootfs/user_spec.h"

enum { DATABASE_MAX_BYTES = 1024 * 1024 };

/* A missing file reads as an empty one. */
static int read_database(int root_fd, const char *path, struct buf *ret_text, struct err *err)
{
	cleanup_fd int fd = fd_open_in_root(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;
	int rc;

	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return 0;
	if (fd < 0)
		return err_sys(err, -fd, "the image's /%s", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "the image's /%s is not a regular file", path);
	rc = fd_read_all(fd, DATABASE_MAX_BYTES, ret_text);
	return rc < 0 ? err_sys(err, -rc, "the image's /%s", path) : 0;
}

static int read_in_root(const void *root_fd, const char *path, struct buf *ret_text,
			struct err *err)
{
	return read_database(*(const int *)root_fd, path, ret_text, err);
}

int image_user_resolve(int root_fd, const char *user, uint32_t *ret_uid, uint32_t *ret_gid,
		       struct err *err)
{
	const struct user_spec_files files = { read_in_root, &root_fd };

	return user_spec_resolve(user, &files, ret_uid, ret_gid, err);
}
