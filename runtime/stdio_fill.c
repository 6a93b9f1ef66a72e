/* SPDX-License-Identifier: Apache-2.0
 * The first act of main(); see stdio.h. Runs in: the launcher. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "runtime/stdio.h"

int stdio_fill_closed(struct err *err)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return err_sys(err, errno, "/dev/null");
		if (fd <= 2)
			fcntl(fd, F_SETFD, 0);
	} while (fd <= 2);
	close(fd);
	return 0;
}
