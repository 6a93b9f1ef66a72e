/* SPDX-License-Identifier: Apache-2.0
 * POSIX knows a process by its number alone; see process_hold.h. Runs in: `bottle stop`. */
#include <errno.h>
#include <signal.h>

#include "runtime/process_hold.h"

int process_hold(pid_t pid, int *ret_fd)
{
	*ret_fd = -1;
	return kill(pid, 0) < 0 ? -errno : 0;
}

int process_hold_signal(int fd, pid_t pid, int number)
{
	(void)fd;
	return kill(pid, number) < 0 ? -errno : 0;
}
