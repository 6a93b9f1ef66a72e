/* SPDX-License-Identifier: Apache-2.0
 *
 * The terminal's process. Runs in: a child of the launcher, in its process group (so that the kernel
 * takes both for the same job), all signals blocked. Holds: the caller's terminal, the pty's master,
 * the control socket.
 *
 * States:
 *   before TTY_ATTACH       nothing is touched; ^C still signals the launcher
 *   copying, raw            in the foreground: modes are raw, both directions
 *   copying, not raw        in the background, or input is withheld: output only
 *   suspended               modes are set back, nothing is copied, the bottle's writers wait
 *   draining                a suspend or the end came: what the bottle printed goes out first
 *
 * Signals: SIGTTOU blocked lets tcsetattr(3) and write(2) work from the background; SIGTTIN blocked
 * turns a read from there into EIO (termios(3), "job control"). SIGWINCH comes by signalfd(2).
 *
 * The terminal is opened anew through /proc/self/fd, since O_NONBLOCK set on the caller's own
 * description would stay with the caller's shell. Where that is refused (after su(1) the terminal
 * belongs to someone else) the inherited descriptor is used, and a write to a stopped terminal blocks.
 *
 * The modes: they are set back if they still are what was set here. If they are not, a shell that
 * got the terminal back meanwhile (the launcher was killed) has set its own.
 */
#include "runtime/tty_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "runtime/child.h"

enum {
	INPUT_BYTES = 4096, /* what a pty's line discipline holds */
	OUTPUT_BYTES = 64 * 1024,
	/* A suspend does not wait for other processes of the bottle that print on and on. */
	SUSPEND_DRAIN_BYTES = 256 * 1024,
	CHECK_MS = 500,
	CTRL_D = 4,
};

enum drain { DRAIN_NONE, DRAIN_SUSPEND, DRAIN_FINISH };

struct queue {
	char *bytes;
	size_t size;
	size_t at, len;
};

struct session {
	int in_fd, out_fd; /* the caller's terminal; -1: cannot be read, written */
	int control_fd, launcher_fd, winch_fd;
	int master_fd; /* -1 before TTY_ATTACH and after a hangup */
	bool attached, suspended, withheld, raw;
	bool master_silent; /* EIO: no process has the slave open */
	enum drain drain;
	size_t drain_left;
	struct termios saved, set;
	struct queue input, output; /* terminal → master, master → terminal */
	char input_bytes[INPUT_BYTES], output_bytes[OUTPUT_BYTES];
};

/* What the main loop does next. */
enum { GO_ON = 0, LEAVE = 1 };

/* ---- the terminal's modes ---- */

static int any_terminal_fd(const struct session *s)
{
	return s->in_fd >= 0 ? s->in_fd : s->out_fd;
}

/* A terminal that is not our controlling one knows no job control. */
static bool is_foreground(const struct session *s)
{
	pid_t group = tcgetpgrp(any_terminal_fd(s));

	return group < 0 ? errno == ENOTTY : group == getpgrp();
}

static bool modes_equal(const struct termios *a, const struct termios *b)
{
	return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag &&
	       a->c_lflag == b->c_lflag && memcmp(a->c_cc, b->c_cc, sizeof(a->c_cc)) == 0;
}

/* As cfmakeraw(3), but leaves c_cflag alone: a serial line keeps its parity. */
static struct termios raw_of(const struct termios *modes)
{
	struct termios raw = *modes;

	raw.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL |
				   IXON | IXANY | IXOFF | IUCLC);
	raw.c_oflag &= ~(tcflag_t)OPOST;
	raw.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL | ICANON | ISIG | IEXTEN);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	return raw;
}

static void enter_raw(struct session *s)
{
	int fd = any_terminal_fd(s);

	if (s->raw || tcgetattr(fd, &s->saved) < 0)
		return;
	s->set = raw_of(&s->saved);
	if (tcsetattr(fd, TCSANOW, &s->set) < 0)
		return;
	tcgetattr(fd, &s->set); /* as the driver took it */
	s->raw = true;
}

/* TCSAFLUSH throws unread input away; see tty.h. */
static void leave_raw(struct session *s)
{
	int fd = any_terminal_fd(s);
	struct termios now;

	if (s->raw && tcgetattr(fd, &now) == 0 && modes_equal(&now, &s->set))
		tcsetattr(fd, TCSAFLUSH, &s->saved);
	s->raw = false;
	s->input.len = 0;
}

static void copy_size(const struct session *s)
{
	struct winsize size;

	if (s->master_fd >= 0 && ioctl(any_terminal_fd(s), TIOCGWINSZ, &size) == 0)
		ioctl(s->master_fd, TIOCSWINSZ, &size);
}

static bool wants_input(const struct session *s)
{
	return s->attached && !s->suspended && !s->withheld && s->in_fd >= 0 && s->master_fd >= 0 &&
	       s->drain == DRAIN_NONE;
}

static void take_foreground(struct session *s)
{
	if (wants_input(s) && !s->raw && is_foreground(s)) {
		enter_raw(s);
		copy_size(s); /* SIGWINCH goes to the foreground group only: one may be missed */
	}
}

/* ---- moving bytes ---- */

static void queue_took(struct queue *queue, size_t n)
{
	queue->at += n;
	queue->len -= n;
	if (queue->len == 0)
		queue->at = 0;
}

/* Reads into an empty queue. Returns read(2)'s value. */
static ssize_t fill(struct queue *queue, int fd)
{
	ssize_t n = read(fd, queue->bytes, queue->size);

	queue->at = 0;
	queue->len = n > 0 ? (size_t)n : 0;
	return n;
}

static bool is_transient(int error)
{
	return error == EAGAIN || error == EINTR;
}

static void write_output(struct session *s)
{
	ssize_t n = write(s->out_fd, s->output.bytes + s->output.at, s->output.len);

	if (n >= 0)
		queue_took(&s->output, (size_t)n);
	else if (!is_transient(errno)) { /* hung up: nobody will ever see it */
		fd_close(&s->out_fd);
		s->output.len = 0;
	}
}

static void write_input(struct session *s)
{
	ssize_t n = write(s->master_fd, s->input.bytes + s->input.at, s->input.len);

	if (n >= 0)
		queue_took(&s->input, (size_t)n);
	else if (!is_transient(errno))
		s->input.len = 0;
}

/* A terminal that hung up hangs the bottle's up: closing the master sends its session SIGHUP. */
static void terminal_is_gone(struct session *s)
{
	fd_close(&s->in_fd);
	fd_close(&s->out_fd);
	fd_close(&s->master_fd);
	s->input.len = s->output.len = 0;
	s->raw = false;
}

static void read_terminal(struct session *s, short revents)
{
	ssize_t n = fill(&s->input, s->in_fd);

	if (n > 0 || (n < 0 && is_transient(errno)))
		return;
	if (revents & (POLLHUP | POLLERR)) {
		terminal_is_gone(s);
	} else if (n == 0) { /* somebody set canonical mode, and ^D was typed */
		s->input.bytes[0] = CTRL_D;
		s->input.len = 1;
	} else { /* EIO: the job went to the background, and the shell owns the modes */
		s->raw = false;
	}
}

/* Without a terminal to write to it is read all the same, so that the bottle does not block. */
static void read_master(struct session *s)
{
	ssize_t n = fill(&s->output, s->master_fd);

	if (n > 0) {
		s->drain_left -= (size_t)n < s->drain_left ? (size_t)n : s->drain_left;
		if (s->out_fd < 0)
			s->output.len = 0;
	} else if (n < 0 && errno == EAGAIN) {
		s->drain_left = 0; /* read(2) flushed the driver's queue first: it is empty */
	} else if (n == 0 || errno != EINTR) {
		s->drain_left = 0;
		s->master_silent = true;
	}
}

/* ---- commands ---- */

static int attach(struct session *s, int fd, struct err *err)
{
	if (s->attached || fd < 0) {
		fd_close(&fd);
		return err_set(err, EPROTO, "unexpected attach");
	}
	s->master_fd = fd;
	/* The description came with the message and is used here only. */
	if (fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
		return err_sys(err, errno, "pty");
	s->attached = true;
	copy_size(s);
	take_foreground(s);
	return 0;
}

static void drain_begin(struct session *s, enum drain drain, size_t limit)
{
	s->drain = drain;
	s->drain_left = s->master_fd < 0 || s->master_silent || s->suspended ? 0 : limit;
	if (drain == DRAIN_FINISH && s->master_fd >= 0) {
		s->suspended = false;
		s->drain_left = limit;
	}
}

static int obey(struct session *s)
{
	struct err err = { "" };
	size_t fd_count = 0;
	int fd = -1, rc = 0;
	char byte = 0;
	ssize_t n = fd_recv(s->control_fd, &byte, 1, &fd, 1, &fd_count);

	if (n <= 0 || (fd_count && byte != TTY_ATTACH)) {
		fd_close(&fd);
		return LEAVE;
	}
	switch (byte) {
	case TTY_ATTACH:
		rc = attach(s, fd, &err);
		break;
	case TTY_RESUME:
		s->suspended = s->withheld = false;
		s->drain = DRAIN_NONE;
		copy_size(s);
		take_foreground(s);
		break;
	case TTY_SUSPEND:
		drain_begin(s, DRAIN_SUSPEND, SUSPEND_DRAIN_BYTES);
		return GO_ON; /* answered when drained */
	case TTY_FINISH:
		drain_begin(s, DRAIN_FINISH, SIZE_MAX);
		return GO_ON;
	default:
		rc = err_set(&err, EPROTO, "unknown command");
	}
	child_send_ready(s->control_fd, rc, &err);
	return GO_ON;
}

static int end_of_drain(struct session *s)
{
	if (s->drain == DRAIN_NONE || s->drain_left || s->output.len)
		return GO_ON;
	leave_raw(s);
	if (s->drain == DRAIN_FINISH)
		return LEAVE;
	s->drain = DRAIN_NONE;
	s->suspended = true;
	child_send_ready(s->control_fd, 0, NULL);
	return GO_ON;
}

/* ---- the loop ---- */

enum { P_CONTROL, P_LAUNCHER, P_WINCH, P_IN, P_OUT, P_MASTER, P_COUNT };

static short master_events(const struct session *s)
{
	bool reads = s->output.len == 0 && !s->master_silent;

	if (s->suspended || (s->drain != DRAIN_NONE && s->drain_left == 0))
		return 0;
	return (short)((reads ? POLLIN : 0) | (s->input.len ? POLLOUT : 0));
}

/* Two things come without an event: that the job came to the foreground, and that a process opens
 * the slave again after the last one had closed it. */
static int check_interval(const struct session *s)
{
	bool foreground = wants_input(s) && !s->raw;
	bool reopened = s->master_silent && !s->suspended;

	return foreground || reopened ? CHECK_MS : -1;
}

static int wait_for_work(struct session *s, struct pollfd pfds[static P_COUNT])
{
	bool reads = wants_input(s) && s->raw && s->input.len == 0;
	short events = master_events(s);
	int n;

	/* A descriptor with nothing to ask stays out: its POLLHUP would make this a busy loop. */
	pfds[P_CONTROL] = (struct pollfd){ .fd = s->control_fd, .events = POLLIN };
	pfds[P_LAUNCHER] = (struct pollfd){ .fd = s->launcher_fd, .events = POLLIN };
	pfds[P_WINCH] = (struct pollfd){ .fd = s->winch_fd, .events = POLLIN };
	pfds[P_IN] = (struct pollfd){ .fd = reads ? s->in_fd : -1, .events = POLLIN };
	pfds[P_OUT] = (struct pollfd){ .fd = s->output.len ? s->out_fd : -1, .events = POLLOUT };
	pfds[P_MASTER] = (struct pollfd){ .fd = events ? s->master_fd : -1, .events = events };
	do {
		n = poll(pfds, P_COUNT, check_interval(s));
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		s->master_silent = false;
	return n < 0 ? -errno : 0;
}

static void move_bytes(struct session *s, const struct pollfd pfds[static P_COUNT])
{
	if (pfds[P_OUT].revents)
		write_output(s);
	if (pfds[P_IN].revents)
		read_terminal(s, pfds[P_IN].revents);
	if (s->master_fd >= 0 && s->input.len && pfds[P_MASTER].revents & POLLOUT)
		write_input(s);
	if (s->master_fd >= 0 && s->output.len == 0 && pfds[P_MASTER].revents & ~POLLOUT)
		read_master(s);
}

static void drop_winch(const struct session *s)
{
	struct signalfd_siginfo info;

	while (read(s->winch_fd, &info, sizeof(info)) > 0)
		;
}

static int serve(struct session *s)
{
	for (;;) {
		struct pollfd pfds[P_COUNT];

		/* While draining the master is asked at once: poll(2) has no event for "empty". */
		if (s->drain_left && s->output.len == 0 && s->master_fd >= 0)
			read_master(s);
		if (end_of_drain(s) == LEAVE)
			return 0;
		TRY(wait_for_work(s, pfds));
		if (pfds[P_LAUNCHER].revents)
			return 0;
		if (pfds[P_CONTROL].revents && obey(s) == LEAVE)
			return 0;
		if (pfds[P_WINCH].revents) {
			drop_winch(s);
			copy_size(s);
		}
		move_bytes(s, pfds);
		take_foreground(s);
	}
}

/* ---- the start ---- */

static int open_anew(int stream)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", stream);
	return open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
}

static int open_terminal(struct session *s, const struct stdio_plan *plan, struct err *err)
{
	int stream = plan->tty_in >= 0 ? plan->tty_in : plan->tty_out;

	s->in_fd = open_anew(stream);
	if (s->in_fd >= 0) {
		s->out_fd = fcntl(s->in_fd, F_DUPFD_CLOEXEC, 3);
		return s->out_fd < 0 ? err_sys(err, errno, "fcntl") : 0;
	}
	s->in_fd = plan->tty_in < 0 ? -1 : fcntl(plan->tty_in, F_DUPFD_CLOEXEC, 3);
	s->out_fd = plan->tty_out < 0 ? -1 : fcntl(plan->tty_out, F_DUPFD_CLOEXEC, 3);
	return any_terminal_fd(s) < 0 ? err_sys(err, errno, "fcntl") : 0;
}

static int watch_launcher(struct session *s, pid_t launcher, struct err *err)
{
	sigset_t winch;

	s->launcher_fd = (int)syscall(SYS_pidfd_open, launcher, 0U);
	if (s->launcher_fd < 0)
		return err_sys(err, errno, "pidfd_open");
	sigemptyset(&winch);
	sigaddset(&winch, SIGWINCH);
	s->winch_fd = signalfd(-1, &winch, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->winch_fd < 0 ? err_sys(err, errno, "signalfd") : 0;
}

static int enter(struct session *s, const struct tty_child *child, struct err *err)
{
	int keep[5];
	size_t count = 0;

	TRY(open_terminal(s, child->plan, err));
	TRY(watch_launcher(s, child->launcher, err));
	keep[count++] = s->control_fd;
	keep[count++] = s->launcher_fd;
	keep[count++] = s->winch_fd;
	if (s->in_fd >= 0)
		keep[count++] = s->in_fd;
	if (s->out_fd >= 0)
		keep[count++] = s->out_fd;
	return child_enter(
		&(struct child_setup){
			.name = "bottle-tty",
			.launcher = child->launcher,
			.death_signal = 0, /* it has the modes to set back first */
			.keep = keep,
			.keep_count = count,
			.confine = child->confine,
		},
		err);
}

int tty_process_main(void *ctx)
{
	const struct tty_child *child = ctx;
	struct session s = {
		.control_fd = child->control_fd,
		.in_fd = -1,
		.out_fd = -1,
		.launcher_fd = -1,
		.winch_fd = -1,
		.master_fd = -1,
		.withheld = child->plan->input_withheld,
	};
	struct err err = { "" };
	int rc;

	s.input = (struct queue){ .bytes = s.input_bytes, .size = sizeof(s.input_bytes) };
	s.output = (struct queue){ .bytes = s.output_bytes, .size = sizeof(s.output_bytes) };
	rc = enter(&s, child, &err);
	child_send_ready(child->control_fd, rc, &err);
	if (rc < 0)
		return 1;
	rc = serve(&s);
	leave_raw(&s);
	return rc < 0 ? 1 : 0;
}
