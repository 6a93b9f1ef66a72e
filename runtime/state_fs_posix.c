/* SPDX-License-Identifier: Apache-2.0
 * What POSIX does not tell, macOS does; see state_fs.h. Runs in: the launcher and the subcommands. */
#include "runtime/state_fs.h"

#ifdef __APPLE__
#include <sys/mount.h>
#include <sys/param.h>
#endif

bool state_fs_is_network(int fd)
{
#ifdef __APPLE__
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && !(fs.f_flags & MNT_LOCAL);
#else
	(void)fd;
	return false;
#endif
}
