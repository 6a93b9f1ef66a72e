/* SPDX-License-Identifier: Apache-2.0
 * Cleanup by attribute; see cleanup.h. Runs in: every process. */
#include "base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

void cleanup_close_fd(int *fd)
{
	fd_close(fd);
}

void cleanup_free_ptr(void *ptr)
{
	void *heap;

	memcpy(&heap, ptr, sizeof(heap));
	free(heap);
}

void cleanup_close_file(FILE **file)
{
	if (*file)
		fclose(*file);
}

int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}
