/* SPDX-License-Identifier: Apache-2.0
 * The launcher's event loop; see session.h. Runs in: launcher. */
#include "runtime/session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

enum { END_TIMEOUT_MS = 5000 };

static void fail(struct session *s, int rc, const char *step, const char *text)
{
	if (s->failure) /* the first one is the reason, later ones are its echo */
		return;
	s->failure = rc;
	snprintf(s->failed_step, sizeof(s->failed_step), "%s", step);
	snprintf(s->failed_err.text, sizeof(s->failed_err.text), "%s", text);
}

/* --- what the proxy prints ------------------------------------------------------------------- */

static void tail_append(struct session *s, const char *bytes, size_t len)
{
	size_t keep;

	if (len >= sizeof(s->tail)) {
		bytes += len - sizeof(s->tail);
		len = sizeof(s->tail);
	}
	keep = s->tail_len + len > sizeof(s->tail) ? sizeof(s->tail) - len : s->tail_len;
	memmove(s->tail, s->tail + s->tail_len - keep, keep);
	memcpy(s->tail + keep, bytes, len);
	s->tail_len = keep + len;
}

void session_tail(const struct session *s, char *out, size_t out_size)
{
	size_t len = s->tail_len;
	const char *start = s->tail;
	size_t lines = 0;

	while (len && (start[len - 1] == '\n' || start[len - 1] == '\0'))
		len--;
	for (size_t i = len; i > 0 && lines < 3; i--)
		if (start[i - 1] == '\n' && ++lines == 3)
			start += i, len -= i, i = 1;
	if (len > 600) {
		start += len - 600;
		len = 600;
	}
	str_escape(out, out_size, start, len);
}

/* Takes what is there; true when the pipe is at its end. */
static bool drain(struct session *s, int fd, void (*take)(struct session *, const char *, size_t))
{
	char bytes[16384];
	ssize_t n = read(fd, bytes, sizeof(bytes));

	if (n > 0)
		take(s, bytes, (size_t)n);
	return n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
}

static void take_proxy_audit(struct session *s, const char *bytes, size_t len)
{
	audit_feed(&s->audit, AUDIT_PROXY, bytes, len);
}

static void take_gate_audit(struct session *s, const char *bytes, size_t len)
{
	audit_feed(&s->audit, AUDIT_GATE, bytes, len);
}

static void take_ready(struct session *s, const char *bytes, size_t len)
{
	if (memmem(bytes, len, "READY=1", 7))
		s->facts |= FACT_PROXY_READY;
}

static void on_out(struct session *s)
{
	if (drain(s, s->launch.out[0], tail_append))
		fd_close(&s->launch.out[0]);
}

static void on_ready(struct session *s)
{
	if (drain(s, s->launch.ready[0], take_ready))
		fd_close(&s->launch.ready[0]);
}

static void on_proxy_audit(struct session *s)
{
	if (drain(s, s->launch.audit[0], take_proxy_audit)) {
		audit_end(&s->audit, AUDIT_PROXY);
		fd_close(&s->launch.audit[0]);
		s->facts |= FACT_AUDIT_CLOSED;
	}
}

static void on_gate_audit(struct session *s)
{
	if (drain(s, s->gate_audit[0], take_gate_audit)) {
		audit_end(&s->audit, AUDIT_GATE);
		fd_close(&s->gate_audit[0]);
	}
}

/* --- messages --------------------------------------------------------------------------------- */

static void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

static void on_failed(struct session *s, const struct wire_msg *msg)
{
	fail(s, msg->value > 0 ? -msg->value : -EPROTO, msg->step, msg->err.text);
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
	case WIRE_FAILED:
		on_failed(s, msg);
		break;
	default:
		fail(s, -EPROTO, "init", "unexpected message");
	}
	close_all(fds, count);
}

static void on_stopped(struct session *s, enum role role, int sig);

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
		on_stopped(s, role, msg->value);
		break;
	case WIRE_EXITED:
		s->status[role] = msg->value;
		s->facts |= proxy ? FACT_PROXY_EXITED : FACT_AGENT_EXITED;
		break;
	case WIRE_FAILED:
		on_failed(s, msg);
		break;
	default:
		fail(s, -EPROTO, "reaper", "unexpected message");
	}
	close_all(fds, count);
}

static void on_child_message(struct session *s, enum role role, const struct wire_msg *msg,
			     const int *fds, size_t count)
{
	bool proxy = role == ROLE_PROXY;

	close_all(fds, count);
	if (msg->type == WIRE_BUILT)
		s->facts |= proxy ? FACT_PROXY_BUILT : FACT_AGENT_BUILT;
	else if (msg->type == WIRE_EXEC_FAILED)
		s->exec_errno[role] = msg->value > 0 ? msg->value : EPROTO;
	else if (msg->type == WIRE_FAILED)
		on_failed(s, msg);
	else
		fail(s, -EPROTO, "child", "unexpected message");
}

/* Receives one message; false when the channel ended (and is closed then). */
static bool receive(struct session *s, int *fd, struct wire_msg *msg, int *fds, size_t *ret_count)
{
	int rc = wire_recv(*fd, msg, fds, FD_PASS_MAX, ret_count);

	if (rc > 0)
		return true;
	if (rc < 0)
		fail(s, rc, "channel", "a message from inside was damaged");
	fd_close(fd);
	return false;
}

static void on_init(struct session *s)
{
	int fds[FD_PASS_MAX];
	struct wire_msg msg;
	size_t count = 0;

	if (receive(s, &s->launch.init_ctl[0], &msg, fds, &count))
		on_init_message(s, &msg, fds, count);
}

static void on_reaper(struct session *s, enum role role)
{
	int fds[FD_PASS_MAX];
	struct wire_msg msg;
	size_t count = 0;

	if (receive(s, &s->launch.ctl[role][0], &msg, fds, &count))
		on_reaper_message(s, role, &msg, fds, count);
	else if (!(s->facts & (role == ROLE_PROXY ? FACT_PROXY_EXITED : FACT_AGENT_EXITED)))
		fail(s, -ECHILD, "reaper",
		     role == ROLE_PROXY ? "the proxy's reaper was killed (out of memory?)"
					: "the agent's reaper was killed (out of memory?)");
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

static void on_proxy_reaper(struct session *s)
{
	on_reaper(s, ROLE_PROXY);
}

static void on_agent_reaper(struct session *s)
{
	on_reaper(s, ROLE_AGENT);
}

static void on_proxy_child(struct session *s)
{
	on_child(s, ROLE_PROXY);
}

static void on_agent_child(struct session *s)
{
	on_child(s, ROLE_AGENT);
}

/* --- signals and job control ------------------------------------------------------------------ */

static void send_signal(struct session *s, enum role role, int sig)
{
	if (s->launch.ctl[role][0] >= 0)
		(void)!wire_send(s->launch.ctl[role][0], WIRE_SIGNAL, sig, NULL, 0);
}

/* The agent reads or sets the terminal that was kept for the rest of a pipeline until it asks. */
static void give_terminal(struct session *s)
{
	struct err err;

	s->stdio.input_withheld = false;
	if (tty_resume(&s->tty, &err) < 0)
		fail(s, -EIO, "terminal", err.text);
	if (s->launch.ctl[ROLE_AGENT][0] >= 0)
		(void)!wire_send(s->launch.ctl[ROLE_AGENT][0], WIRE_FOREGROUND, 0, NULL, 0);
}

/* The agent's group stopped (^Z): so does this job, until the shell says `fg` or `bg`. Without a
 * terminal nobody would continue us, so a program that stops itself is its own affair. */
static void on_stopped(struct session *s, enum role role, int sig)
{
	struct err err;

	if (role != ROLE_AGENT || (!s->stdio.has_tty && sig == SIGSTOP))
		return;
	if (s->stdio.input_withheld && (sig == SIGTTIN || sig == SIGTTOU)) {
		give_terminal(s);
		return;
	}
	if (tty_suspend(&s->tty, &err) < 0)
		fail(s, -EIO, "terminal", err.text);
	kill(getpid(), SIGSTOP);
}

static void on_continue(struct session *s)
{
	struct err err;

	if (tty_resume(&s->tty, &err) < 0)
		fail(s, -EIO, "terminal", err.text);
	send_signal(s, ROLE_AGENT, SIGCONT);
}

static void on_signal(struct session *s)
{
	struct signalfd_siginfo info;

	if (read(s->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCONT)
		on_continue(s);
	else if (s->facts & FACT_AGENT_STARTED)
		send_signal(s, ROLE_AGENT, (int)info.ssi_signo);
	else if (info.ssi_signo == SIGTSTP)
		kill(getpid(), SIGSTOP);
	else if (info.ssi_signo != SIGUSR1 && info.ssi_signo != SIGUSR2 &&
		 info.ssi_signo != SIGWINCH)
		s->signalled = (int)info.ssi_signo;
}

int session_take_signals(struct session *s, struct err *err)
{
	static const int handled[] = { SIGINT,	SIGTERM, SIGHUP,  SIGQUIT, SIGUSR1,
				       SIGUSR2, SIGTSTP, SIGCONT, SIGALRM };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(handled) / sizeof(handled[0]); i++)
		sigaddset(&set, handled[i]);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(err, errno, "block signals");
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	return s->signal_fd < 0 ? err_sys(err, errno, "signalfd") : 0;
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
	if (!s->ending)
		fail(s, -ECHILD, "init", "the bottle's init ended by itself");
}

static void on_gate_end(struct session *s)
{
	int status;

	if (waitpid(s->gate_pid, &status, WNOHANG) != s->gate_pid)
		return;
	s->gate_pid = -1;
	fd_close(&s->gate_pidfd);
	s->facts |= FACT_GATE_ENDED;
	if (!s->ending)
		fail(s, -ECHILD, "gate", "the gate ended by itself");
}

static void on_gate_message(struct session *s)
{
	struct err err;
	int rc = gate_read_reply(s->gate_ctl[0], &err);

	if (rc < 0 && !s->ending)
		fail(s, rc, "gate", err.text);
	if (rc < 0)
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
		{ &s->signal_fd, on_signal },
		{ &s->launch.out[0], on_out },
		{ &s->launch.audit[0], on_proxy_audit },
		{ &s->launch.ready[0], on_ready },
		{ &s->gate_audit[0], on_gate_audit },
		{ &s->launch.go[ROLE_PROXY][0], on_proxy_child },
		{ &s->launch.go[ROLE_AGENT][0], on_agent_child },
		{ &s->launch.ctl[ROLE_PROXY][0], on_proxy_reaper },
		{ &s->launch.ctl[ROLE_AGENT][0], on_agent_reaper },
		{ &s->launch.init_ctl[0], on_init },
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

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void proxy_exit_is_failure(struct session *s)
{
	char tail[2048], text[ERR_TEXT_BYTES];
	int status = s->status[ROLE_PROXY];

	if (s->ending || s->failure)
		return;
	if (s->launch.out[0] >= 0) /* its last words may still be in the pipe */
		on_out(s);
	session_tail(s, tail, sizeof(tail));
	snprintf(text, sizeof(text), "the proxy ended with %s %d%s%.700s",
		 WIFEXITED(status) ? "status" : "signal",
		 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
		 tail[0] ? "; its last lines: " : " and printed nothing", tail);
	fail(s, -ECHILD, "proxy", text);
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
	return 0;
}

int session_wait_once(struct session *s, struct err *err)
{
	dispatch(s, -1);
	return check(s, err);
}

int session_wait(struct session *s, unsigned facts, int timeout_ms, struct err *err)
{
	int64_t deadline = now_ms() + timeout_ms;

	for (;;) {
		int64_t left = timeout_ms < 0 ? -1 : deadline - now_ms();

		TRY(check(s, err));
		if ((s->facts & facts) == facts)
			return 0;
		if (timeout_ms >= 0 && left <= 0)
			return -ETIME;
		dispatch(s, (int)left);
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
					   .ready = { -1, -1 } } };
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

/* init's end of its channel, and with it everything inside; then what is still in the pipes. */
void session_end_processes(struct session *s)
{
	struct err err;

	s->ending = true;
	fd_close(&s->launch.init_ctl[0]);
	fd_close(&s->gate_ctl[0]);
	if (s->init_pid > 0)
		kill(s->init_pid, SIGKILL);
	(void)!session_wait(s,
			    (s->init_pid > 0 ? FACT_INIT_ENDED : 0) |
				    (s->gate_pid > 0 ? FACT_GATE_ENDED : 0),
			    END_TIMEOUT_MS, &err);
	while (s->init_pid < 0 && s->launch.audit[0] >= 0)
		on_proxy_audit(s);
	while (s->gate_pid < 0 && s->gate_audit[0] >= 0)
		on_gate_audit(s);
}

bool session_asked_to_end(struct session *s)
{
	struct signalfd_siginfo info;

	return read(s->signal_fd, &info, sizeof(info)) == sizeof(info) &&
	       info.ssi_signo != SIGCONT && info.ssi_signo != SIGTSTP;
}

void session_clear(struct session *s)
{
	int *pairs[] = { s->gate_ctl,	   s->gate_audit,   s->launch.init_ctl, s->launch.ctl[0],
			 s->launch.ctl[1], s->launch.go[0], s->launch.go[1],	s->launch.out,
			 s->launch.audit,  s->launch.ready };

	end_process(&s->init_pid, &s->init_pidfd);
	end_process(&s->gate_pid, &s->gate_pidfd);
	relay_clear(&s->relay);
	tty_clear(&s->tty);
	audit_clear(&s->audit);
	secrets_wipe(&s->secrets);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		fd_close(&pairs[i][0]);
		fd_close(&pairs[i][1]);
	}
	for (size_t i = 0; i < ROLE_COUNT; i++)
		close_all(s->files[i].handed_fds, s->files[i].handed_count);
	close_all(s->listener_fds, s->listener_count);
	fd_close(&s->pty_fd);
	fd_close(&s->signal_fd);
	fd_close(&s->launch.launcher_pidfd);
}
