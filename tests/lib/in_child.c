/* SPDX-License-Identifier: Apache-2.0
 * A forked child that always _exits; see in_child.h. Runs in: unit tests. */
#include "tests/lib/in_child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

static _Noreturn void run_child(int (*fn)(void *arg), void *arg)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTERM };

	/* The test runner's handlers would report to the runner, in the parent's name. */
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		signal(faults[i], SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	_exit(fn(arg) & 0xff);
}

/* waitpid with a deadline: a pidfd becomes readable when the child ends. */
static int wait_child(pid_t pid, int timeout_ms)
{
	cleanup_fd int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0U);
	struct pollfd pfd = { .fd = pid_fd, .events = POLLIN };
	int ready = 0, status = 0;

	if (pid_fd >= 0)
		do {
			ready = poll(&pfd, 1, timeout_ms);
		} while (ready < 0 && errno == EINTR);
	if (ready != 1) {
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (ready != 1)
		return -ETIMEDOUT;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int in_child_for(int timeout_ms, int (*fn)(void *arg), void *arg)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		run_child(fn, arg);
	return wait_child(pid, timeout_ms);
}

int in_child(int (*fn)(void *arg), void *arg)
{
	return in_child_for(IN_CHILD_TIMEOUT_MS, fn, arg);
}
