/* SPDX-License-Identifier: Apache-2.0
 * Relays: what the agent writes arrives whole and in order, its reader's end is felt, and a relay holds
 * little and ends when it must. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "runtime/relay.h"
#include "tests/lib/in_child.h"
#include "tests/lib/relay_run.h"

/* ---- output ---- */

static int agent_writes_big(void)
{
	CHECK(is_fifo(1));
	return write_pattern(1, BIG) == 0 ? 0 : 2;
}

static int big_to_file(void *arg)
{
	int *fd = arg;
	struct run run = { .fds = { CLOSED, *fd, KEPT }, .agent = agent_writes_big };

	return run_whole(&run);
}

Test(relay, a_file_gets_all_that_was_written)
{
	cleanup_fd int fd = temp_file();

	cr_assert_eq(in_child(big_to_file, &fd), 0);
	cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
	cr_assert_eq(read_pattern(fd), BIG);
}

Test(relay, an_appended_file_keeps_what_it_had)
{
	char path[] = "/tmp/test_relay.XXXXXX", head[4];
	cleanup_fd int fd = mkstemp(path);
	int append_fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

	unlink(path);
	cr_assert_eq(write(fd, "head", 4), 4);
	cr_assert_eq(in_child(big_to_file, &append_fd), 0);
	close(append_fd);
	cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
	cr_assert_eq(read(fd, head, 4), 4);
	cr_assert_arr_eq(head, "head", 4);
	cr_assert_eq(read_pattern(fd), BIG);
}

static void test_slow_reader(bool nonblocking)
{
	struct background bg = { .run = { .fds = { CLOSED, -1, KEPT },
					  .agent = agent_writes_big } };
	static unsigned char bytes[30000];
	size_t total = 0;
	ssize_t n;
	int fds[2], flags;

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	if (nonblocking)
		fcntl(fds[1], F_SETFL, O_NONBLOCK);
	flags = fcntl(fds[1], F_GETFL);
	bg.run.fds[1] = fds[1];
	bg.other_fd = fds[0];
	start_run(&bg, run_whole);
	usleep(100000); /* all pipes fill */
	cr_assert_eq(fcntl(fds[1], F_GETFL), flags, "the caller's flags were changed");
	close(fds[1]);
	while ((n = read(fds[0], bytes, sizeof(bytes))) > 0)
		for (ssize_t i = 0; i < n; i++)
			cr_assert_eq(bytes[i], pattern(total++));
	cr_assert_eq(total, BIG);
	cr_assert_eq(wait_run(&bg), 0);
	close(fds[0]);
}

Test(relay, a_slow_reader_gets_all)
{
	test_slow_reader(false);
}

Test(relay, a_nonblocking_pipe_gets_all_and_stays_nonblocking)
{
	test_slow_reader(true);
}

Test(relay, a_socket_gets_all)
{
	struct background bg = { .run = { .fds = { CLOSED, -1, KEPT },
					  .agent = agent_writes_big } };
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	bg.run.fds[1] = fds[1];
	bg.other_fd = fds[0];
	start_run(&bg, run_whole);
	close(fds[1]);
	cr_assert_eq(read_pattern(fds[0]), BIG);
	cr_assert_eq(wait_run(&bg), 0);
	close(fds[0]);
}

enum { LINES = 4000 };

static int agent_alternates(void)
{
	for (int i = 0; i < LINES; i++)
		if (dprintf(1 + i % 2, "%d\n", i) < 0)
			return 2;
	return 0;
}

static int both_to_one(void *arg)
{
	int fd = *(int *)arg;
	struct run run = { .fds = { CLOSED, fd, fd }, .agent = agent_alternates };

	CHECK(run_whole(&run) == 0);
	CHECK(run.plan.shared_output);
	return 0;
}

Test(relay, order_between_stdout_and_stderr_stays)
{
	cleanup_file FILE *file = fdopen(temp_file(), "r+");
	int fd = fileno(file), number;

	cr_assert_eq(in_child(both_to_one, &fd), 0);
	rewind(file);
	for (int i = 0; i < LINES; i++) {
		cr_assert_eq(fscanf(file, "%d\n", &number), 1);
		cr_assert_eq(number, i);
	}
}

static int agent_writes_for_ever(void)
{
	static const char bytes[4096];

	for (;;)
		if (write(1, bytes, sizeof(bytes)) < 0)
			return errno;
}

static int ends_by_sigpipe(struct run *run)
{
	CHECK(do_run(run) == 0);
	CHECK(run->agent_status == 128 + SIGPIPE);
	CHECK(run->finish_rc == 0);
	return 0;
}

Test(relay, a_reader_that_leaves_is_felt_by_the_agent)
{
	struct background bg = { .run = { .fds = { CLOSED, -1, KEPT },
					  .agent = agent_writes_for_ever } };
	char byte;
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	bg.run.fds[1] = fds[1];
	bg.other_fd = fds[0];
	start_run(&bg, ends_by_sigpipe);
	close(fds[1]);
	cr_assert_eq(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	cr_assert_eq(wait_run(&bg), 0);
}

/* The reader is gone before the first byte: already the first write must fail. */
static int agent_writes_once(void)
{
	signal(SIGPIPE, SIG_IGN);
	usleep(100000);
	return write(1, "x", 1) < 0 && errno == EPIPE ? 0 : 2;
}

Test(relay, the_first_write_to_nobody_fails)
{
	struct background bg = { .run = { .fds = { CLOSED, -1, KEPT },
					  .agent = agent_writes_once } };
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	bg.run.fds[1] = fds[1];
	bg.other_fd = fds[0];
	close(fds[0]);
	start_run(&bg, run_whole);
	close(fds[1]);
	cr_assert_eq(wait_run(&bg), 0);
}

static int to_full_disk(void *arg)
{
	struct run run = { .fds = { CLOSED, open("/dev/full", O_WRONLY), KEPT },
			   .agent = agent_writes_for_ever };

	(void)arg;
	CHECK(do_run(&run) == 0);
	CHECK(run.agent_status == 128 + SIGPIPE);
	CHECK(run.finish_rc == -ENOSPC);
	CHECK(strcmp(run.err.text, "stdout: No space left on device; the output after that is "
				   "lost") == 0);
	return 0;
}

Test(relay, a_full_disk_is_said)
{
	cr_assert_eq(in_child(to_full_disk, NULL), 0);
}

static void signal_the_group(struct relay *relay)
{
	static const int signals[] = {
		SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGTTOU, SIGUSR1
	};

	(void)relay;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_IGN);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		for (size_t p = 0; p < relay->count; p++)
			kill(pid_of(relay->process[p].pidfd), signals[i]);
}

Test(relay, signals_of_the_terminal_lose_nothing)
{
	struct background bg = { .run = { .fds = { CLOSED, -1, KEPT },
					  .agent = agent_writes_big,
					  .while_running = signal_the_group } };
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	bg.run.fds[1] = fds[1];
	bg.other_fd = fds[0];
	start_run(&bg, run_whole);
	close(fds[1]);
	usleep(50000);
	cr_assert_eq(read_pattern(fds[0]), BIG);
	cr_assert_eq(wait_run(&bg), 0);
	close(fds[0]);
}

/* ---- what a relay holds, and when it ends ---- */

static int confine_fails(struct err *err)
{
	return err_set(err, EPERM, "no filter for %s", "you");
}

static int start_on_pipe(struct relay *relay, int (*give_up)(struct err *err), int ret_fds[2])
{
	struct stdio_plan plan;
	struct err err;

	CHECK(dup2(2, REPORT_FD) == REPORT_FD);
	CHECK(pipe2(ret_fds, O_CLOEXEC) == 0);
	CHECK(set_fds((int[]){ open("/dev/null", O_RDONLY), ret_fds[1], KEPT }) == 0);
	CHECK(stdio_inspect(&plan, &err) == 0);
	plan.kind[2] = STDIO_NULL;
	CHECK(relay_start(&plan, give_up, relay, &err) == 0 && relay->count == 1);
	return 0;
}

static int reports_confine(void *arg)
{
	struct relay relay;
	struct err err;
	int fds[2];

	(void)arg;
	CHECK(start_on_pipe(&relay, confine_fails, fds) == 0);
	CHECK(relay_ready(&relay, &err) == -EPERM);
	CHECK(strcmp(err.text, "relay for stdout: no filter for you") == 0);
	relay_clear(&relay);
	return 0;
}

Test(relay, a_relay_that_cannot_confine_itself_says_why)
{
	cr_assert_eq(in_child(reports_confine, NULL), 0);
}

static int count_fds(pid_t pid)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++) {
		char path[64], target[256];

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
		count += readlink(path, target, sizeof(target)) > 0;
	}
	return count;
}

static int holds_little(void *arg)
{
	cleanup_with(buf_clear) struct buf env = { 0 };
	struct relay relay;
	struct err err;
	char path[64];
	int fds[2];
	pid_t pid;

	(void)arg;
	CHECK(start_on_pipe(&relay, NULL, fds) == 0);
	CHECK(relay_ready(&relay, &err) == 0);
	pid = pid_of(relay.process[0].pidfd);
	snprintf(path, sizeof(path), "/proc/%d/environ", pid);
	if (geteuid() != 0) {
		CHECK(file_read(AT_FDCWD, path, 65536, &env, NULL) == -EACCES);
	} else {
		CHECK(file_read(AT_FDCWD, path, 65536, &env, NULL) == 0);
		for (size_t i = 0; i < env.len; i++)
			CHECK(env.data[i] == '\0');
		CHECK(count_fds(pid) == 6); /* 0-2, control, both ends */
	}
	relay_clear(&relay);
	return 0;
}

Test(relay, a_relay_holds_no_environment_and_no_other_descriptor)
{
	cr_assert_eq(in_child(holds_little, NULL), 0);
}

/* A signalfd(2) that has one to tell. */
static int open_with_a_signal(void)
{
	sigset_t usr1;
	int fd;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	fd = signalfd(-1, &usr1, SFD_CLOEXEC);
	raise(SIGUSR1);
	return fd;
}

static int finish_can_be_interrupted(void *arg)
{
	struct relay relay;
	struct err err;
	int fds[2];

	(void)arg;
	CHECK(start_on_pipe(&relay, NULL, fds) == 0);
	CHECK(write_pattern(relay.agent_fd[1], 200000) ==
	      0); /* more than the reader's pipe holds */
	CHECK(relay_finish(&relay, open_with_a_signal(), -1, &err) == -EINTR);
	CHECK(relay.process[0].pidfd >= 0);
	relay_clear(&relay);
	CHECK(relay.count == 0);
	return 0;
}

Test(relay, a_stuck_reader_can_be_given_up)
{
	cr_assert_eq(in_child(finish_can_be_interrupted, NULL), 0);
}

static int gives_up_at_the_deadline(void *arg)
{
	struct relay relay;
	struct err err;
	int fds[2];

	(void)arg;
	CHECK(start_on_pipe(&relay, NULL, fds) == 0);
	CHECK(write_pattern(relay.agent_fd[1], 200000) == 0);
	CHECK(relay_finish(&relay, -1, clock_now_ms() + 50, &err) == -ETIMEDOUT);
	CHECK(relay.lost == -ETIMEDOUT && strstr(err.text, "stdout: its reader had not taken all"));
	CHECK(relay.process[0].pidfd < 0);
	return 0;
}

Test(relay, a_stuck_reader_is_given_up_at_the_deadline)
{
	cr_assert_eq(in_child(gives_up_at_the_deadline, NULL), 0);
}

static int agent_reads_to_the_end(void)
{
	char bytes[4096];

	while (read(0, bytes, sizeof(bytes)) > 0)
		continue;
	return 0;
}

static void kill_the_first(struct relay *relay)
{
	kill(pid_of(relay->process[0].pidfd), SIGKILL);
}

static int input_is_cut(void *arg)
{
	struct run run = { .agent = agent_reads_to_the_end, .while_running = kill_the_first };
	int fds[2];

	(void)arg;
	CHECK(pipe(fds) == 0);
	memcpy(run.fds, (int[]){ fds[0], CLOSED, KEPT }, sizeof(run.fds));
	CHECK(do_run(&run) == 0);
	CHECK(run.agent_status == 0 && run.finish_rc == -EIO);
	CHECK(strcmp(run.err.text, "stdin: its relay was ended by signal 9; the command may not "
				   "have had all of its input") == 0);
	return 0;
}

Test(relay, input_that_was_cut_is_said)
{
	cr_assert_eq(in_child(input_is_cut, NULL), 0);
}

/* A folder cannot be read, and the reader of stdout takes nothing. */
static int unread_is_remembered(void *arg)
{
	struct stdio_plan plan;
	struct relay relay;
	struct err err;
	int fds[2];

	(void)arg;
	CHECK(dup2(2, REPORT_FD) == REPORT_FD && pipe2(fds, O_CLOEXEC) == 0);
	CHECK(set_fds((int[]){ open("/", O_RDONLY), fds[1], KEPT }) == 0);
	CHECK(stdio_inspect(&plan, &err) == 0);
	plan.kind[0] = STDIO_RELAY;
	plan.kind[2] = STDIO_NULL;
	CHECK(relay_start(&plan, NULL, &relay, &err) == 0 && relay.count == 2);
	CHECK(write_pattern(relay.agent_fd[1], 200000) == 0);
	CHECK(relay_finish(&relay, open_with_a_signal(), -1, &err) == -EINTR);
	CHECK(relay.process[0].pidfd < 0 && relay.process[1].pidfd >= 0);
	for (size_t left = 200000; left;) {
		char bytes[4096];
		ssize_t n = read(fds[0], bytes, MIN(left, sizeof(bytes)));

		CHECK(n > 0);
		left -= (size_t)n;
	}
	CHECK(relay_finish(&relay, -1, -1, &err) == -EISDIR && relay.lost == 0);
	CHECK(strcmp(err.text, "stdin: Is a directory") == 0);
	return 0;
}

Test(relay, stdin_that_could_not_be_read_is_remembered_over_a_signal)
{
	cr_assert_eq(in_child(unread_is_remembered, NULL), 0);
}

/* A launcher that is killed: its relays must be gone, though the agent's pipe is still open. */
static int launcher_that_dies(int report_fd)
{
	struct relay relay;
	struct err err;
	int fds[2];
	pid_t pid;

	CHECK(start_on_pipe(&relay, NULL, fds) == 0);
	CHECK(relay_ready(&relay, &err) == 0);
	pid = pid_of(relay.process[0].pidfd);
	CHECK(write(report_fd, &pid, sizeof(pid)) == sizeof(pid));
	for (;;)
		pause();
}

static int relay_dies_too(void *arg)
{
	int report[2];
	struct pollfd gone = { .events = POLLIN };
	pid_t launcher, relay;

	(void)arg;
	CHECK(pipe(report) == 0);
	launcher = fork();
	if (launcher == 0)
		_exit(launcher_that_dies(report[1]));
	CHECK(read(report[0], &relay, sizeof(relay)) == sizeof(relay));
	gone.fd = (int)syscall(SYS_pidfd_open, relay, 0U);
	CHECK(gone.fd >= 0);
	CHECK(poll(&gone, 1, 50) == 0);
	kill(launcher, SIGKILL);
	CHECK(poll(&gone, 1, 5000) == 1);
	return 0;
}

Test(relay, a_relay_dies_with_its_launcher)
{
	cr_assert_eq(in_child(relay_dies_too, NULL), 0);
}
