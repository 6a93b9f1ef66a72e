/* SPDX-License-Identifier: Apache-2.0
 * A launcher in small; see relay_run.h. Runs in: unit tests. */
#include "tests/lib/relay_run.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "runtime/caps.h"
#include "runtime/seccomp.h"

int relay_run_confine(struct err *err)
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

int set_fds(const int fds[3])
{
	int moved[3];

	for (int i = 0; i < 3; i++)
		moved[i] = fds[i] >= 0 ? fcntl(fds[i], F_DUPFD, 100) : fds[i];
	for (int i = 0; i < 3; i++) {
		if (moved[i] >= 0)
			CHECK(dup2(moved[i], i) == i && close(moved[i]) == 0);
		else if (moved[i] == CLOSED)
			close(i);
	}
	return 0;
}

static _Noreturn void be_agent(struct run *run, const struct relay *relay)
{
	struct err err;
	int null_fd = fcntl(open("/dev/null", O_RDWR), F_DUPFD, 3);
	int keep[] = { REPORT_FD };

	if (stdio_wire(&run->plan, relay->agent_fd, -1, null_fd, &err) < 0 ||
	    fd_close_except(keep, 1) < 0)
		_exit(99);
	_exit(run->agent());
}

int do_run(struct run *run)
{
	struct relay relay;
	int status;
	pid_t pid;

	CHECK(dup2(2, REPORT_FD) == REPORT_FD);
	CHECK(set_fds(run->fds) == 0);
	CHECK(fd_all_cloexec() == 0);
	CHECK(stdio_fill_closed(&run->err) == 0);
	CHECK(stdio_inspect(&run->plan, &run->err) == 0);
	CHECK(relay_start(&run->plan, relay_run_confine, &relay, &run->err) == 0);
	CHECK(stdio_release(&run->err) == 0);
	CHECK(relay_ready(&relay, &run->err) == 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		be_agent(run, &relay);
	relay_drop_agent_fds(&relay);
	if (run->while_running)
		run->while_running(&relay);
	CHECK(waitpid(pid, &status, 0) == pid);
	run->agent_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	run->finish_rc = relay_finish(&relay, -1, -1, &run->err);
	relay_clear(&relay);
	return 0;
}

int run_whole(struct run *run)
{
	CHECK(do_run(run) == 0);
	if (run->agent_status || run->finish_rc)
		dprintf(REPORT_FD, "agent %d, finish %d: %s\n", run->agent_status, run->finish_rc,
			run->err.text);
	CHECK(run->agent_status == 0 && run->finish_rc == 0);
	return 0;
}

int temp_file(void)
{
	char path[] = "/tmp/test_relay.XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	return fd;
}

unsigned char pattern(size_t i)
{
	return (unsigned char)(i * 2654435761U >> 13);
}

int write_pattern(int fd, size_t len)
{
	static unsigned char bytes[BIG];

	for (size_t i = 0; i < len; i++)
		bytes[i] = pattern(i);
	return fd_write_all(fd, bytes, len);
}

ssize_t read_pattern(int fd)
{
	static unsigned char bytes[65536];
	size_t total = 0;
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		for (ssize_t i = 0; i < n; i++)
			if (bytes[i] != pattern(total++))
				return -1;
	return n < 0 ? -1 : (ssize_t)total;
}

bool is_fifo(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

bool is_null(int fd)
{
	struct stat st, null;

	return fstat(fd, &st) == 0 && stat("/dev/null", &null) == 0 && st.st_rdev == null.st_rdev;
}

pid_t pid_of(int pidfd)
{
	cleanup_with(buf_clear) struct buf info = { 0 };
	char path[64];
	const char *at;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	if (file_read(AT_FDCWD, path, 4096, &info, NULL) < 0)
		return -1;
	at = strstr(info.data, "Pid:");
	return at ? atoi(at + 4) : -1;
}

void start_run(struct background *bg, int (*fn)(struct run *run))
{
	fflush(NULL);
	bg->pid = fork();
	if (bg->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		alarm(20);
		close(bg->other_fd);
		_exit(fn(&bg->run));
	}
}

int wait_run(struct background *bg)
{
	int status;

	if (waitpid(bg->pid, &status, 0) != bg->pid)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
