/* SPDX-License-Identifier: Apache-2.0
 * The terminal, with a pty in the part of the caller's: the test is the person at its master. The
 * launcher in small is a session leader on its slave; it makes the bottle's pty, whose slave an
 * "agent" in a session of its own gets, and obeys one-letter commands over a socket. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "runtime/caps.h"
#include "runtime/seccomp.h"
#include "runtime/tty.h"

enum { REPORT_FD = 200, PATIENCE_MS = 5000, QUIET_MS = 100, BIG_LINES = 60000 };

#define CHECK(expr)                                                                          \
	do {                                                                                 \
		if (!(expr)) {                                                               \
			dprintf(REPORT_FD, "%s:%d: %s (errno %d: %s)\n", __FILE__, __LINE__, \
				#expr, errno, err.text);                                     \
			_exit(1);                                                            \
		}                                                                            \
	} while (0)

/* As the launcher confines them; a sanitizer's runtime needs more than the filter allows. */
static int confine(struct err *err)
{
#ifdef __SANITIZE_ADDRESS__
	(void)err;
	return 0;
#else
	TRY(caps_drop_all(err));
	TRY(seccomp_load(SECCOMP_RELAY, err));
	return seccomp_prove(SECCOMP_RELAY, err);
#endif
}

/* ---- the agent, on the bottle's pty ---- */

static void agent_cat(void)
{
	char bytes[512];
	ssize_t n;

	(void)!write(1, "ready\n", 6);
	while ((n = read(0, bytes, sizeof(bytes))) > 0)
		(void)!write(1, bytes, (size_t)n);
}

static void agent_sleep(void)
{
	(void)!write(1, "ready\n", 6);
	for (;;)
		pause();
}

static void agent_prints_much(void)
{
	for (int i = 0; i < BIG_LINES; i++)
		dprintf(1, "%07d\n", i);
}

static volatile sig_atomic_t resized;

static void on_winch(int sig)
{
	resized = sig;
}

static void agent_tells_size(void)
{
	struct winsize size;

	signal(SIGWINCH, on_winch);
	for (;;) {
		resized = 0; /* before the look: a later one counts again */
		ioctl(1, TIOCGWINSZ, &size);
		dprintf(1, "size %d %d\n", size.ws_row, size.ws_col);
		while (!resized)
			usleep(1000);
	}
}

static void agent_prints_slowly(void)
{
	for (int i = 0;; i++) {
		dprintf(1, "tick%d\n", i);
		usleep(20000);
	}
}

/* ---- the launcher ---- */

struct scene {
	void (*agent)(void);
	bool background;   /* the launcher's group is not the terminal's foreground group */
	bool stdin_only;   /* 1 and 2 are /dev/null */
	bool stdout_piped; /* `| less` */
	bool not_ours;	   /* as after su(1): cannot be opened anew */
};

static pid_t start_agent(const struct scene *scene, const char *slave_path,
			 const struct stdio_plan *plan)
{
	struct err err = { "" };
	pid_t pid = fork();
	int fd, keep[] = { REPORT_FD };

	if (pid != 0)
		return pid;
	signal(SIGHUP, SIG_DFL);
	setsid();
	fd = open(slave_path, O_RDWR);
	CHECK(fd > 2 && tty_modes_apply(&plan->tty, fd, &err) == 0);
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	CHECK(fd_close_except(keep, 1) == 0);
	scene->agent();
	_exit(7);
}

/* The slave that the launcher keeps stands for the one of the reaper, until the agent is gone. */
struct bottle {
	struct tty tty;
	int master_fd, slave_fd;
	pid_t agent;
};

static void obey(struct bottle *b, char command, int control_fd)
{
	struct err err = { "" };
	int status = 0;

	switch (command) {
	case 's':
		CHECK(tty_suspend(&b->tty, &err) == 0);
		break;
	case 'r':
		CHECK(tty_resume(&b->tty, &err) == 0);
		break;
	case 'w': /* the agent's end, then ours */
	case 'd': /* ... before a deadline that is too short */
		CHECK(waitpid(b->agent, &status, 0) == b->agent);
		fd_close(&b->slave_fd);
		CHECK(tty_finish(&b->tty, -1, command == 'd' ? clock_now_ms() + QUIET_MS : -1,
				 &err) == (command == 'd' ? -ETIMEDOUT : 0));
		break;
	case 'f': /* the launcher's group to the foreground, as a shell would */
		signal(SIGTTOU, SIG_IGN);
		CHECK(tcsetpgrp(0, getpgrp()) == 0);
		break;
	}
	(void)!write(control_fd, (char[]){ command, (char)WTERMSIG(status) }, 2);
}

static void wire(const struct scene *scene, int slave_fd)
{
	int null_fd = open("/dev/null", O_RDWR), fds[2];

	dup2(slave_fd, 0);
	dup2(scene->stdin_only ? null_fd : slave_fd, 1);
	dup2(scene->stdin_only ? null_fd : slave_fd, 2);
	if (scene->stdout_piped && pipe(fds) == 0)
		dup2(fds[1], 1);
	close(null_fd);
}

static void be_job(const struct scene *scene, int control_fd)
{
	struct bottle b = { .master_fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC) };
	struct stdio_plan plan;
	struct err err = { "" };
	char command;

	CHECK(grantpt(b.master_fd) == 0 && unlockpt(b.master_fd) == 0);
	b.slave_fd = open(ptsname(b.master_fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
	CHECK(stdio_inspect(&plan, &err) == 0 && plan.has_tty);
	CHECK(tty_start(&plan, confine, &b.tty, &err) == 0);
	CHECK(tty_ready(&b.tty, &err) == 0);
	b.agent = start_agent(scene, ptsname(b.master_fd), &plan);
	CHECK(tty_attach(&b.tty, b.master_fd, &err) == 0);
	fd_close(&b.master_fd);
	(void)!write(control_fd, &(pid_t){ getpid() }, sizeof(pid_t));
	while (read(control_fd, &command, 1) == 1)
		obey(&b, command, control_fd);
	tty_clear(&b.tty);
	kill(b.agent, SIGKILL);
	_exit(0);
}

/* Session leader; a job of its own below it, as in a shell. */
static void be_session(const struct scene *scene, const char *slave_path, int control_fd)
{
	struct err err = { "" };
	int slave_fd, status;
	pid_t job;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(2, REPORT_FD);
	alarm(30);
	CHECK(setsid() > 0);
	slave_fd = open(slave_path, O_RDWR);
	CHECK(slave_fd >= 0 && ioctl(slave_fd, TIOCSCTTY, 0) == 0);
	if (scene->not_ours)
		CHECK(fchmod(slave_fd, 0) == 0);
	wire(scene, slave_fd);
	signal(SIGTTOU, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	job = fork();
	if (job == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		if (!scene->background)
			tcsetpgrp(slave_fd, getpgrp());
		signal(SIGTTOU, SIG_DFL);
		close(slave_fd);
		be_job(scene, control_fd);
	}
	waitpid(job, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* ---- the person at the terminal ---- */

struct screen {
	int master_fd, slave_fd; /* of the caller's terminal */
	int control_fd;
	pid_t session, job;
	struct termios before;
	char shown[1 << 20];
	size_t len;
};

static struct screen screen; /* large; one test is one process */

static void look(int timeout_ms)
{
	struct pollfd pfd = { .fd = screen.master_fd, .events = POLLIN };
	ssize_t n;

	if (poll(&pfd, 1, timeout_ms) != 1)
		return;
	n = read(screen.master_fd, screen.shown + screen.len,
		 sizeof(screen.shown) - 1 - screen.len);
	if (n > 0)
		screen.len += (size_t)n;
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits until the text is shown, and forgets all up to its end. */
static bool expect(const char *text)
{
	long until = now_ms() + PATIENCE_MS;

	while (now_ms() < until) {
		char *at = memmem(screen.shown, screen.len, text, strlen(text));

		if (at) {
			size_t used = (size_t)(at - screen.shown) + strlen(text);

			memmove(screen.shown, screen.shown + used, screen.len - used);
			screen.len -= used;
			return true;
		}
		look(50);
	}
	cr_log_error("not shown: %s; but: %.*s", text, (int)(screen.len > 200 ? 200 : screen.len),
		     screen.shown);
	return false;
}

static bool stays_quiet(void)
{
	long until = now_ms() + QUIET_MS;

	while (now_ms() < until)
		look(10);
	return screen.len == 0;
}

static void type(const char *text)
{
	cr_assert_eq(write(screen.master_fd, text, strlen(text)), (ssize_t)strlen(text));
}

static bool is_raw(void)
{
	struct termios modes;

	cr_assert_eq(tcgetattr(screen.slave_fd, &modes), 0);
	return !(modes.c_lflag & (ICANON | ECHO | ISIG)) && !(modes.c_oflag & OPOST);
}

static bool modes_are_back(void)
{
	struct termios now;

	cr_assert_eq(tcgetattr(screen.slave_fd, &now), 0);
	return now.c_lflag == screen.before.c_lflag && now.c_iflag == screen.before.c_iflag &&
	       now.c_oflag == screen.before.c_oflag && now.c_cflag == screen.before.c_cflag &&
	       memcmp(now.c_cc, screen.before.c_cc, sizeof(now.c_cc)) == 0;
}

static bool soon(bool (*holds)(void))
{
	long until = now_ms() + PATIENCE_MS;

	while (!holds() && now_ms() < until)
		usleep(2000);
	return holds();
}

/* Sends a command and returns the second byte of the answer. */
static int tell(char command)
{
	char reply[2] = { 0 };

	cr_assert_eq(write(screen.control_fd, &command, 1), 1);
	for (;;) { /* what is shown meanwhile must be read, or the drain cannot end */
		struct pollfd pfd = { .fd = screen.control_fd, .events = POLLIN };

		if (poll(&pfd, 1, 5) == 1)
			break;
		look(0);
	}
	cr_assert_eq(read(screen.control_fd, reply, 2), 2, "the launcher died");
	cr_assert_eq(reply[0], command);
	return reply[1];
}

static void start(const struct scene *scene)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	screen.master_fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	cr_assert(grantpt(screen.master_fd) == 0 && unlockpt(screen.master_fd) == 0);
	screen.slave_fd = open(ptsname(screen.master_fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
	cr_assert_geq(screen.slave_fd, 0);
	ioctl(screen.slave_fd, TIOCSWINSZ, &(struct winsize){ .ws_row = 24, .ws_col = 80 });
	tcgetattr(screen.slave_fd, &screen.before);
	screen.before.c_cc[VKILL] = 1; /* something that is no default */
	tcsetattr(screen.slave_fd, TCSANOW, &screen.before);
	fflush(NULL);
	screen.session = fork();
	if (screen.session == 0) {
		close(pair[0]);
		close(screen.master_fd);
		be_session(scene, ttyname(screen.slave_fd), pair[1]);
	}
	close(pair[1]);
	screen.control_fd = pair[0];
	cr_assert_eq(read(screen.control_fd, &screen.job, sizeof(screen.job)), sizeof(screen.job),
		     "the launcher died");
}

static int end(void)
{
	int status;

	close(screen.control_fd);
	waitpid(screen.session, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Test(tty, both_directions_and_the_modes_come_back)
{
	start(&(struct scene){ .agent = agent_cat });
	cr_assert(expect("ready\r\n"));
	cr_assert(is_raw());
	type("hello\r");
	cr_assert(expect("hello\r\nhello\r\n")); /* echo of the bottle's pty, then cat */
	type("\x04");
	cr_assert_eq(tell('w'), 0);
	cr_assert(modes_are_back());
	cr_assert_eq(end(), 0);
}

Test(tty, the_bottles_pty_has_the_callers_modes)
{
	start(&(struct scene){ .agent = agent_cat });
	cr_assert(expect("ready\r\n"));
	type("wrong\x01right\r"); /* VKILL is ^A in this terminal */
	cr_assert(expect("right\r\n"));
	cr_assert(expect("right\r\n"));
	cr_assert_eq(end(), 0);
	cr_assert(modes_are_back());
}

Test(tty, interrupt_goes_to_the_agent_alone)
{
	start(&(struct scene){ .agent = agent_sleep });
	cr_assert(expect("ready\r\n"));
	type("\x03");
	cr_assert_eq(tell('w'), SIGINT);
	cr_assert(modes_are_back());
	cr_assert_eq(end(), 0, "the launcher was interrupted too");
}

Test(tty, window_size_follows)
{
	start(&(struct scene){ .agent = agent_tells_size });
	cr_assert(expect("size 24 80\r\n"));
	ioctl(screen.master_fd, TIOCSWINSZ, &(struct winsize){ .ws_row = 50, .ws_col = 132 });
	cr_assert(expect("size 50 132\r\n"));
	cr_assert_eq(end(), 0);
}

Test(tty, suspend_gives_the_terminal_back_and_resume_takes_it)
{
	start(&(struct scene){ .agent = agent_cat });
	cr_assert(expect("ready\r\n"));
	tell('s');
	cr_assert(modes_are_back());
	type("for the shell\r");
	cr_assert(expect("for the shell\r\n")); /* the caller's own echo */
	cr_assert(stays_quiet());		/* and nobody's answer */
	tcflush(screen.slave_fd, TCIFLUSH);
	tell('r');
	cr_assert(is_raw());
	type("again\r");
	cr_assert(expect("again\r\nagain\r\n"));
	cr_assert_eq(end(), 0);
	cr_assert(modes_are_back());
}

Test(tty, suspend_ends_though_the_bottle_prints_on)
{
	start(&(struct scene){ .agent = agent_prints_slowly });
	cr_assert(expect("tick2"));
	tell('s');
	look(QUIET_MS);
	screen.len = 0;
	cr_assert(stays_quiet());
	tell('r');
	cr_assert(expect("tick"));
	cr_assert_eq(end(), 0);
}

Test(tty, all_output_is_shown_before_the_end)
{
	char *at;

	start(&(struct scene){ .agent = agent_prints_much });
	cr_assert_eq(tell('w'), 0);
	for (int i = 0; i < 20; i++)
		look(1);
	at = screen.shown;
	for (int i = 0; i < BIG_LINES; i++, at += 9) {
		char line[10];

		snprintf(line, sizeof(line), "%07d\r\n", i);
		cr_assert_arr_eq(at, line, 9, "line %d", i);
	}
	cr_assert_eq(end(), 0);
}

Test(tty, a_terminal_that_takes_nothing_is_left_at_the_deadline)
{
	start(&(struct scene){ .agent = agent_cat });
	cr_assert(expect("ready\r\n"));
	cr_assert_eq(tcflow(screen.slave_fd, TCOOFF), 0); /* ^S */
	type("unseen\r\004");
	cr_assert_eq(tell('d'), 0);
	cr_assert_eq(tcflow(screen.slave_fd, TCOON), 0);
	cr_assert(modes_are_back());
	cr_assert_eq(end(), 0);
}

Test(tty, a_killed_launcher_leaves_a_sane_terminal)
{
	start(&(struct scene){ .agent = agent_sleep });
	cr_assert(expect("ready\r\n"));
	cr_assert(is_raw());
	cr_assert_eq(kill(screen.job, SIGKILL), 0);
	cr_assert(soon(modes_are_back));
	cr_assert_eq(end(), 128 + SIGKILL);
}

Test(tty, modes_that_a_shell_has_set_meanwhile_stay)
{
	struct termios shells;

	start(&(struct scene){ .agent = agent_sleep });
	cr_assert(expect("ready\r\n"));
	shells = screen.before;
	shells.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(screen.slave_fd, TCSANOW, &shells);
	kill(screen.job, SIGKILL);
	end();
	usleep(100000);
	screen.before = shells;
	cr_assert(modes_are_back());
}

Test(tty, the_background_gets_output_only_until_it_comes_forward)
{
	start(&(struct scene){ .agent = agent_cat, .background = true });
	cr_assert(expect("ready\r\r\n")); /* the terminal's own OPOST is on */
	cr_assert(modes_are_back());
	type("for the shell\r");
	cr_assert(expect("for the shell\r\n"));
	cr_assert(stays_quiet());
	tcflush(screen.slave_fd, TCIFLUSH);
	tell('f');
	cr_assert(soon(is_raw));
	type("now\r");
	cr_assert(expect("now\r\nnow\r\n"));
	cr_assert_eq(end(), 0);
	cr_assert(modes_are_back());
}

Test(tty, before_a_pager_input_is_left_alone_until_wanted)
{
	start(&(struct scene){ .agent = agent_cat, .stdout_piped = true });
	cr_assert(expect("ready"));
	usleep(QUIET_MS * 1000);
	cr_assert(modes_are_back());
	tell('r'); /* the agent was stopped by SIGTTIN */
	cr_assert(is_raw());
	type("x\r");
	cr_assert(expect("x\r\nx\r\n"));
	cr_assert_eq(end(), 0);
	cr_assert(modes_are_back());
}

Test(tty, a_terminal_on_stdin_alone_shows_the_echo)
{
	start(&(struct scene){ .agent = agent_cat, .stdin_only = true });
	cr_assert(expect("ready\r\n"));
	type("hello\r");
	cr_assert(expect("hello\r\nhello\r\n"));
	cr_assert_eq(end(), 0);
	cr_assert(modes_are_back());
}

Test(tty, a_terminal_that_cannot_be_opened_anew_works_as_it_is)
{
	if (geteuid() == 0)
		cr_skip("root opens every terminal anew");
	start(&(struct scene){ .agent = agent_cat, .not_ours = true });
	cr_assert(expect("ready\r\n"));
	cr_assert(is_raw());
	type("hello\r");
	cr_assert(expect("hello\r\nhello\r\n"));
	cr_assert_eq(fcntl(screen.slave_fd, F_GETFL) & O_NONBLOCK, 0);
	cr_assert_eq(end(), 0);
	cr_assert(modes_are_back());
}

Test(tty, a_hangup_reaches_the_agent)
{
	start(&(struct scene){ .agent = agent_sleep });
	cr_assert(expect("ready\r\n"));
	close(screen.slave_fd);
	close(screen.master_fd);
	cr_assert_eq(write(screen.control_fd, "w", 1), 1);
	cr_assert_eq(read(screen.control_fd, screen.shown, 2), 2);
	cr_assert_eq(screen.shown[1], SIGHUP);
	cr_assert_eq(end(), 0);
}

Test(tty, without_a_terminal_nothing_happens)
{
	const struct stdio_plan plan = { .kind = { STDIO_NULL } };
	struct tty tty;
	struct err err;

	cr_assert_eq(tty_start(&plan, NULL, &tty, &err), 0);
	cr_assert_eq(tty.pidfd, -1);
	cr_assert_eq(tty_ready(&tty, &err), 0);
	cr_assert_eq(tty_attach(&tty, -1, &err), 0);
	cr_assert_eq(tty_suspend(&tty, &err), 0);
	cr_assert_eq(tty_resume(&tty, &err), 0);
	cr_assert_eq(tty_finish(&tty, -1, -1, &err), 0);
	tty_clear(&tty);
}
