/* SPDX-License-Identifier: Apache-2.0
 * Descriptors, as far as Linux has its own calls for them; see fd.h. Runs in: every process. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

static int open_how(int dir_fd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.mode = (flags & (O_CREAT | __O_TMPFILE)) ? mode : 0,
		.resolve = resolve,
	};
	long fd;

	do { /* openat2(2): EAGAIN when a rename raced with the walk */
		fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
	} while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd < 0 ? -errno : (int)fd;
}

int fd_open_nosymlinks(int dir_fd, const char *path, int flags, mode_t mode)
{
	return open_how(dir_fd, path, flags, mode, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

int fd_open_in_root(int root_fd, const char *path, int flags, mode_t mode)
{
	return open_how(root_fd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int fd_send(int socket_fd, const void *bytes, size_t len, const int *fds, size_t fd_count)
{
	union {
		char space[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;
	ssize_t n;

	if (fd_count > FD_PASS_MAX)
		return -EINVAL;
	if (fd_count) {
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * fd_count);
	}
	do { /* sendmsg(2) only where it must be: some of our filters allow none */
		n = fd_count ? sendmsg(socket_fd, &msg, MSG_NOSIGNAL)
			     : send(socket_fd, bytes, len, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

int fd_try_send(int socket_fd, const void *bytes, size_t len)
{
	ssize_t n;

	do {
		n = send(socket_fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

/* Moves the descriptors of one control message out, closing those that do not fit. */
static bool take_rights(struct cmsghdr *cmsg, int *fds, size_t max_fds, size_t *count)
{
	size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	bool fits = true;

	for (size_t i = 0; i < n; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
		if (*count < max_fds) {
			fds[(*count)++] = fd;
		} else {
			close(fd);
			fits = false;
		}
	}
	return fits;
}

ssize_t fd_recv(int socket_fd, void *bytes, size_t size, int *fds, size_t max_fds,
		size_t *ret_fd_count)
{
	union {
		char space[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = bytes, .iov_len = size };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	bool fits = true;
	size_t count = 0;
	ssize_t n;

	do {
		n = recvmsg(socket_fd, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			fits = take_rights(c, fds, max_fds, &count) && fits;
	if (!fits || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		for (size_t i = 0; i < count; i++)
			close(fds[i]);
		return -EMSGSIZE;
	}
	*ret_fd_count = count;
	return n;
}

int fd_all_cloexec(void)
{
	return syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) < 0 ? -errno : 0;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

int fd_close_except(int *keep, size_t count)
{
	unsigned next = 3;

	if (count) /* keep may be NULL then, which qsort(3) must not be given */
		qsort(keep, count, sizeof(*keep), by_number);
	for (size_t i = 0; i < count; i++) {
		if (keep[i] < (int)next)
			continue;
		if ((unsigned)keep[i] > next &&
		    syscall(SYS_close_range, next, (unsigned)keep[i] - 1, 0U) < 0)
			return -errno;
		next = (unsigned)keep[i] + 1;
	}
	return syscall(SYS_close_range, next, ~0U, 0U) < 0 ? -errno : 0;
}

int fd_pipe(int ret_fds[static 2])
{
	return pipe2(ret_fds, O_CLOEXEC) < 0 ? -errno : 0;
}

int fd_copy(int out_fd, int in_fd, size_t len)
{
	while (len) {
		ssize_t n = sendfile(out_fd, in_fd, NULL, len);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		len -= (size_t)n;
	}
	return 0;
}
