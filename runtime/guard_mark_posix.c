/* SPDX-License-Identifier: Apache-2.0
 * What a file is, by fstat(2); see guard_mark.h. Runs in: launcher. */
#include <errno.h>
#include <sys/stat.h>

#include "runtime/guard_mark.h"

int guard_mark_take(int fd, struct guard_mark *ret_mark)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*ret_mark = (struct guard_mark){ .dev = (uint64_t)st.st_dev, .ino = st.st_ino };
#ifdef __APPLE__
	ret_mark->changed = st.st_ctimespec;
	ret_mark->born = st.st_birthtimespec;
#else
	ret_mark->changed = st.st_ctim;
#endif
	return 0;
}
