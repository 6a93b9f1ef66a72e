/* SPDX-License-Identifier: Apache-2.0
 * Control messages; see gate_control.h and gate.h. Runs in: the launcher (gate_send_…) and the gate. */
#include "netns/gate_control.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "netns/gate_conn.h"

int gate_send_sockets(int control_fd, int dns_fd, const int *listener_fds, size_t listener_count)
{
	struct gate_message message = { .kind = GATE_MESSAGE_SOCKETS };
	int fds[1 + GATE_LISTENERS_MAX];

	if (listener_count > GATE_LISTENERS_MAX)
		return -E2BIG;
	fds[0] = dns_fd;
	if (listener_count)
		memcpy(fds + 1, listener_fds, listener_count * sizeof(*fds));
	return fd_send(control_fd, &message, sizeof(message), fds, 1 + listener_count);
}

int gate_read_reply(int control_fd, struct err *err)
{
	struct gate_control_reply reply;
	size_t count = 0;
	ssize_t n = fd_recv(control_fd, &reply, sizeof(reply), NULL, 0, &count);

	if (n == 0 || n == -ECONNRESET)
		return err_set(err, EOWNERDEAD, "the gate ended");
	if (n != (ssize_t)sizeof(reply))
		return err_set(err, EPROTO, "the gate sent half an answer");
	reply.err.text[sizeof(reply.err.text) - 1] = '\0';
	return reply.code < 0 ? err_set(err, -reply.code, "%s", reply.err.text) : 0;
}

void gate_send_failure(int control_fd, int rc, const struct err *err)
{
	struct gate_control_reply reply = { .code = rc, .err = *err };

	(void)!fd_send(control_fd, &reply, sizeof(reply), NULL, 0);
}
