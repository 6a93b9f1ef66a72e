/* SPDX-License-Identifier: Apache-2.0
 * Messages from init, the reapers and their children; see session.h. Runs in: launcher.
 *
 * Each is a fact of session.h. One that is not due is a failure or is dropped; descriptors that came
 * with it are closed. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "runtime/session_parts.h"

void session_close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

static void on_failed(struct session *s, const struct wire_msg *msg)
{
	session_fail(s, msg->value > 0 ? -msg->value : -EPROTO, msg->step, msg->err.text);
}

static void on_init_message(struct session *s, const struct wire_msg *msg, const int *fds,
			    size_t count)
{
	switch (msg->type) {
	case WIRE_MAPS_WANTED:
		s->facts |= FACT_MAPS_WANTED;
		break;
	case WIRE_LISTENERS:
		if (s->listener_count || count != s->plan->port_count + 1)
			break;
		memcpy(s->listener_fds, fds, count * sizeof(*fds));
		s->listener_count = count;
		s->facts |= FACT_LISTENERS;
		return;
	case WIRE_PORT_OPEN:
		s->facts |= FACT_PROXY_READY;
		break;
	case WIRE_EXITED: /* a reaper */
		s->reapers_ended++;
		if (msg->value)
			s->reaper_status = msg->value;
		session_check_reapers(s);
		break;
	case WIRE_FAILED:
		on_failed(s, msg);
		break;
	default:
		session_fail(s, -EPROTO, "init", "unexpected message");
	}
	session_close_all(fds, count);
}

static void on_reaper_message(struct session *s, enum role role, const struct wire_msg *msg,
			      const int *fds, size_t count)
{
	bool proxy = role == ROLE_PROXY;

	switch (msg->type) {
	case WIRE_FILES:
		if (s->files[role].handed_count || count > MOUNT_HANDED_MAX)
			break;
		memcpy(s->files[role].handed_fds, fds, count * sizeof(*fds));
		s->files[role].handed_count = count;
		s->facts |= proxy ? FACT_PROXY_FILES : FACT_AGENT_FILES;
		return;
	case WIRE_PTY:
		if (s->pty_fd >= 0 || count != 1)
			break;
		s->pty_fd = fds[0];
		s->facts |= FACT_PTY;
		return;
	case WIRE_STOPPED:
		s->stopped_by[role] = msg->value;
		break;
	case WIRE_EXITED:
		s->status[role] = msg->value;
		s->facts |= proxy ? FACT_PROXY_EXITED : FACT_AGENT_EXITED;
		break;
	case WIRE_FAILED:
		on_failed(s, msg);
		break;
	default:
		session_fail(s, -EPROTO, "reaper", "unexpected message");
	}
	session_close_all(fds, count);
}

static void on_child_message(struct session *s, enum role role, const struct wire_msg *msg,
			     const int *fds, size_t count)
{
	bool proxy = role == ROLE_PROXY;

	session_close_all(fds, count);
	if (msg->type == WIRE_BUILT)
		s->facts |= proxy ? FACT_PROXY_BUILT : FACT_AGENT_BUILT;
	else if (msg->type == WIRE_EXEC_FAILED)
		s->exec_errno[role] = msg->value > 0 ? msg->value : EPROTO;
	else if (msg->type == WIRE_FAILED)
		on_failed(s, msg);
	else
		session_fail(s, -EPROTO, "child", "unexpected message");
}

/* Receives one message; false when the channel ended (and is closed then). */
static bool receive(struct session *s, int *fd, struct wire_msg *msg, int *fds, size_t *ret_count)
{
	int rc = wire_recv(*fd, msg, fds, FD_PASS_MAX, ret_count);

	if (rc > 0)
		return true;
	if (rc < 0)
		session_fail(s, rc, "channel", "a message from inside was damaged");
	fd_close(fd);
	return false;
}

void session_on_init(struct session *s)
{
	int fds[FD_PASS_MAX];
	struct wire_msg msg;
	size_t count = 0;

	if (receive(s, &s->launch.init_ctl[0], &msg, fds, &count))
		on_init_message(s, &msg, fds, count);
}

static void read_one(struct session *s, enum role role)
{
	int fds[FD_PASS_MAX];
	struct wire_msg msg;
	size_t count = 0;

	if (receive(s, &s->launch.ctl[role][0], &msg, fds, &count))
		on_reaper_message(s, role, &msg, fds, count);
	else
		session_check_reapers(s);
}

int session_read_reaper(struct session *s, enum role role)
{
	enum { MESSAGES_MAX = 256 }; /* more than the channel holds */

	s->stopped_by[role] = 0;
	for (int i = 0; i < MESSAGES_MAX && s->launch.ctl[role][0] >= 0; i++) {
		struct pollfd pfd = { .fd = s->launch.ctl[role][0], .events = POLLIN };

		if (poll(&pfd, 1, 0) <= 0)
			break;
		read_one(s, role);
	}
	return s->failure ? 0 : s->stopped_by[role];
}

/* All that has come, before this job stops: one of many stops counts, and what ends the run goes first. */
static void on_reaper(struct session *s, enum role role)
{
	unsigned exited = role == ROLE_PROXY ? FACT_PROXY_EXITED : FACT_AGENT_EXITED;
	int sig = session_read_reaper(s, role);

	if (sig && !(s->facts & exited))
		session_on_stopped(s, role, sig);
}

static void on_child(struct session *s, enum role role)
{
	int fds[FD_PASS_MAX];
	struct wire_msg msg;
	size_t count = 0;

	if (receive(s, &s->launch.go[role][0], &msg, fds, &count))
		on_child_message(s, role, &msg, fds, count);
	else if (!s->exec_errno[role] && !s->failure)
		s->facts |= role == ROLE_PROXY ? FACT_PROXY_STARTED : FACT_AGENT_STARTED;
}

void session_on_proxy_reaper(struct session *s)
{
	on_reaper(s, ROLE_PROXY);
}

void session_on_agent_reaper(struct session *s)
{
	on_reaper(s, ROLE_AGENT);
}

void session_on_proxy_child(struct session *s)
{
	on_child(s, ROLE_PROXY);
}

void session_on_agent_child(struct session *s)
{
	on_child(s, ROLE_AGENT);
}
