/* SPDX-License-Identifier: Apache-2.0
 * What a file is, by statx(2); see guard_mark.h. Runs in: launcher. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "runtime/guard_mark.h"

static struct timespec time_of(const struct statx_timestamp *t)
{
	return (struct timespec){ .tv_sec = t->tv_sec, .tv_nsec = t->tv_nsec };
}

int guard_mark_take(int fd, struct guard_mark *ret_mark)
{
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_CTIME | STATX_BTIME, &stx) < 0)
		return -errno;
	*ret_mark = (struct guard_mark){ .dev = (uint64_t)stx.stx_dev_major << 32 |
						stx.stx_dev_minor,
					 .ino = stx.stx_ino,
					 .changed = time_of(&stx.stx_ctime) };
	if (stx.stx_mask & STATX_BTIME)
		ret_mark->born = time_of(&stx.stx_btime);
	return 0;
}
