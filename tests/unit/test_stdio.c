/* SPDX-License-Identifier: Apache-2.0
 * The agent's descriptors: each of the caller's is looked at alone, none is handed in, and what stdin
 * has comes through. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "runtime/relay.h"
#include "tests/lib/in_child.h"
#include "tests/lib/relay_run.h"

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

Test(stdio, a_file_is_read_to_its_end)
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

Test(stdio, what_was_read_ahead_of_a_file_is_given_back)
{
	size_t small = 1000, large = BIG;

	cr_assert_eq(in_child(reads_part_of_file, &small), 0);
	cr_assert_eq(in_child(reads_part_of_file, &large), 0);
}

enum { ATTACK_START = 1000, ATTACK_LEN = 4000, ATTACK_PUSHED = 60000 };

/* Under the caller's uid the pipe is the agent's own: it reads all, opens it for writing and pushes
 * bytes, so that more seems unread than was ever forwarded. */
static int agent_pushes_into_its_stdin(void)
{
	static char bytes[ATTACK_PUSHED];
	int fd;

	for (size_t got = 0; got < ATTACK_LEN;) {
		ssize_t n = read(0, bytes, ATTACK_LEN - got);

		CHECK(n > 0);
		got += (size_t)n;
	}
	CHECK(fchmod(0, 0666) == 0);
	fd = open("/proc/self/fd/0", O_WRONLY | O_NONBLOCK);
	CHECK(fd >= 0 && write(fd, bytes, sizeof(bytes)) == sizeof(bytes));
	return 0;
}

static int pushes_back(void *arg)
{
	int fd = temp_file();
	struct run run = { .fds = { fd, CLOSED, KEPT }, .agent = agent_pushes_into_its_stdin };

	(void)arg;
	CHECK(write_pattern(fd, ATTACK_START + ATTACK_LEN) == 0);
	CHECK(lseek(fd, ATTACK_START, SEEK_SET) == ATTACK_START);
	CHECK(run_whole(&run) == 0);
	CHECK(lseek(fd, 0, SEEK_CUR) == ATTACK_START);
	return 0;
}

Test(stdio, the_offset_never_goes_to_before_this_run)
{
	cr_assert_eq(in_child(pushes_back, NULL), 0);
}

enum { MOVED_TO = 100000 };
static int shared_file = -1; /* for the hook below, in the forked child of the test */

static void move_the_offset(struct relay *relay)
{
	(void)relay;
	usleep(200000); /* the relay has read to the end */
	lseek(shared_file, MOVED_TO, SEEK_SET);
}

static int shares_offset(void *arg)
{
	struct run run = { .fds = { CLOSED, CLOSED, KEPT },
			   .agent = agent_reads_ten,
			   .while_running = move_the_offset };

	(void)arg;
	run.fds[0] = temp_file();
	CHECK(write_pattern(run.fds[0], ATTACK_LEN) == 0 && lseek(run.fds[0], 0, SEEK_SET) == 0);
	shared_file = fcntl(run.fds[0], F_DUPFD_CLOEXEC, 3);
	CHECK(run_whole(&run) == 0);
	CHECK(lseek(shared_file, 0, SEEK_CUR) == MOVED_TO);
	return 0;
}

Test(stdio, an_offset_that_another_process_moved_stays)
{
	cr_assert_eq(in_child(shares_offset, NULL), 0);
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

Test(stdio, a_socket_is_read_without_being_given)
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

Test(stdio, datagrams_keep_their_boundaries)
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

Test(stdio, stdin_that_never_speaks_holds_nothing_up)
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

Test(stdio, closed_descriptors_become_null)
{
	cr_assert_eq(in_child(all_closed, NULL), 0);
}

static int agent_opens_its_streams_anew(void)
{
	int in_fd, out_fd;

	/* As another uid, as with `idmap: subid`. Root would pass anyway. */
	if (geteuid() == 0)
		CHECK(setresgid(65534, 65534, 65534) == 0 && setresuid(65533, 65533, 65533) == 0);
	in_fd = open("/proc/self/fd/0", O_RDONLY);
	out_fd = open("/proc/self/fd/1", O_WRONLY);
	CHECK(in_fd >= 0 && out_fd >= 0 && write(out_fd, "x", 1) == 1);
	CHECK(open("/proc/self/fd/0", O_WRONLY) < 0 && errno == EACCES);
	CHECK(open("/proc/self/fd/0", O_RDWR) < 0 && errno == EACCES);
	CHECK(open("/proc/self/fd/1", O_RDONLY) < 0 && errno == EACCES);
	return 0;
}

static int writes_dev_stdout(void *arg)
{
	struct run run = { .fds = { temp_file(), *(int *)arg, KEPT },
			   .agent = agent_opens_its_streams_anew };

	return run_whole(&run);
}

Test(stdio, streams_open_anew_in_their_own_direction_alone)
{
	cleanup_fd int fd = temp_file();

	cr_assert_eq(in_child(writes_dev_stdout, &fd), 0);
	cr_assert_eq(lseek(fd, 0, SEEK_END), 1);
}
