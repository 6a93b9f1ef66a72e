/* SPDX-License-Identifier: Apache-2.0
 * Believed: in a mount namespace of one's own, open_tree(OPEN_TREE_CLONE) on a descriptor and
 * move_mount() bind a folder without power over the host and without naming its path again. */
#include <sys/mount.h>
#include <sys/stat.h>

#include "platform.h"

int main(void)
{
	char from[] = "/tmp/platform-from.XXXXXX", to[] = "/tmp/platform-to.XXXXXX";
	struct stat a, b;
	int folder_fd, tree_fd, moved;

	EXPECT(mkdtemp(from) && mkdtemp(to));
	enter_userns(CLONE_NEWNS, 0);
	EXPECT(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	folder_fd = open(from, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	tree_fd = open_tree(folder_fd, "",
			    AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	moved = tree_fd < 0 ? -1 : move_mount(tree_fd, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH);
	EXPECT(fstat(folder_fd, &a) == 0 && stat(to, &b) == 0);
	umount2(to, MNT_DETACH);
	rmdir(from);
	rmdir(to);
	EXPECT(tree_fd >= 0);
	EXPECT(moved == 0);
	EXPECT(a.st_dev == b.st_dev && a.st_ino == b.st_ino);
	return 0;
}
