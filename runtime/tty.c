/* SPDX-License-Identifier: Apache-2.0
 *
 * The launcher's side of the terminal; see tty.h. Runs in: the launcher. The process behind it is
 * tty_process.c.
 */
#include "runtime/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/ttydefaults.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "runtime/child.h"
#include "runtime/tty_process.h"

enum { REPLY_WAIT_MS = 2000, CLEAR_WAIT_MS = 1000 };

void tty_init(struct tty *tty)
{
	*tty = (struct tty){ .pidfd = -1, .control_fd = -1 };
}

int tty_start(const struct stdio_plan *plan, int (*confine)(struct err *err), struct tty *ret_tty,
	      struct err *err)
{
	cleanup_fd int ours = -1;
	cleanup_fd int theirs = -1;
	struct tty_child child = { .plan = plan, .launcher = getpid(), .confine = confine };
	struct tty tty;
	int pair[2];

	tty_init(&tty);
	if (plan->has_tty) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
			return err_sys(err, errno, "terminal: socketpair");
		ours = pair[0];
		child.control_fd = theirs = pair[1];
		TRY(child_fork(tty_process_main, &child, &tty.pidfd, err));
		tty.control_fd = take_fd(&ours);
	}
	*ret_tty = tty;
	return 0;
}

int tty_ready(struct tty *tty, struct err *err)
{
	return tty->pidfd < 0 ? 0 : child_wait_ready(tty->control_fd, "terminal", err);
}

/* A terminal that takes no output (^S) must not hold the launcher up for ever. */
static int wait_reply(struct tty *tty, struct err *err)
{
	struct pollfd pfd = { .fd = tty->control_fd, .events = POLLIN };
	int n;

	do {
		n = poll(&pfd, 1, REPLY_WAIT_MS);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, errno, "terminal: poll");
	if (n == 0)
		return err_set(err, ETIMEDOUT, "the terminal takes no output");
	return child_wait_ready(tty->control_fd, "terminal", err);
}

/* Replies are numbered by their order, so a late one of an earlier command is passed over first. */
static void drop_late_replies(struct tty *tty)
{
	char byte;

	while (recv(tty->control_fd, &byte, 1, MSG_DONTWAIT) > 0)
		;
}

static int command(struct tty *tty, enum tty_command which, const int *fds, size_t fd_count,
		   struct err *err)
{
	char byte = (char)which;
	int rc;

	if (tty->pidfd < 0)
		return 0;
	drop_late_replies(tty);
	rc = fd_send(tty->control_fd, &byte, 1, fds, fd_count);
	if (rc < 0)
		return err_sys(err, -rc, "terminal");
	return wait_reply(tty, err);
}

int tty_attach(struct tty *tty, int master_fd, struct err *err)
{
	return command(tty, TTY_ATTACH, &master_fd, 1, err);
}

int tty_suspend(struct tty *tty, struct err *err)
{
	int rc = command(tty, TTY_SUSPEND, NULL, 0, err);

	/* It goes on trying, and the modes are set back as soon as the output is out. */
	return rc == -ETIMEDOUT ? 0 : rc;
}

int tty_resume(struct tty *tty, struct err *err)
{
	return command(tty, TTY_RESUME, NULL, 0, err);
}

/* 1: it ended; 0: timeout; -EINTR: a signal came first. */
static int wait_end(struct tty *tty, int signal_fd, int timeout_ms)
{
	struct pollfd pfds[] = {
		{ .fd = tty->pidfd, .events = POLLIN },
		{ .fd = signal_fd, .events = POLLIN },
	};
	int n = poll(pfds, 2, timeout_ms);

	if (n < 0)
		return -errno;
	if (pfds[0].revents)
		return 1;
	return pfds[1].revents ? -EINTR : 0;
}

int tty_finish(struct tty *tty, int signal_fd, int64_t deadline_ms, struct err *err)
{
	char byte = (char)TTY_FINISH;
	int rc;

	if (tty->pidfd < 0)
		return 0;
	/* Sent again by a repeated call, which does no harm; one that is gone is reaped below. */
	(void)!fd_send(tty->control_fd, &byte, 1, NULL, 0);
	rc = wait_end(tty, signal_fd, clock_left_ms(deadline_ms));
	if (rc < 0)
		return rc == -EINTR ? rc : err_sys(err, -rc, "terminal: poll");
	if (rc == 0) {
		tty_clear(tty);
		return err_set(
			err, ETIMEDOUT,
			"terminal: it had not taken all when the run was to end; the rest is "
			"lost");
	}
	rc = child_reap(tty->pidfd);
	fd_close(&tty->pidfd);
	fd_close(&tty->control_fd);
	return rc == 0 ? 0 : err_set(err, EIO, "terminal: its process ended with status %d", rc);
}

void tty_clear(struct tty *tty)
{
	int rc = 0;

	fd_close(&tty->control_fd); /* which tells it to set the modes back and go */
	if (tty->pidfd >= 0)
		do {
			rc = wait_end(tty, -1, CLEAR_WAIT_MS);
		} while (rc == -EINTR);
	child_kill(&tty->pidfd);
	tty_init(tty);
}

/* As stty(1) has `sane`. Characters that were chosen stay; a line editor turns some of them off. */
static void make_sane(struct termios *modes)
{
	static const struct {
		int index;
		cc_t value;
	} characters[] = {
		{ VINTR, CINTR },	{ VQUIT, CQUIT },     { VERASE, CERASE },
		{ VKILL, CKILL },	{ VEOF, CEOF },	      { VSTART, CSTART },
		{ VSTOP, CSTOP },	{ VSUSP, CSUSP },     { VREPRINT, CRPRNT },
		{ VDISCARD, CDISCARD }, { VWERASE, CWERASE }, { VLNEXT, CLNEXT },
	};

	modes->c_iflag = (modes->c_iflag & IUTF8) | BRKINT | ICRNL | IXON | IMAXBEL;
	modes->c_oflag = OPOST | ONLCR;
	modes->c_lflag = ISIG | ICANON | IEXTEN | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE;
	modes->c_cc[VMIN] = 1;
	modes->c_cc[VTIME] = 0;
	for (size_t i = 0; i < sizeof(characters) / sizeof(characters[0]); i++)
		if (modes->c_cc[characters[i].index] == _POSIX_VDISABLE)
			modes->c_cc[characters[i].index] = characters[i].value;
}

int tty_modes_take(int terminal_fd, struct tty_modes *ret_modes)
{
	const tcflag_t wanted = ICANON | ECHO;
	struct tty_modes taken = { 0 };
	pid_t group = tcgetpgrp(terminal_fd); /* -1: not our controlling one, no job control */

	if (tcgetattr(terminal_fd, &taken.modes) < 0)
		return -1;
	if (group >= 0 && group != getpgrp() && (taken.modes.c_lflag & wanted) != wanted)
		make_sane(&taken.modes);
	ioctl(terminal_fd, TIOCGWINSZ, &taken.size);
	*ret_modes = taken;
	return 0;
}

int tty_modes_apply(const struct tty_modes *modes, int slave_fd, struct err *err)
{
	if (tcsetattr(slave_fd, TCSANOW, &modes->modes) < 0)
		return err_sys(err, errno, "modes of the bottle's terminal");
	if (ioctl(slave_fd, TIOCSWINSZ, &modes->size) < 0)
		return err_sys(err, errno, "window size of the bottle's terminal");
	return 0;
}
