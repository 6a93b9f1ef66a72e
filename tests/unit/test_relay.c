/* SPDX-License-Identifier: Apache-2.0
 * Descriptors and relays: what the agent holds is never the caller's, and what it writes arrives
 * whole and in order. A launcher in small: a child whose 0, 1 and 2 are set as the test wants, which
 * starts the relays, forks an "agent" wired to them, and finishes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "runtime/caps.h"
#include "runtime/relay.h"
#include "runtime/seccomp.h"
#include "tests/lib/in_child.h"

enum { REPORT_FD = 200, CLOSED = -1, KEPT = -2, BIG = 5 * 1024 * 1024 + 321 };

#define CHECK(expr)                                                                             \
	do {                                                                                    \
		if (!(expr)) {                                                                  \
			dprintf(REPORT_FD, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #expr, \
				errno);                                                         \
			return 1;                                                               \
		}                                                                               \
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

struct run {
	int fds[3]; /* what becomes 0, 1 and 2; CLOSED, or KEPT: as it is */
	int (*agent)(void);
	void (*while_running)(
		struct relay *relay); /* in the launcher, before the agent is waited for */
	/* results */
	struct stdio_plan plan;
	int agent_status;
	int finish_rc;
	struct err err;
};

static int set_fds(const int fds[3])
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

/* The launcher's story, in the child of the test. */
static int do_run(struct run *run)
{
	struct relay relay;
	int status;
	pid_t pid;

	CHECK(dup2(2, REPORT_FD) == REPORT_FD);
	CHECK(set_fds(run->fds) == 0);
	CHECK(fd_all_cloexec() == 0);
	CHECK(stdio_fill_closed(&run->err) == 0);
	CHECK(stdio_inspect(&run->plan, &run->err) == 0);
	CHECK(relay_start(&run->plan, confine, &relay, &run->err) == 0);
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
	run->finish_rc = relay_finish(&relay, -1, &run->err);
	relay_clear(&relay);
	return 0;
}

static int run_whole(struct run *run)
{
	CHECK(do_run(run) == 0);
	if (run->agent_status || run->finish_rc)
		dprintf(REPORT_FD, "agent %d, finish %d: %s\n", run->agent_status, run->finish_rc,
			run->err.text);
	CHECK(run->agent_status == 0 && run->finish_rc == 0);
	return 0;
}

/* ---- small tools ---- */

static int temp_file(void)
{
	char path[] = "/tmp/test_relay.XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	return fd;
}

static unsigned char pattern(size_t i)
{
	return (unsigned char)(i * 2654435761U >> 13);
}

static int write_pattern(int fd, size_t len)
{
	static unsigned char bytes[BIG];

	for (size_t i = 0; i < len; i++)
		bytes[i] = pattern(i);
	return fd_write_all(fd, bytes, len);
}

/* Reads to the end; the length if all of it is the pattern, else -1. */
static ssize_t read_pattern(int fd)
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

static bool is_fifo(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

static bool is_null(int fd)
{
	struct stat st, null;

	return fstat(fd, &st) == 0 && stat("/dev/null", &null) == 0 && st.st_rdev == null.st_rdev;
}

static pid_t pid_of(int pidfd)
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

/* ---- stdio_inspect ---- */

static int inspect(const int fds[3], struct stdio_plan *plan)
{
	struct err err;

	CHECK(set_fds(fds) == 0);
	CHECK(stdio_inspect(plan, &err) == 0);
	return 0;
}

static int sees_each_kind(void *arg)
{
	struct stdio_plan plan;
	int fds[2];

	(void)arg;
	CHECK(dup2(2, REPORT_FD) == REPORT_FD);
	CHECK(pipe(fds) == 0);
	CHECK(inspect((int[]){ CLOSED, open("/dev/null", O_WRONLY), fds[1] }, &plan) == 0);
	CHECK(plan.kind[0] == STDIO_NULL && plan.kind[1] == STDIO_NULL);
	CHECK(plan.kind[2] == STDIO_RELAY && !plan.shared_output && !plan.has_tty);
	CHECK(inspect((int[]){ temp_file(), open("/dev/full", O_WRONLY), CLOSED }, &plan) == 0);
	CHECK(plan.kind[0] == STDIO_RELAY && plan.kind[1] == STDIO_RELAY);
	CHECK(plan.kind[2] == STDIO_NULL);
	CHECK(inspect((int[]){ fds[1], fds[1], fds[1] }, &plan) == 0);
	CHECK(plan.kind[0] == STDIO_NULL); /* cannot be read */
	CHECK(plan.shared_output);
	return 0;
}

static int open_twice(const char *path, int flags, struct stdio_plan *plan)
{
	return inspect(
		(int[]){ CLOSED, open(path, O_WRONLY | flags), open(path, O_WRONLY | flags) },
		plan);
}

static int sees_one_stream(void *arg)
{
	char path[] = "/tmp/test_relay.XXXXXX";
	struct stdio_plan plan;
	int fd = mkstemp(path), other = temp_file();
	int apart, appended;

	(void)arg;
	CHECK(dup2(2, REPORT_FD) == REPORT_FD);
	CHECK(inspect((int[]){ CLOSED, fd, fd }, &plan) == 0 && plan.shared_output);
	CHECK(inspect((int[]){ CLOSED, fd, other }, &plan) == 0 && !plan.shared_output);
	apart = open_twice(path, 0, &plan) || plan.shared_output;
	appended = open_twice(path, O_APPEND, &plan) || !plan.shared_output;
	unlink(path);
	CHECK(apart == 0);    /* two offsets: two streams */
	CHECK(appended == 0); /* one end to append to: one stream */
	return 0;
}

Test(stdio, each_descriptor_is_looked_at_alone)
{
	cr_assert_eq(in_child(sees_each_kind, NULL), 0);
}

Test(stdio, the_same_open_file_is_one_stream)
{
	cr_assert_eq(in_child(sees_one_stream, NULL), 0);
}

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

/* Runs the launcher in the background, so that the test can be the other end. */
struct background {
	pid_t pid;
	struct run run;
	int other_fd; /* the test's end: not the launcher's to hold */
};

static void start_run(struct background *bg, int (*fn)(struct run *run))
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

static int wait_run(struct background *bg)
{
	int status;

	if (waitpid(bg->pid, &status, 0) != bg->pid)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
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

/* ---- input ---- */

static int agent_reads_pattern(void)
{
	CHECK(is_fifo(0));
	return read_pattern(0) == BIG ? 0 : 2;
}

static int reads_file(void *arg)
{
	int fd = temp_file();
	struct run run = { .fds = { fd, CLOSED, KEPT }, .agent = agent_reads_pattern };

	(void)arg;
	CHECK(write_pattern(fd, BIG) == 0 && lseek(fd, 0, SEEK_SET) == 0);
	return run_whole(&run);
}

Test(relay, a_file_is_read_to_its_end)
{
	cr_assert_eq(in_child(reads_file, NULL), 0);
}

static int agent_reads_ten(void)
{
	char bytes[10];

	return read(0, bytes, 10) == 10 ? 0 : 2;
}

static int reads_part_of_file(void *arg)
{
	size_t len = *(size_t *)arg;
	int fd = temp_file();
	struct run run = { .fds = { fd, CLOSED, KEPT }, .agent = agent_reads_ten };

	CHECK(write_pattern(fd, len) == 0 && lseek(fd, 0, SEEK_SET) == 0);
	CHECK(run_whole(&run) == 0);
	CHECK(lseek(fd, 0, SEEK_CUR) == 10);
	return 0;
}

Test(relay, what_was_read_ahead_of_a_file_is_given_back)
{
	size_t small = 1000, large = BIG;

	cr_assert_eq(in_child(reads_part_of_file, &small), 0);
	cr_assert_eq(in_child(reads_part_of_file, &large), 0);
}

static int agent_sees_no_socket(void)
{
	struct sockaddr unspec = { .sa_family = AF_UNSPEC };
	char bytes[6];

	CHECK(is_fifo(0));
	CHECK(connect(0, &unspec, sizeof(unspec)) < 0 && errno == ENOTSOCK);
	CHECK(read(0, bytes, 5) == 5 && memcmp(bytes, "hello", 5) == 0);
	CHECK(read(0, bytes, 1) == 0);
	return 0;
}

static int reads_socket(void *arg)
{
	int fds[2];
	struct run run = { .agent = agent_sees_no_socket };

	(void)arg;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	CHECK(write(fds[1], "hello", 5) == 5 && shutdown(fds[1], SHUT_WR) == 0);
	memcpy(run.fds, (int[]){ fds[0], CLOSED, KEPT }, sizeof(run.fds));
	return run_whole(&run);
}

Test(relay, a_socket_is_read_without_being_given)
{
	cr_assert_eq(in_child(reads_socket, NULL), 0);
}

static int agent_reads_datagrams(void)
{
	char bytes[64];

	CHECK(read(0, bytes, sizeof(bytes)) == 3);
	CHECK(read(0, bytes, sizeof(bytes)) == 4);
	return 0;
}

static int reads_datagrams(void *arg)
{
	int fds[2];
	struct run run = { .agent = agent_reads_datagrams };

	(void)arg;
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) == 0);
	CHECK(write(fds[1], "one", 3) == 3 && write(fds[1], "more", 4) == 4);
	memcpy(run.fds, (int[]){ fds[0], CLOSED, KEPT }, sizeof(run.fds));
	return run_whole(&run); /* also ends, though the socket never does */
}

Test(relay, datagrams_keep_their_boundaries)
{
	cr_assert_eq(in_child(reads_datagrams, NULL), 0);
}

static int agent_ignores_stdin(void)
{
	return 0;
}

static int leaves_a_silent_pipe(void *arg)
{
	int fds[2];
	struct run run = { .agent = agent_ignores_stdin };

	(void)arg;
	CHECK(pipe2(fds, O_CLOEXEC) == 0);
	memcpy(run.fds, (int[]){ fds[0], CLOSED, KEPT }, sizeof(run.fds));
	return run_whole(&run);
}

Test(relay, stdin_that_never_speaks_holds_nothing_up)
{
	cr_assert_eq(in_child(leaves_a_silent_pipe, NULL), 0);
}

static int agent_sees_null(void)
{
	CHECK(is_null(0) && is_null(1) && is_null(2));
	return 0;
}

static int all_closed(void *arg)
{
	struct run run = { .fds = { CLOSED, CLOSED, CLOSED }, .agent = agent_sees_null };

	(void)arg;
	return run_whole(&run);
}

Test(relay, closed_descriptors_become_null)
{
	cr_assert_eq(in_child(all_closed, NULL), 0);
}

static int agent_opens_dev_stdout(void)
{
	cleanup_fd int fd = -1;

	/* As another uid, as with `idmap: subid`. Root would pass anyway. */
	if (geteuid() == 0)
		CHECK(setresgid(65534, 65534, 65534) == 0 && setresuid(65533, 65533, 65533) == 0);
	fd = open("/proc/self/fd/1", O_WRONLY);
	CHECK(fd >= 0 && write(fd, "x", 1) == 1);
	return 0;
}

static int writes_dev_stdout(void *arg)
{
	struct run run = { .fds = { CLOSED, *(int *)arg, KEPT }, .agent = agent_opens_dev_stdout };

	return run_whole(&run);
}

Test(relay, dev_stdout_can_be_opened_by_another_uid)
{
	cleanup_fd int fd = temp_file();

	cr_assert_eq(in_child(writes_dev_stdout, &fd), 0);
	cr_assert_eq(lseek(fd, 0, SEEK_END), 1);
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

static int finish_can_be_interrupted(void *arg)
{
	struct relay relay;
	struct err err;
	sigset_t usr1;
	int fds[2], signal_fd;

	(void)arg;
	CHECK(start_on_pipe(&relay, NULL, fds) == 0);
	CHECK(write_pattern(relay.agent_fd[1], 200000) ==
	      0); /* more than the reader's pipe holds */
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	signal_fd = signalfd(-1, &usr1, SFD_CLOEXEC);
	raise(SIGUSR1);
	CHECK(relay_finish(&relay, signal_fd, &err) == -EINTR);
	CHECK(relay.process[0].pidfd >= 0);
	relay_clear(&relay);
	CHECK(relay.count == 0);
	return 0;
}

Test(relay, a_stuck_reader_can_be_given_up)
{
	cr_assert_eq(in_child(finish_can_be_interrupted, NULL), 0);
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
