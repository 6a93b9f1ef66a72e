/* SPDX-License-Identifier: Apache-2.0
 * Believed: ramfs (never swapped) can be mounted in a user namespace; tmpfs with `noswap` is refused
 * there (unknown before 6.4, privileged since), so secrets lie on a ramfs. */
#include <sys/mount.h>

#include "platform.h"

int main(void)
{
	char folder[] = "/tmp/platform-ramfs.XXXXXX";
	int ramfs, noswap, plain;

	EXPECT(mkdtemp(folder));
	enter_userns(CLONE_NEWNS, 0);
	EXPECT(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	ramfs = mount("ramfs", folder, "ramfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700");
	plain = mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "size=4096");
	noswap = mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "size=4096,noswap");
	while (umount2(folder, MNT_DETACH) == 0)
		;
	rmdir(folder);
	EXPECT(ramfs == 0);
	EXPECT(plain == 0);
	EXPECT(noswap < 0);
	return 0;
}
