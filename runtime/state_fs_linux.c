/* SPDX-License-Identifier: Apache-2.0
 * By the number of the file system; see state_fs.h. Runs in: the launcher and the subcommands. */
#include "runtime/state_fs.h"

#include <linux/magic.h>
#include <sys/statfs.h>

bool state_fs_is_network(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	switch ((unsigned long)fs.f_type) {
	case NFS_SUPER_MAGIC:
	case SMB_SUPER_MAGIC:
	case SMB2_SUPER_MAGIC:
	case CIFS_SUPER_MAGIC:
	case V9FS_MAGIC:
	case AFS_SUPER_MAGIC:
	case CEPH_SUPER_MAGIC:
		return true;
	default:
		return false;
	}
}
