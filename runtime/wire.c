/* SPDX-License-Identifier: Apache-2.0
 * Messages between the launcher and the bottle's processes; see wire.h. Runs in: launcher, init,
 * reapers and their children. */
#include "runtime/wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"

int wire_pair(int ret_fds[static 2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds) < 0 ? -errno : 0;
}

int wire_send(int fd, enum wire_type type, int value, const int *fds, size_t fd_count)
{
	struct wire_msg msg = { .type = type, .value = value };

	return fd_send(fd, &msg, sizeof(msg), fds, fd_count);
}

int wire_try_send(int fd, enum wire_type type, int value)
{
	struct wire_msg msg = { .type = type, .value = value };

	return fd_try_send(fd, &msg, sizeof(msg));
}

void wire_send_failed(int fd, const char *step, int rc, const struct err *err)
{
	struct wire_msg msg = { .type = WIRE_FAILED, .value = -rc, .err = *err };

	snprintf(msg.step, sizeof(msg.step), "%s", step);
	(void)!fd_send(fd, &msg, sizeof(msg), NULL, 0);
}

int wire_recv(int fd, struct wire_msg *ret_msg, int *fds, size_t max_fds, size_t *ret_fd_count)
{
	ssize_t n = fd_recv(fd, ret_msg, sizeof(*ret_msg), fds, max_fds, ret_fd_count);

	if (n == -ECONNRESET) /* the peer died with our last message unread */
		return 0;
	if (n <= 0)
		return (int)n;
	if ((size_t)n != sizeof(*ret_msg))
		return -EPROTO;
	ret_msg->step[WIRE_STEP_BYTES - 1] = '\0';
	ret_msg->err.text[ERR_TEXT_BYTES - 1] = '\0';
	return 1;
}

int wire_expect(int fd, enum wire_type type, struct err *err)
{
	struct wire_msg msg;
	size_t fd_count = 0;
	int rc = wire_recv(fd, &msg, NULL, 0, &fd_count);

	if (rc < 0)
		return err_sys(err, -rc, "receive from the launcher");
	if (rc == 0)
		return err_set(err, EPIPE, "the launcher is gone");
	if (msg.type != type)
		return err_set(err, EPROTO, "message %u where %u was due", msg.type, type);
	return 0;
}
