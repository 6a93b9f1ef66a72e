/* SPDX-License-Identifier: Apache-2.0
 * The modes that the bottle's pty starts with, where the caller's terminal is not ours at that moment. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/tty.h"
#include "tests/lib/in_child.h"

/* A session on a pty of its own, whose terminal has the modes of a line editor. */
static int open_terminal(tcflag_t without, struct termios *ret_modes)
{
	int master_fd = posix_openpt(O_RDWR | O_NOCTTY);
	int fd;

	if (master_fd < 0 || grantpt(master_fd) < 0 || unlockpt(master_fd) < 0 || setsid() < 0)
		return -1;
	fd = open(ptsname(master_fd), O_RDWR);
	if (fd < 0 || tcgetattr(fd, ret_modes) < 0)
		return -1;
	ret_modes->c_lflag &= ~without;
	ret_modes->c_cc[VLNEXT] = _POSIX_VDISABLE;
	ret_modes->c_cc[VERASE] = '#';
	return tcsetattr(fd, TCSANOW, ret_modes) < 0 ? -1 : fd;
}

static int take_in_background(int fd, struct tty_modes *ret_modes)
{
	int pipe_fds[2], status;
	pid_t pid;

	if (pipe(pipe_fds) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		struct tty_modes taken;

		_exit(setpgid(0, 0) < 0 || tty_modes_take(fd, &taken) < 0 ||
		      write(pipe_fds[1], &taken, sizeof(taken)) != sizeof(taken));
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
		return -1;
	return read(pipe_fds[0], ret_modes, sizeof(*ret_modes)) == sizeof(*ret_modes) ? 0 : -1;
}

static int background_is_sane(void *arg)
{
	struct tty_modes taken;
	struct termios had;
	int fd = open_terminal(ICANON | ECHO | ISIG, &had);

	(void)arg;
	CHILD_CHECK(fd >= 0 && take_in_background(fd, &taken) == 0);
	CHILD_CHECK(taken.modes.c_lflag & ICANON && taken.modes.c_lflag & ECHO);
	CHILD_CHECK(taken.modes.c_lflag & ISIG && taken.modes.c_iflag & ICRNL);
	CHILD_CHECK(taken.modes.c_cc[VLNEXT] == ('V' & 037));
	CHILD_CHECK(taken.modes.c_cc[VERASE] == '#'); /* the person's choice */
	CHILD_CHECK(taken.modes.c_cc[VEOF] == ('D' & 037) && taken.modes.c_cc[VMIN] == 1);
	return 0;
}

static int background_keeps_what_is_canonical(void *arg)
{
	struct tty_modes taken;
	struct termios had;
	int fd = open_terminal(ECHOE, &had);

	(void)arg;
	CHILD_CHECK(fd >= 0 && take_in_background(fd, &taken) == 0);
	CHILD_CHECK(taken.modes.c_lflag == had.c_lflag);
	CHILD_CHECK(taken.modes.c_cc[VLNEXT] == _POSIX_VDISABLE);
	return 0;
}

static int foreground_keeps_all(void *arg)
{
	struct tty_modes taken;
	struct termios had;
	int fd = open_terminal(ICANON | ECHO, &had);

	(void)arg;
	CHILD_CHECK(fd >= 0 && tty_modes_take(fd, &taken) == 0);
	CHILD_CHECK(taken.modes.c_lflag == had.c_lflag);
	return 0;
}

/* in_child's leads a process group, so setsid(2) needs one more. */
static int in_grandchild(void *arg)
{
	int (*const *fn)(void *arg) = arg;
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit((*fn)(NULL));
	CHILD_CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int on_a_terminal(int (*fn)(void *arg))
{
	return in_child(in_grandchild, &fn);
}

Test(tty_background, a_line_editors_modes_are_not_taken_over)
{
	cr_assert_eq(on_a_terminal(background_is_sane), 0);
}

Test(tty_background, canonical_modes_are_taken_as_they_are)
{
	cr_assert_eq(on_a_terminal(background_keeps_what_is_canonical), 0);
}

Test(tty_background, in_the_foreground_the_terminal_is_ours)
{
	cr_assert_eq(on_a_terminal(foreground_keeps_all), 0);
}
