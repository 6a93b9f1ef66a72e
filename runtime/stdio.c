/* SPDX-License-Identifier: Apache-2.0
 *
 * Looks at the caller's 0, 1 and 2, and sets the agent's; see stdio.h. Runs in: the launcher, the
 * agent's process.
 */
#include "runtime/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "runtime/tty.h"

struct look {
	bool is_open, is_terminal;
	bool reads, writes;
	struct stat st;
	unsigned terminal; /* device number, where is_terminal */
};

/* /dev/tty stands for another device: TIOCGDEV names it. */
static unsigned terminal_number(int fd, const struct stat *st)
{
	unsigned number;

	if (ioctl(fd, TIOCGDEV, &number) == 0)
		return number;
	return (unsigned)st->st_rdev;
}

static int look_at(int fd, struct look *ret_look, struct err *err)
{
	struct look look = { 0 };
	int flags;

	if (fstat(fd, &look.st) < 0)
		return errno == EBADF ? 0 : err_sys(err, errno, "descriptor %d", fd);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0)
		return err_sys(err, errno, "descriptor %d", fd);
	look.is_open = true;
	look.reads = !(flags & O_PATH) && (flags & O_ACCMODE) != O_WRONLY;
	look.writes = !(flags & O_PATH) && (flags & O_ACCMODE) != O_RDONLY;
	look.is_terminal = isatty(fd);
	if (look.is_terminal)
		look.terminal = terminal_number(fd, &look.st);
	*ret_look = look;
	return 0;
}

static bool is_null_device(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3);
}

static void choose_terminal(struct stdio_plan *plan, const struct look look[static 3])
{
	static const int out_first[] = { 1, 2, 0 };
	unsigned terminal = 0;

	plan->tty_in = plan->tty_out = -1;
	for (int fd = 0; fd < 3; fd++) {
		if (!look[fd].is_terminal || (plan->has_tty && look[fd].terminal != terminal))
			continue;
		plan->has_tty = true;
		terminal = look[fd].terminal;
		plan->kind[fd] = STDIO_TTY;
		if (plan->tty_in < 0 && look[fd].reads)
			plan->tty_in = fd;
	}
	for (int i = 0; i < 3; i++)
		if (plan->tty_out < 0 && plan->kind[out_first[i]] == STDIO_TTY &&
		    look[out_first[i]].writes)
			plan->tty_out = out_first[i];
}

/* One open file, or one stream: writes to both must come out in their order. For a pipe or socket
 * the object is enough, since it has no offset; likewise for a file when both append. kcmp(2) may be
 * missing or forbidden (containers): then a file with the same offset and flags counts, which at
 * worst turns two descriptions that would overwrite each other into one that does not. */
static bool is_same_stream(const struct look *a, const struct look *b, int a_fd, int b_fd)
{
	pid_t self = getpid();
	long order;
	int a_flags = fcntl(a_fd, F_GETFL), b_flags = fcntl(b_fd, F_GETFL);

	if (a->st.st_dev != b->st.st_dev || a->st.st_ino != b->st.st_ino)
		return false;
	if (!S_ISREG(a->st.st_mode) || (a_flags & b_flags & O_APPEND))
		return true;
	order = syscall(SYS_kcmp, self, self, KCMP_FILE, a_fd, b_fd);
	if (order >= 0)
		return order == 0;
	return a_flags == b_flags && lseek(a_fd, 0, SEEK_CUR) == lseek(b_fd, 0, SEEK_CUR);
}

int stdio_inspect(struct stdio_plan *ret_plan, struct err *err)
{
	struct stdio_plan plan = { 0 };
	struct look look[3] = { 0 };

	for (int fd = 0; fd < 3; fd++) {
		TRY(look_at(fd, &look[fd], err));
		plan.kind[fd] = !look[fd].is_open || is_null_device(&look[fd].st) ? STDIO_NULL
										  : STDIO_RELAY;
	}
	choose_terminal(&plan, look);
	if (plan.kind[0] == STDIO_RELAY && !look[0].reads)
		plan.kind[0] = STDIO_NULL; /* nothing can be read of it */
	plan.shared_output = plan.kind[1] == STDIO_RELAY && plan.kind[2] == STDIO_RELAY &&
			     is_same_stream(&look[1], &look[2], 1, 2);
	plan.input_withheld = plan.has_tty && plan.kind[1] == STDIO_RELAY &&
			      S_ISFIFO(look[1].st.st_mode);
	if (plan.has_tty) {
		int fd = plan.tty_in >= 0 ? plan.tty_in : plan.tty_out;

		if (fd < 0 || tty_modes_take(fd, &plan.tty) < 0)
			return err_sys(err, fd < 0 ? EBADF : errno, "the terminal's modes");
	}
	*ret_plan = plan;
	return 0;
}

static int make_null(int first, int last, struct err *err)
{
	cleanup_fd int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null_fd < 0)
		return err_sys(err, errno, "/dev/null");
	for (int fd = first; fd <= last; fd++)
		if (dup2(null_fd, fd) < 0)
			return err_sys(err, errno, "dup2 to %d", fd);
	return 0;
}

int stdio_leave_input(struct err *err)
{
	return make_null(0, 0, err);
}

int stdio_wire(const struct stdio_plan *plan, const int relay_fds[static 3], int pty_fd,
	       int null_fd, struct err *err)
{
	for (int fd = 0; fd < 3; fd++) {
		bool rides = fd == 2 && plan->shared_output;
		int from = plan->kind[fd] == STDIO_NULL	 ? null_fd
			   : plan->kind[fd] == STDIO_TTY ? pty_fd
			   : rides			 ? relay_fds[1]
							 : relay_fds[fd];

		if (from <= 2) /* never inherit one of the caller's by mistake */
			return err_set(err, EBADF, "no descriptor for the agent's %d", fd);
		if (dup2(from, fd) < 0)
			return err_sys(err, errno, "dup2 to %d", fd);
	}
	return 0;
}

int stdio_release(struct err *err)
{
	return make_null(0, 1, err);
}
