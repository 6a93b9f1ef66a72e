/* SPDX-License-Identifier: Apache-2.0
 * The last of the agent's output; see session.h. Runs in: launcher, when every process inside is dead.
 *
 * The agent cannot hold the end up any more, but a reader that takes nothing can. Nobody waits for it
 * longer than they would have waited for the agent. */
#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "runtime/session_parts.h"

/* A reader that is there takes what is left in much less. */
enum { LEAST_WAIT_MS = 1000 };

/* When a signal has asked, also once it is past or a second one came: a moment. */
static int64_t deadline_of(const struct session *s)
{
	int64_t least = clock_now_ms() + LEAST_WAIT_MS;

	if (s->signalled)
		return least;
	if (!s->grace_end_ms)
		return -1;
	return s->grace_end_ms > least ? s->grace_end_ms : least;
}

/* Reads one signal of those that came; true when it asks for the end. */
static bool is_asked_to_end(const struct session *s)
{
	struct signalfd_siginfo info;

	if (read(s->signal_fd, &info, sizeof(info)) != sizeof(info))
		return false;
	return info.ssi_signo == SIGINT || info.ssi_signo == SIGTERM || info.ssi_signo == SIGHUP ||
	       info.ssi_signo == SIGQUIT;
}

static int finish_relays(struct session *s, int64_t *deadline, struct err *err)
{
	int rc;

	while ((rc = relay_finish(&s->relay, s->signal_fd, *deadline, err)) == -EINTR)
		if (is_asked_to_end(s)) {
			*deadline = clock_now_ms();
			return relay_finish(&s->relay, -1, *deadline, err);
		}
	return rc;
}

/* It has the modes to set back, so it is never hurried more than tty_clear does. */
static int finish_terminal(struct session *s, int64_t deadline, struct err *err)
{
	int rc;

	while ((rc = tty_finish(&s->tty, s->signal_fd, deadline, err)) == -EINTR)
		if (is_asked_to_end(s))
			return tty_finish(&s->tty, -1, clock_now_ms(), err);
	return rc;
}

int session_finish_output(struct session *s, struct err *err)
{
	int64_t deadline = deadline_of(s);
	struct err tty_err = { "" };
	int rc = finish_relays(s, &deadline, err);
	int64_t least = clock_now_ms() + LEAST_WAIT_MS;
	int tty_rc = finish_terminal(s, deadline < 0 || deadline > least ? deadline : least,
				     &tty_err);

	s->output_lost = s->relay.lost || tty_rc < 0;
	if (s->relay.lost || tty_rc == 0)
		return rc;
	*err = tty_err;
	return tty_rc;
}
