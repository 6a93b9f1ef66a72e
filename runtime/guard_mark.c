/* SPDX-License-Identifier: Apache-2.0
 * Guarded files compared with what they were; see guard_mark.h. Runs in: launcher. */
#include "runtime/guard_mark.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

int guard_mark_take(int fd, struct guard_mark *ret_mark)
{
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_CTIME | STATX_BTIME, &stx) < 0)
		return -errno;
	*ret_mark = (struct guard_mark){ .dev_major = stx.stx_dev_major,
					 .dev_minor = stx.stx_dev_minor,
					 .ino = stx.stx_ino,
					 .changed = stx.stx_ctime };
	if (stx.stx_mask & STATX_BTIME)
		ret_mark->born = stx.stx_btime;
	return 0;
}

static bool same_time(const struct statx_timestamp *a, const struct statx_timestamp *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* The number of an inode that is gone is given out again: hence the time of its birth. */
static bool is_same_file(const struct guard_mark *a, const struct guard_mark *b)
{
	return a->dev_major == b->dev_major && a->dev_minor == b->dev_minor && a->ino == b->ino &&
	       same_time(&a->born, &b->born);
}

bool guard_mark_differs(const struct guard_mark *mark, const char *path, bool content)
{
	cleanup_fd int fd = fd_open_nosymlinks(AT_FDCWD, path, O_PATH | O_NOFOLLOW, 0);
	struct guard_mark now;

	if (fd == -ENOENT)
		return false;
	if (fd < 0 || guard_mark_take(fd, &now) < 0)
		return true;
	return !is_same_file(mark, &now) || (content && !same_time(&mark->changed, &now.changed));
}
