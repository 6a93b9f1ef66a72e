/* SPDX-License-Identifier: Apache-2.0
 * Believed: what System V IPC may take in an IPC namespace of one's own is written by the root of the
 * user namespace that made it (Linux 6.9), and then bounds those who have no capability. */
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include "platform.h"

int main(void)
{
	enter_userns(CLONE_NEWIPC, 0);
	if (put("/proc/sys/kernel/shmall", "16") < 0)
		SKIP("this kernel lets only the host's root write the limits of an IPC namespace: "
		     "%m");
	EXPECT(put("/proc/sys/kernel/shmmni", "4") == 0);
	EXPECT(put("/proc/sys/kernel/msgmni", "1") == 0);
	EXPECT(put("/proc/sys/kernel/sem", "8 16 8 2") == 0);
	enter_userns(0, 1000);
	keep_caps(0);
	EXPECT(shmget(IPC_PRIVATE, 17 * 4096, 0600) < 0 && errno == ENOSPC);
	EXPECT(shmget(IPC_PRIVATE, 10 * 4096, 0600) >= 0);
	EXPECT(shmget(IPC_PRIVATE, 10 * 4096, 0600) < 0 && errno == ENOSPC);
	EXPECT(msgget(IPC_PRIVATE, 0600) >= 0);
	EXPECT(msgget(IPC_PRIVATE, 0600) < 0 && errno == ENOSPC);
	EXPECT(semget(IPC_PRIVATE, 9, 0600) < 0 && errno == EINVAL);
	EXPECT(semget(IPC_PRIVATE, 8, 0600) >= 0 && semget(IPC_PRIVATE, 8, 0600) >= 0);
	EXPECT(semget(IPC_PRIVATE, 1, 0600) < 0 && errno == ENOSPC);
	return 0;
}
