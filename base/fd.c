/* SPDX-License-Identifier: Apache-2.0
 * Descriptors; see fd.h. Runs in: every process. */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

static int wait_for(int fd, short events)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	while (poll(&pfd, 1, -1) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int fd_write_all(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			TRY(wait_for(fd, POLLOUT));
			continue;
		}
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int fd_read_all(int fd, size_t max_bytes, struct buf *ret_buf)
{
	size_t got = 0;
	char chunk[16384];

	for (;;) {
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			TRY(wait_for(fd, POLLIN));
			continue;
		}
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		if ((size_t)n > max_bytes - got)
			return -EFBIG;
		got += (size_t)n;
		buf_append(ret_buf, chunk, (size_t)n);
	}
	return ret_buf->failed ? -ENOMEM : 0;
}

int file_read(int dir_fd, const char *path, size_t max_bytes, struct buf *ret_buf, struct err *err)
{
	cleanup_fd int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int rc;

	if (fd < 0)
		return err_sys(err, errno, "%s", path);
	rc = fd_read_all(fd, max_bytes, ret_buf);
	if (rc == -EFBIG)
		return err_set(err, EFBIG, "%s: larger than %zu bytes", path, max_bytes);
	return rc < 0 ? err_sys(err, -rc, "%s", path) : 0;
}

int file_write(int dir_fd, const char *path, const char *text)
{
	cleanup_fd int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	size_t len = strlen(text);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, len);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}
