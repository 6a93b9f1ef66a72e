/* SPDX-License-Identifier: Apache-2.0
 * Believed: RLIMIT_CORE 1 dumps no core, neither into a file (too small for one) nor into a pipe, where
 * 0 would not stop it (core(5)); and the filter that leaves all mappings out of a dump is kept by
 * fork and execve. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "platform.h"

#define FILTER "/proc/self/coredump_filter"

/* The status of a child that crashes under this limit. */
static int crash(rlim_t limit)
{
	const struct rlimit both = { limit, limit };
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (setrlimit(RLIMIT_CORE, &both) < 0 || prctl(PR_SET_DUMPABLE, 1) < 0)
			_exit(1);
		signal(SIGSEGV, SIG_DFL); /* a sanitizer would end it by another */
		raise(SIGSEGV);
		_exit(2);
	}
	EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid);
	return status;
}

int main(int argc, char **argv)
{
	char folder[] = "/tmp/bottle-core-XXXXXX", text[16] = "";
	int status, fd;

	if (argc > 1) { /* what came through the exec */
		fd = open(FILTER, O_RDONLY | O_CLOEXEC);
		return read(fd, text, sizeof(text) - 1) > 0 && strtoul(text, NULL, 16) == 0 ? 0 : 1;
	}
	EXPECT(mkdtemp(folder) && chdir(folder) == 0);
	status = crash(1);
	(void)!system("rm -f core*");
	EXPECT(chdir("/") == 0 && rmdir(folder) == 0);
	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV && !WCOREDUMP(status));
	EXPECT(put(FILTER, "0") == 0);
	execl("/proc/self/exe", argv[0], "again", (char *)NULL);
	FAIL("exec");
}
