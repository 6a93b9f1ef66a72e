/* SPDX-License-Identifier: Apache-2.0
 * Signals and job control; see session.h. Runs in: launcher. */
#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "runtime/session_parts.h"

enum { GRACE_MS = 10000 };

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
		session_fail(s, -EIO, "terminal", err.text);
	if (s->launch.ctl[ROLE_AGENT][0] >= 0)
		(void)!wire_send(s->launch.ctl[ROLE_AGENT][0], WIRE_FOREGROUND, 0, NULL, 0);
}

/* The agent's group stopped (^Z): so does this job, until the shell says `fg` or `bg`. Without a
 * terminal only a stop that came from the caller stops us: nobody might ever continue us, and the
 * audit log and every deadline would stand still with us. */
void session_on_stopped(struct session *s, enum role role, int sig)
{
	struct err err;

	if (role != ROLE_AGENT || (!s->stdio.has_tty && !(s->stop_passed_on && sig == SIGTSTP)))
		return;
	s->stop_passed_on = false;
	if (s->stdio.input_withheld && (sig == SIGTTIN || sig == SIGTTOU)) {
		give_terminal(s);
		return;
	}
	if (tty_suspend(&s->tty, &err) < 0)
		session_fail(s, -EIO, "terminal", err.text);
	kill(getpid(), SIGSTOP);
}

/* What was said of stops before is past: one `fg` is enough. */
static void on_continue(struct session *s)
{
	struct err err;

	(void)session_read_reaper(s, ROLE_AGENT);
	if (tty_resume(&s->tty, &err) < 0)
		session_fail(s, -EIO, "terminal", err.text);
	send_signal(s, ROLE_AGENT, SIGCONT);
}

static bool asks_to_end(int sig)
{
	return sig == SIGTERM || sig == SIGHUP || sig == SIGQUIT;
}

/* The agent gets every signal; but it is hostile, so one that asks it to end starts a clock, and a
 * second one ends it at once. */
static void pass_on(struct session *s, int sig)
{
	send_signal(s, ROLE_AGENT, sig);
	s->stop_passed_on = sig == SIGTSTP;
	if (!asks_to_end(sig))
		return;
	if (s->asked_by)
		s->signalled = sig;
	else
		s->grace_end_ms = clock_now_ms() + GRACE_MS;
	s->asked_by = sig;
}

void session_on_signal(struct session *s)
{
	struct signalfd_siginfo info;

	if (read(s->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCONT)
		on_continue(s);
	else if (s->facts & FACT_AGENT_STARTED)
		pass_on(s, (int)info.ssi_signo);
	else if (info.ssi_signo == SIGTSTP)
		kill(getpid(), SIGSTOP);
	else if (info.ssi_signo != SIGUSR1 && info.ssi_signo != SIGUSR2)
		s->signalled = (int)info.ssi_signo;
}

/* nohup(1), or a shell that starts a job in the background of a script. */
static bool is_ignored(int sig)
{
	struct sigaction action;

	return sigaction(sig, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

/* What the caller ignores stays ignored, here and by the agent, as it would without us (execve(2)). */
int session_take_signals(struct session *s, struct err *err)
{
	static const int handled[] = { SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT, SIGALRM };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(handled) / sizeof(handled[0]); i++)
		sigaddset(&set, handled[i]);
	for (size_t i = 0; i < LAUNCH_IGNORABLE_COUNT; i++) {
		s->launch.ignored[i] = is_ignored(launch_ignorable[i]);
		if (!s->launch.ignored[i])
			sigaddset(&set, launch_ignorable[i]);
	}
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(err, errno, "block signals");
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	return s->signal_fd < 0 ? err_sys(err, errno, "signalfd") : 0;
}
