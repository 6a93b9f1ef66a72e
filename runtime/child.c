/* SPDX-License-Identifier: Apache-2.0
 *
 * The first steps of a process forked off the launcher; see child.h. Runs in: the launcher and its
 * children. Signals are blocked before the fork, so that a ^C between fork and first instruction
 * cannot end a relay that has output to write; the parent's mask is set back.
 */
#include "runtime/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "runtime/secrets.h"

enum { KEEP_MAX = 16 };

/* What goes over the socket; both ends are the same program. */
struct report {
	int rc;
	struct err err;
};

static void block_all_signals(sigset_t *ret_before)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, ret_before);
}

int child_fork(int (*body)(void *ctx), void *ctx, int *ret_pidfd, struct err *err)
{
	sigset_t before;
	int pidfd, saved;
	pid_t pid;

	block_all_signals(&before);
	pid = fork();
	if (pid == 0)
		_exit(body(ctx));
	saved = errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return err_fork(err, saved, "fork");
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0U);
	if (pidfd < 0) { /* the pid is ours until it is reaped: no other process can be hit */
		saved = errno;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return err_sys(err, saved, "pidfd_open");
	}
	*ret_pidfd = pidfd;
	return 0;
}

/* A parent that died before prctl(2) is seen by getppid(2), a later death by the signal. */
static int die_with(pid_t launcher, int death_signal, struct err *err)
{
	if (death_signal && prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) < 0)
		return err_sys(err, errno, "PR_SET_PDEATHSIG");
	if (getppid() != launcher)
		return err_set(err, ESRCH, "the launcher died");
	return 0;
}

static int null_standard_fds(struct err *err)
{
	cleanup_fd int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null_fd < 0)
		return err_sys(err, errno, "/dev/null");
	for (int fd = 0; fd <= 2; fd++)
		if (fd != null_fd && dup2(null_fd, fd) < 0)
			return err_sys(err, errno, "dup2");
	if (null_fd <= 2)
		take_fd(&null_fd);
	return 0;
}

static int keep_only(const int *keep, size_t count, struct err *err)
{
	int sorted[KEEP_MAX];
	int rc;

	if (count > KEEP_MAX)
		return err_set(err, EINVAL, "too many descriptors to keep");
	if (count)
		memcpy(sorted, keep, count * sizeof(*keep));
	rc = fd_close_except(sorted, count);
	return rc < 0 ? err_sys(err, -rc, "close_range") : 0;
}

int child_enter(const struct child_setup *setup, struct err *err)
{
	TRY(die_with(setup->launcher, setup->death_signal, err));
	environ_wipe();
	prctl(PR_SET_NAME, setup->name, 0, 0, 0);
	TRY(null_standard_fds(err));
	TRY(keep_only(setup->keep, setup->keep_count, err));
	TRY(secrets_no_dump(err));
	return setup->confine ? setup->confine(err) : 0;
}

void child_send_ready(int socket_fd, int rc, const struct err *err)
{
	struct report report = { .rc = rc };

	if (rc < 0 && err)
		report.err = *err;
	/* A launcher that is gone needs no report. */
	(void)!send(socket_fd, &report, sizeof(report), MSG_NOSIGNAL);
}

int child_wait_ready(int socket_fd, const char *what, struct err *err)
{
	struct report report;
	ssize_t n;

	do {
		n = recv(socket_fd, &report, sizeof(report), 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, errno, "%s", what);
	if (n == 0)
		return err_set(err, ECONNRESET, "%s ended without a word", what);
	if (n != sizeof(report))
		return err_set(err, EPROTO, "%s sent half a report", what);
	report.err.text[sizeof(report.err.text) - 1] = '\0';
	return report.rc < 0 ? err_set(err, -report.rc, "%s: %s", what, report.err.text) : 0;
}

int child_reap(int pidfd)
{
	siginfo_t info = { 0 };
	int rc;

	do {
		rc = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED);
	} while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return -errno;
	return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

void child_kill(int *pidfd)
{
	if (*pidfd < 0)
		return;
	syscall(SYS_pidfd_send_signal, *pidfd, SIGKILL, NULL, 0U);
	(void)!child_reap(*pidfd);
	fd_close(pidfd);
}
