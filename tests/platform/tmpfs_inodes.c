/* SPDX-License-Identifier: Apache-2.0
 * Believed: `size` bounds the pages of a tmpfs, not its inodes: an empty folder costs none of them.
 * `nr_inodes` bounds these, also where the mount is made in a user namespace. */
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "platform.h"

enum { MORE = 200 };

/* How many folders can be made in a new tmpfs, up to MORE. */
static int count_folders(const char *options)
{
	char name[32];
	int count = 0;

	EXPECT(mount("x", "/tmp", "tmpfs", 0, options) == 0);
	EXPECT(chdir("/tmp") == 0);
	for (; count < MORE; count++) {
		snprintf(name, sizeof(name), "%d", count);
		if (mkdir(name, 0700) < 0)
			break;
	}
	EXPECT(count == MORE || errno == ENOSPC);
	EXPECT(chdir("/") == 0 && umount("/tmp") == 0);
	return count;
}

int main(void)
{
	enter_userns(CLONE_NEWNS, 0);
	EXPECT(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	EXPECT(count_folders("size=64k") == MORE);
	EXPECT(count_folders("size=64k,nr_inodes=100") < 100);
	return 0;
}
