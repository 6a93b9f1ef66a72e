/* SPDX-License-Identifier: Apache-2.0
 * Believed: mount_setattr(AT_RECURSIVE, MOUNT_ATTR_RDONLY) makes submounts read-only as well; a bind
 * remount with MS_RDONLY, also with MS_REC, leaves them writable. */
#include <sys/mount.h>
#include <sys/stat.h>

#include "platform.h"

static int can_write(const char *folder, const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

int main(void)
{
	struct mount_attr read_only = { .attr_set = MOUNT_ATTR_RDONLY };
	char folder[] = "/tmp/platform-mount.XXXXXX", sub[64];

	EXPECT(mkdtemp(folder));
	snprintf(sub, sizeof(sub), "%s/sub", folder);
	enter_userns(CLONE_NEWNS, 0);
	EXPECT(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	EXPECT(mount("outer", folder, "tmpfs", 0, NULL) == 0);
	EXPECT(mkdir(sub, 0700) == 0 && mount("inner", sub, "tmpfs", 0, NULL) == 0);
	EXPECT(mount(NULL, folder, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_REC, NULL) == 0);
	EXPECT(!can_write(folder, "f"));
	EXPECT(can_write(sub, "f"));
	EXPECT(mount_setattr(AT_FDCWD, folder, AT_RECURSIVE, &read_only, sizeof(read_only)) == 0);
	EXPECT(!can_write(folder, "g"));
	EXPECT(!can_write(sub, "g"));
	EXPECT(umount2(folder, MNT_DETACH) == 0 && rmdir(folder) == 0);
	return 0;
}
