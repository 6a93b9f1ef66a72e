/* SPDX-License-Identifier: Apache-2.0
 * Believed: a process may read /proc/<pid>/environ of another of its uid in the same user namespace if
 * that one has no more power, and may not if it is in the parent user namespace, dumpable or not. */
#include <signal.h>
#include <sys/prctl.h>

#include "platform.h"

static pid_t reaper;

/* Reads the environ file from here; 0 or errno. */
static int read_environ(void)
{
	char path[64], byte;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/environ", reaper);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return errno;
	return read(fd, &byte, 1) == 1 ? 0 : errno ? errno : EIO;
}

static int read_from_below(void)
{
	enter_userns(0, 1000);
	keep_caps(0);
	return read_environ();
}

int main(void)
{
	int beside, below;

	enter_userns(0, 0);
	keep_caps(1ULL << CAP_SETFCAP); /* which read_from_below needs to map itself */
	prctl(PR_SET_DUMPABLE, 1);
	reaper = fork();
	if (reaper == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	beside = child(read_environ);
	below = child(read_from_below);
	kill(reaper, SIGKILL);
	EXPECT(beside == 0);
	EXPECT(below == EACCES || below == EPERM);
	return 0;
}
