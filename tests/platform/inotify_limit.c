/* SPDX-License-Identifier: Apache-2.0
 * Believed: an inotify instance is charged in every user namespace up to the first, against the limit
 * of each, so that user.max_inotify_instances, written inside U2, bounds what U2 takes of the host's;
 * the watches alike. Neither can be taken back once the capabilities are gone. */
#include <sys/inotify.h>

#include "platform.h"

#define INSTANCES "/proc/sys/user/max_inotify_instances"
#define WATCHES	  "/proc/sys/user/max_inotify_watches"

int main(void)
{
	int fds[4];

	enter_userns(0, 0);
	enter_userns(0, 1000);
	if (access(INSTANCES, F_OK) < 0)
		SKIP("no inotify here");
	EXPECT(put(INSTANCES, "2") == 0 && put(WATCHES, "1") == 0);
	keep_caps(0);
	for (int i = 0; i < 3; i++)
		fds[i] = inotify_init1(IN_CLOEXEC);
	EXPECT(fds[0] >= 0 && fds[1] >= 0);
	EXPECT(fds[2] < 0 && errno == EMFILE);
	EXPECT(inotify_add_watch(fds[0], "/", IN_CREATE) >= 0);
	EXPECT(inotify_add_watch(fds[1], "/proc", IN_CREATE) < 0 && errno == ENOSPC);
	EXPECT(put(INSTANCES, "10") < 0 && (errno == EACCES || errno == EPERM));
	EXPECT(put(WATCHES, "10") < 0 && (errno == EACCES || errno == EPERM));
	return 0;
}
