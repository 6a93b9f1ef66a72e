/* SPDX-License-Identifier: Apache-2.0
 *
 * A reaper: pid 1 of the pid namespace of one program (proxy or agent). The program itself is never
 * pid 1: as pid 1 it would not die of ^C, TERM or itself, and would not reap orphans.
 *
 * Runs in: a process cloned by init, still in U1: the program lives in a user namespace below, has no
 * capability here, and so can neither trace this process nor read its /proc files. Power: all
 * capabilities over U1 until the root is built and the child forked, afterwards none (under subid the
 * proxy's keeps CAP_KILL, since its child has another uid). Never has: a token, the key.
 *
 * Order: enter the network namespace → build the root and go there → hand the launcher what it must
 * fill → fork the child → give everything up → wait. The namespace's other processes die with it.
 *
 * While it waits, the agent's watches over the mounts that guard files of the caller's: the agent is
 * ended when an edit on the host takes one away (guard_watch.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "runtime/caps.h"
#include "runtime/guard_watch.h"
#include "runtime/landlock.h"
#include "runtime/launch.h"
#include "runtime/seccomp.h"
#include "runtime/title.h"
#include "runtime/tty.h"
#include "runtime/wire.h"

struct reaper {
	const struct launch *launch;
	enum role role;
	int ctl_fd;
	struct role_context context;
	struct guard_watch watch;
	pid_t child;
	int stopped_by; /* what the launcher has still to be told of: a signal, or 0 */
};

static const struct plan_role *plan_of(const struct reaper *reaper)
{
	const struct plan *plan = reaper->launch->plan;

	return reaper->role == ROLE_PROXY ? &plan->proxy : &plan->agent;
}

static int build_root(struct reaper *reaper, const char **ret_step, struct err *err)
{
	const struct plan_role *role = plan_of(reaper);
	struct mount_result result = { .proc_fd = -1 };
	int rc = mounts_build_and_enter(&role->mounts, role->id.outer_uid, &result, err);

	if (rc < 0 && result.failed == MOUNT_PROC)
		*ret_step = "proc";
	if (rc == 0) {
		rc = wire_send(reaper->ctl_fd, WIRE_FILES, 0, result.handed_fds,
			       result.handed_count);
		if (rc < 0)
			err_sys(err, -rc, "hand the files up");
	}
	for (size_t i = 0; i < result.handed_count; i++)
		close(result.handed_fds[i]);
	reaper->context.proc_fd = result.proc_fd;
	if (rc == 0)
		rc = guard_watch_open(&reaper->watch, result.proc_fd, result.guards,
				      result.guard_count, err);
	free(result.guards);
	return rc;
}

/* The caller's own 0, 1 and 2 go: the agent's stream ends when the agent's end is closed. */
static int drop_stdio(struct err *err)
{
	cleanup_fd int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd <= 2; fd++)
		if (null_fd < 0 || dup2(null_fd, fd) < 0)
			return err_sys(err, errno, "open /dev/null inside");
	return 0;
}

/* The agent's terminal, on its own devpts. The slave comes from the master itself (TIOCGPTPEER), not
 * from a path. The session is the reaper's, so the agent's group is never orphaned and ^Z stops it. */
static int make_terminal(struct reaper *reaper, struct err *err)
{
	cleanup_fd int master_fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	int unlock = 0;
	int rc;

	if (master_fd < 0)
		return err_sys(err, errno, "open /dev/ptmx inside");
	if (ioctl(master_fd, TIOCSPTLCK, &unlock) < 0)
		return err_sys(err, errno, "unlock the pty");
	reaper->context.pty_fd = ioctl(master_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (reaper->context.pty_fd < 0)
		return err_sys(err, errno, "open the pty's slave");
	TRY(tty_modes_apply(&reaper->launch->stdio->tty, reaper->context.pty_fd, err));
	if (ioctl(reaper->context.pty_fd, TIOCSCTTY, 0) < 0)
		return err_sys(err, errno, "make the pty the session's terminal");
	rc = wire_send(reaper->ctl_fd, WIRE_PTY, 0, &master_fd, 1);
	return rc < 0 ? err_sys(err, -rc, "hand the pty up") : 0;
}

static int give_terminal(const struct reaper *reaper, struct err *err)
{
	if (ioctl(reaper->context.pty_fd, TIOCSPGRP, &reaper->child) < 0)
		return err_sys(err, errno, "make the agent the terminal's foreground");
	return 0;
}

static int fork_child(struct reaper *reaper, struct err *err)
{
	reaper->child = fork();
	if (reaper->child < 0)
		return err_fork(err, errno, "fork");
	if (reaper->child == 0) {
		setpgid(0, 0);
		if (reaper->role == ROLE_PROXY)
			role_proxy_main(reaper->launch, &reaper->context);
		role_agent_main(reaper->launch, &reaper->context);
	}
	setpgid(reaper->child, reaper->child); /* whoever comes first */
	/* In a pipeline the terminal may be the next program's: the agent asks by reading it (SIGTTIN). */
	if (reaper->context.pty_fd >= 0 && !reaper->launch->stdio->input_withheld)
		return give_terminal(reaper, err);
	return 0;
}

static int give_up_power(const struct reaper *reaper, struct err *err)
{
	static const int kill_only[] = { CAP_KILL };
	int abi;

	if (plan_of(reaper)->id.outer_uid != 0) {
		TRY(caps_keep(kill_only, 1, err));
		TRY(caps_prove_kept(kill_only, 1, err));
	} else {
		TRY(caps_drop_all(err));
		TRY(caps_prove_none(err));
	}
	TRY(landlock_gate(&abi, err));
	TRY(seccomp_load(SECCOMP_REAPER, err));
	return seccomp_prove(SECCOMP_REAPER, err);
}

static int close_others(const struct reaper *reaper)
{
	const int own[] = { reaper->ctl_fd, reaper->context.pty_fd, reaper->watch.mounts_fd,
			    reaper->watch.moves_fd };
	int keep[sizeof(own) / sizeof(own[0])];
	size_t count = 0;

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (own[i] >= 0)
			keep[count++] = own[i];
	return fd_close_except(keep, count);
}

static int set_up(struct reaper *reaper, int netns_fd, const char **ret_step, struct err *err)
{
	title_set("bottle: reaper");
	*ret_step = reaper->role == ROLE_PROXY ? "proxy-root" : "agent-root";
	if (netns_fd >= 0 && setns(netns_fd, CLONE_NEWNET) < 0)
		return err_sys(err, errno, "enter the internal network namespace");
	if (setsid() < 0)
		return err_sys(err, errno, "setsid");
	if (reaper->role == ROLE_AGENT &&
	    sethostname(reaper->launch->plan->hostname, strlen(reaper->launch->plan->hostname)) < 0)
		return err_sys(err, errno, "set the host name");
	TRY(build_root(reaper, ret_step, err));
	TRY(drop_stdio(err));
	if (reaper->role == ROLE_AGENT && reaper->launch->stdio->has_tty)
		TRY(make_terminal(reaper, err));
	*ret_step = reaper->role == ROLE_PROXY ? "proxy" : "agent";
	TRY(fork_child(reaper, err));
	if (close_others(reaper) < 0)
		return err_sys(err, errno, "close_range");
	return give_up_power(reaper, err);
}

/* Ends everything in here at once; then there is time to say why. */
noreturn static void end_unguarded(const struct reaper *reaper, int rc, const struct err *err)
{
	(void)kill(-1, SIGKILL);
	wire_send_failed(reaper->ctl_fd, WIRE_STEP_GUARD, rc, err);
	_exit(125);
}

static void check_guards(const struct reaper *reaper)
{
	struct err err;
	int rc = guard_watch_check(&reaper->watch, &err);

	if (rc < 0)
		end_unguarded(reaper, rc, &err);
}

/* The rest of the namespace ends first, and is looked after: what it did in its last moment, and what
 * the child did before it ended, counts. */
noreturn static void end_with_child(const struct reaper *reaper, int status)
{
	(void)kill(-1, SIGKILL);
	check_guards(reaper);
	(void)!wire_send(reaper->ctl_fd, WIRE_EXITED, status, NULL, 0);
	_exit(0);
}

/* One child, or none; says whether there may be more. Not all at once: orphans that fork and exit without
 * end make zombies faster than they go, and thousands of others, which wait, make each waitpid(2) slow. */
static bool reap_one(struct reaper *reaper)
{
	int status;
	pid_t pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED);

	if (pid != reaper->child)
		return pid > 0;
	if (WIFCONTINUED(status))
		reaper->stopped_by = 0;
	else if (WIFSTOPPED(status))
		reaper->stopped_by = WSTOPSIG(status);
	else
		end_with_child(reaper, status);
	return true;
}

/* Never waits for room: the launcher reads nothing while its job is stopped, and an agent that stops and
 * continues its first process without end fills the channel. Only how it is now counts. */
static void tell_stopped(struct reaper *reaper)
{
	if (reaper->stopped_by &&
	    wire_try_send(reaper->ctl_fd, WIRE_STOPPED, reaper->stopped_by) != -EAGAIN)
		reaper->stopped_by = 0;
}

static void on_message(const struct reaper *reaper)
{
	struct wire_msg msg;
	size_t fd_count = 0;

	if (wire_recv(reaper->ctl_fd, &msg, NULL, 0, &fd_count) <= 0)
		_exit(0);
	if (msg.type == WIRE_FOREGROUND && give_terminal(reaper, NULL) == 0)
		(void)kill(-reaper->child, SIGCONT);
	if (msg.type == WIRE_SIGNAL && kill(-reaper->child, msg.value) < 0)
		(void)kill(reaper->child, msg.value);
}

/* Each turn does one step of each kind, so the guards are looked at again after every one: nothing the
 * agent does can keep it at another. */
noreturn static void live(struct reaper *reaper)
{
	struct signalfd_siginfo info;
	sigset_t chld;
	int signal_fd;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	signal_fd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	for (;;) {
		struct pollfd fds[] = { { .fd = reaper->ctl_fd, .events = POLLIN },
					{ .fd = signal_fd, .events = POLLIN },
					{ .fd = reaper->watch.mounts_fd, .events = POLLPRI },
					{ .fd = reaper->watch.moves_fd, .events = POLLIN } };
		/* First: the child may have ended before the signalfd was there. */
		bool more = reap_one(reaper);

		tell_stopped(reaper);
		if (reaper->stopped_by)
			fds[0].events |= POLLOUT;
		(void)poll(fds, sizeof(fds) / sizeof(fds[0]), more ? 0 : -1);
		if (fds[2].revents || fds[3].revents)
			check_guards(reaper);
		if (fds[1].revents)
			(void)!read(signal_fd, &info, sizeof(info));
		if (fds[0].revents & ~POLLOUT)
			on_message(reaper);
	}
}

noreturn static void reaper_main(struct reaper *reaper, int netns_fd)
{
	struct err err = { 0 };
	const char *step = "start";
	int rc;

	guard_watch_init(&reaper->watch);
	rc = set_up(reaper, netns_fd, &step, &err);

	if (rc < 0) {
		wire_send_failed(reaper->ctl_fd, step, rc, &err);
		_exit(125);
	}
	live(reaper);
}

int reaper_fork(const struct launch *launch, enum role role, int netns_fd, int listen_fd,
		struct err *err)
{
	struct reaper reaper = { .launch = launch,
				 .role = role,
				 .ctl_fd = launch->ctl[role][1],
				 .context = {
					 .proc_fd = -1, .pty_fd = -1, .listen_fd = listen_fd } };
	long flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | SIGCHLD;
	long pid = syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);

	if (pid < 0)
		return err_fork(err, errno, "make the namespaces of the %s",
				role == ROLE_PROXY ? "proxy" : "agent");
	if (pid == 0)
		reaper_main(&reaper, netns_fd);
	return 0;
}
