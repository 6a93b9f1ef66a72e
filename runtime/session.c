/* SPDX-License-Identifier: Apache-2.0
 * The launcher's event loop; see session.h. Runs in: launcher. */
#include "runtime/session_parts.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"

enum { END_TIMEOUT_MS = 5000 };

void session_fail(struct session *s, int rc, const char *step, const char *text)
{
	/* The first one is the reason, later ones are its echo; at the end everything goes. */
	if (s->failure || s->ending)
		return;
	s->failure = rc;
	snprintf(s->failed_step, sizeof(s->failed_step), "%s", step);
	snprintf(s->failed_err.text, sizeof(s->failed_err.text), "%s", text);
}

/* How a process of ours ended, for a sentence about it. */
static void fail_by_end(struct session *s, const char *step, const char *who, int status)
{
	char text[160];

	if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "%s was killed by signal %d%s", who, WTERMSIG(status),
			 WTERMSIG(status) == SIGKILL ? " (by another program of this user, or "
						       "for want of memory)"
						     : "");
	else
		snprintf(text, sizeof(text), "%s ended by itself, with status %d", who,
			 WEXITSTATUS(status));
	session_fail(s, -ECHILD, step, text);
}

/* A reaper's channel closes as well when init dies, of which nothing has been heard at that moment: so
 * the cause is what init says of its child, or else how init ended. One of them always comes. */
void session_check_reapers(struct session *s)
{
	static const unsigned exited[] = { FACT_PROXY_EXITED, FACT_AGENT_EXITED };
	static const char *const names[] = { "the proxy's reaper", "the agent's reaper" };
	unsigned well = 0;

	for (size_t i = 0; i < ROLE_COUNT; i++)
		well += (s->facts & exited[i]) != 0;
	for (size_t i = 0; i < ROLE_COUNT; i++)
		if (s->launch.ctl[i][0] < 0 && !(s->facts & exited[i]) && s->reapers_ended > well)
			fail_by_end(s, "reaper", names[i], s->reaper_status);
}

/* --- the loop --------------------------------------------------------------------------------- */

static void on_init_end(struct session *s)
{
	int status;

	if (waitpid(s->init_pid, &status, WNOHANG | __WALL) != s->init_pid)
		return;
	s->init_pid = -1;
	fd_close(&s->init_pidfd);
	s->facts |= FACT_INIT_ENDED;
	fail_by_end(s, "init", "the bottle's init", status);
}

/* The gate's own children, killed by its death, are ours to reap then (session_start_gate), or they would
 * stay as zombies where the host's pid 1 reaps nothing. The group keeps the number from a second owner. */
static void reap_gate_group(pid_t group)
{
	while (waitpid(-group, NULL, 0) > 0 || errno == EINTR)
		continue;
}

static void on_gate_end(struct session *s)
{
	int status;

	if (waitpid(s->gate_pid, &status, WNOHANG) != s->gate_pid)
		return;
	reap_gate_group(s->gate_pid);
	s->gate_pid = -1;
	fd_close(&s->gate_pidfd);
	s->facts |= FACT_GATE_ENDED;
	fail_by_end(s, "gate", "the gate", status);
}

static void on_gate_message(struct session *s)
{
	struct err err;
	int rc = gate_read_reply(s->gate_ctl[0], &err);

	if (rc == 0)
		return;
	if (rc != -EOWNERDEAD ||
	    s->gate_pid < 0) /* else its end follows, which says how (on_gate_end) */
		session_fail(s, rc, "gate", err.text);
	fd_close(&s->gate_ctl[0]);
}

struct source {
	const int *fd;
	void (*handle)(struct session *s);
};

/* Facts before failures: pipes and messages are read before the end of a process is looked at, so the
 * reason that a dying process sent is known when its end is. */
static void dispatch(struct session *s, int timeout_ms)
{
	const struct source sources[] = {
		{ &s->signal_fd, session_on_signal },
		{ &s->launch.out[0], session_on_out },
		{ &s->launch.audit[0], session_on_proxy_audit },
		{ &s->launch.ready[0], session_on_ready },
		{ &s->gate_audit[0], session_on_gate_audit },
		{ &s->launch.go[ROLE_PROXY][0], session_on_proxy_child },
		{ &s->launch.go[ROLE_AGENT][0], session_on_agent_child },
		{ &s->launch.ctl[ROLE_PROXY][0], session_on_proxy_reaper },
		{ &s->launch.ctl[ROLE_AGENT][0], session_on_agent_reaper },
		{ &s->launch.init_ctl[0], session_on_init },
		{ &s->gate_ctl[0], on_gate_message },
		{ &s->gate_pidfd, on_gate_end },
		{ &s->init_pidfd, on_init_end },
	};
	enum { COUNT = sizeof(sources) / sizeof(sources[0]) };
	struct pollfd fds[COUNT];

	for (size_t i = 0; i < COUNT; i++) /* a negative descriptor is passed over by poll(2) */
		fds[i] = (struct pollfd){ .fd = *sources[i].fd, .events = POLLIN };
	if (poll(fds, COUNT, timeout_ms) <= 0)
		return;
	for (size_t i = 0; i < COUNT; i++)
		if (fds[i].revents && *sources[i].fd == fds[i].fd)
			sources[i].handle(s);
}

static void proxy_exit_is_failure(struct session *s)
{
	char tail[2048], text[ERR_TEXT_BYTES];
	int status = s->status[ROLE_PROXY];

	if (s->ending || s->failure)
		return;
	if (s->launch.out[0] >= 0) /* its last words may still be in the pipe */
		session_on_out(s);
	tail_text(&s->tail, tail, sizeof(tail));
	snprintf(text, sizeof(text), "the proxy ended with %s %d%s%.700s",
		 WIFEXITED(status) ? "status" : "signal",
		 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
		 tail[0] ? "; its last lines: " : " and printed nothing", tail);
	session_fail(s, -ECHILD, "proxy", text);
}

static int check(struct session *s, struct err *err)
{
	if (s->ending)
		return 0;
	if (s->facts & FACT_PROXY_EXITED)
		proxy_exit_is_failure(s);
	if (s->failure)
		return err_set(err, -s->failure, "%s", s->failed_err.text);
	if (s->signalled)
		return err_set(err, EINTR, "ended by signal %d", s->signalled);
	if (s->grace_end_ms && clock_now_ms() >= s->grace_end_ms) {
		s->signalled = s->asked_by;
		return err_set(err, EINTR, "did not end when asked to by signal %d", s->asked_by);
	}
	return 0;
}

/* How long poll(2) may sleep: until `deadline` (-1: none) or the end of the grace period. */
static int sleep_ms(const struct session *s, int64_t deadline)
{
	int64_t until = deadline;

	if (!s->ending && s->grace_end_ms && (until < 0 || s->grace_end_ms < until))
		until = s->grace_end_ms;
	if (until < 0)
		return -1;
	return until > clock_now_ms() ? (int)(until - clock_now_ms()) : 0;
}

int session_wait_once(struct session *s, struct err *err)
{
	dispatch(s, sleep_ms(s, -1));
	return check(s, err);
}

int session_wait(struct session *s, unsigned facts, int timeout_ms, struct err *err)
{
	int64_t deadline = timeout_ms < 0 ? -1 : clock_now_ms() + timeout_ms;

	for (;;) {
		TRY(check(s, err));
		if ((s->facts & facts) == facts)
			return 0;
		if (deadline >= 0 && clock_now_ms() >= deadline)
			return err_set(err, ETIME, "a step of the start took longer than %d ms",
				       timeout_ms);
		dispatch(s, sleep_ms(s, deadline));
	}
}

/* --- begin and end ---------------------------------------------------------------------------- */

void session_init(struct session *s, const struct plan *plan)
{
	*s = (struct session){ .plan = plan,
			       .signal_fd = -1,
			       .init_pid = -1,
			       .gate_pid = -1,
			       .init_pidfd = -1,
			       .gate_pidfd = -1,
			       .gate_ctl = { -1, -1 },
			       .gate_audit = { -1, -1 },
			       .pty_fd = -1,
			       .launch = { .plan = plan,
					   .relay_fds = { -1, -1, -1 },
					   .launcher_pidfd = -1,
					   .init_ctl = { -1, -1 },
					   .ctl = { { -1, -1 }, { -1, -1 } },
					   .go = { { -1, -1 }, { -1, -1 } },
					   .out = { -1, -1 },
					   .audit = { -1, -1 },
					   .ready = { -1, -1 },
					   .handout = { -1, -1 },
					   .decoy = { -1, -1 } } };
	relay_init(&s->relay);
	tty_init(&s->tty);
	audit_init(&s->audit);
}

static void end_process(pid_t *pid, int *pidfd)
{
	if (*pid > 0) {
		kill(*pid, SIGKILL);
		while (waitpid(*pid, NULL, __WALL) < 0 && errno == EINTR)
			continue;
	}
	*pid = -1;
	fd_close(pidfd);
}

static void end_gate(struct session *s)
{
	pid_t group = s->gate_pid;

	end_process(&s->gate_pid, &s->gate_pidfd);
	if (group > 0)
		reap_gate_group(group);
}

/* What is still in a pipe whose writers are dead; where one lives on, no more than is there now. */
static void drain_rest(struct session *s, const int *fd, void (*handle)(struct session *s))
{
	for (struct pollfd pfd = { .fd = *fd, .events = POLLIN }; *fd >= 0 && poll(&pfd, 1, 0) > 0;)
		handle(s);
}

/* init's end of its channel, and with it everything inside; then what is still in the pipes. */
void session_end_processes(struct session *s)
{
	struct err err;

	s->ending = true;
	session_close_inner_ends(s); /* where init was never made they are still ours */
	fd_close(&s->launch.init_ctl[0]);
	fd_close(&s->gate_ctl[0]);
	if (s->init_pid > 0)
		kill(s->init_pid, SIGKILL);
	(void)!session_wait(s,
			    (s->init_pid > 0 ? FACT_INIT_ENDED : 0) |
				    (s->gate_pid > 0 ? FACT_GATE_ENDED : 0),
			    END_TIMEOUT_MS, &err);
	drain_rest(s, &s->launch.audit[0], session_on_proxy_audit);
	drain_rest(s, &s->gate_audit[0], session_on_gate_audit);
}

void session_clear(struct session *s)
{
	int *pairs[] = { s->gate_ctl,	   s->gate_audit,   s->launch.init_ctl, s->launch.ctl[0],
			 s->launch.ctl[1], s->launch.go[0], s->launch.go[1],	s->launch.out,
			 s->launch.audit,  s->launch.ready, s->launch.handout,	s->launch.decoy };

	end_process(&s->init_pid, &s->init_pidfd);
	end_gate(s);
	relay_clear(&s->relay);
	tty_clear(&s->tty);
	audit_clear(&s->audit);
	secrets_wipe(&s->secrets);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		fd_close(&pairs[i][0]);
		fd_close(&pairs[i][1]);
	}
	for (size_t i = 0; i < ROLE_COUNT; i++)
		session_close_all(s->files[i].handed_fds, s->files[i].handed_count);
	session_close_all(s->listener_fds, s->listener_count);
	fd_close(&s->pty_fd);
	fd_close(&s->signal_fd);
	fd_close(&s->launch.launcher_pidfd);
}
