/* SPDX-License-Identifier: Apache-2.0
 *
 * Descriptors, by POSIX alone; see fd.h. In the place of fd_linux.c in a bottle of `make DOCKER_ONLY=1`, which
 * passes no descriptor to a child but 0, 1 and 2. Runs in: launcher.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

/* One component after the other, none of them through a link: what openat2(2) does at once. */
int fd_open_nosymlinks(int dir_fd, const char *path, int flags, mode_t mode)
{
	cleanup_free char *copy = strdup(path);
	cleanup_fd int at = -1;
	char *component = copy;

	if (!copy)
		return -ENOMEM;
	if (*component == '/') {
		at = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (at < 0)
			return -errno;
	}
	for (char *slash; component += strspn(component, "/"), (slash = strchr(component, '/'));
	     component = slash + 1) {
		int next;

		*slash = '\0';
		next = openat(at >= 0 ? at : dir_fd, component,
			      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return errno == ENOTDIR ? -ELOOP : -errno;
		fd_close(&at);
		at = next;
	}
	dir_fd = openat(at >= 0 ? at : dir_fd, *component ? component : ".",
			flags | O_NOFOLLOW | O_CLOEXEC, mode);
	return dir_fd < 0 ? -errno : dir_fd;
}

int fd_all_cloexec(void)
{
	long count = sysconf(_SC_OPEN_MAX);

	for (int fd = 3; fd < count; fd++)
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 && errno != EBADF)
			return -errno;
	return 0;
}

/* No fork comes between: there is one thread. */
int fd_pipe(int ret_fds[static 2])
{
	if (pipe(ret_fds) < 0)
		return -errno;
	for (int i = 0; i < 2; i++)
		if (fcntl(ret_fds[i], F_SETFD, FD_CLOEXEC) < 0)
			return -errno;
	return 0;
}

int fd_copy(int out_fd, int in_fd, size_t len)
{
	char bytes[16384];

	while (len) {
		ssize_t n = read(in_fd, bytes, len < sizeof(bytes) ? len : sizeof(bytes));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		TRY(fd_write_all(out_fd, bytes, (size_t)n));
		len -= (size_t)n;
	}
	return 0;
}
