/* SPDX-License-Identifier: Apache-2.0
 * Guarded files compared with what they were; see guard_mark.h. Runs in: launcher. */
#include "runtime/guard_mark.h"

#include <errno.h>
#include <fcntl.h>

#include "base/cleanup.h"
#include "base/fd.h"

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* The number of an inode that is gone is given out again: hence the time of its birth. */
static bool is_same_file(const struct guard_mark *a, const struct guard_mark *b)
{
	return a->dev == b->dev && a->ino == b->ino && same_time(&a->born, &b->born);
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
