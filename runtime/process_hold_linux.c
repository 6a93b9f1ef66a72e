/* SPDX-License-Identifier: Apache-2.0
 * By pidfd_open(2); see process_hold.h. Runs in: `bottle stop`. */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/process_hold.h"

int process_hold(pid_t pid, int *ret_fd)
{
	*ret_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (*ret_fd >= 0)
		return 0;
	/* An old kernel, or a container's filter that does not know the call. */
	return errno == ENOSYS || errno == EPERM ? 0 : -errno;
}

int process_hold_signal(int fd, pid_t pid, int number)
{
	long rc = fd < 0 ? kill(pid, number) : syscall(SYS_pidfd_send_signal, fd, number, NULL, 0);

	return rc < 0 ? -errno : 0;
}
