/* SPDX-License-Identifier: Apache-2.0
 * Signals as bytes on a pipe; see docker_signals.h. Runs in: launcher of the Docker backend. */
#include "runtime/docker_signals.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"

static const int asking[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 };
enum { ASKING = sizeof(asking) / sizeof(asking[0]) };

/* A handler knows nothing but what is static. */
static int pipe_fds[2] = { -1, -1 };

/* A byte is the signal's number; the high bit says that the kernel sent it. A full pipe tells enough. */
static void note(int number, siginfo_t *info, void *context)
{
	unsigned char byte = (unsigned char)(number | (info && info->si_code > 0 ? 0x80 : 0));
	int saved = errno;

	(void)context;
	(void)!write(pipe_fds[1], &byte, 1);
	errno = saved;
}

static int catch_one(int number)
{
	struct sigaction action = { .sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct sigaction old;

	if (sigaction(number, NULL, &old) < 0)
		return -errno;
	if (number != SIGCHLD && old.sa_handler == SIG_IGN)
		return 0;
	sigemptyset(&action.sa_mask);
	if (number == SIGCHLD)
		action.sa_flags |= SA_NOCLDSTOP;
	return sigaction(number, &action, NULL) < 0 ? -errno : 0;
}

int docker_signals_init(struct err *err)
{
	int rc;

	if (pipe_fds[0] >= 0)
		return 0;
	rc = fd_pipe(pipe_fds);
	for (size_t i = 0; rc == 0 && i < 2; i++)
		rc = fcntl(pipe_fds[i], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
	for (size_t i = 0; rc == 0 && i < ASKING; i++)
		rc = catch_one(asking[i]);
	if (rc == 0)
		rc = catch_one(SIGCHLD);
	signal(SIGPIPE, SIG_IGN);
	return rc < 0 ? err_sys(err, -rc, "catch signals") : 0;
}

int docker_signals_fd(void)
{
	return pipe_fds[0];
}

struct docker_signal docker_signals_take(void)
{
	unsigned char byte;

	while (read(pipe_fds[0], &byte, 1) == 1)
		if ((byte & 0x7f) != SIGCHLD)
			return (struct docker_signal){ byte & 0x7f, (byte & 0x80) != 0 };
	return (struct docker_signal){ 0 };
}

void docker_signals_defaults(sigset_t *ret_set)
{
	sigemptyset(ret_set);
	sigaddset(ret_set, SIGPIPE);
	sigaddset(ret_set, SIGCHLD);
	sigaddset(ret_set, SIGXFSZ);
}
