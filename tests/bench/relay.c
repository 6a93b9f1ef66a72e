/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast the agent's output and input pass the relays, next to the same bytes without one. Each
 * line is one way: a writer and a reader that touch every buffer once, the relay between them. The
 * last column is the relay's own processor time, which other load on the machine changes least.
 *
 *   relay [MiB]         default 4096
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "runtime/relay.h"

enum { CHUNK = 128 * 1024 };

static char chunk[CHUNK];

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static _Noreturn void die(const char *what, const struct err *err)
{
	fprintf(stderr, "relay bench: %s: %s\n", what, err ? err->text : strerror(errno));
	exit(1);
}

static void pump_out(int fd, size_t bytes)
{
	for (; bytes; bytes -= bytes < CHUNK ? bytes : CHUNK)
		if (fd_write_all(fd, chunk, bytes < CHUNK ? bytes : CHUNK) < 0)
			die("write", NULL);
}

static void drain(int fd, size_t bytes)
{
	size_t got = 0;
	ssize_t n;

	while ((n = read(fd, chunk, CHUNK)) > 0)
		got += (size_t)n;
	if (n < 0 || got != bytes)
		die("bytes were lost", NULL);
}

/* A process that reads fd to its end. */
static pid_t start_drain(int fd, int other_fd, size_t bytes)
{
	pid_t pid = fork();

	if (pid == 0) {
		close(other_fd);
		drain(fd, bytes);
		_exit(0);
	}
	close(fd);
	return pid;
}

static void start_relays(int stream, int fd, struct relay *relay)
{
	struct stdio_plan plan = { .kind = { STDIO_NULL, STDIO_NULL, STDIO_NULL } };
	int saved = fcntl(stream, F_DUPFD_CLOEXEC, 3);
	struct err err;

	plan.kind[stream] = STDIO_RELAY;
	if (dup2(fd, stream) < 0)
		die("dup2", NULL);
	if (relay_start(&plan, NULL, relay, &err) < 0 || relay_ready(relay, &err) < 0)
		die("start", &err);
	dup2(saved, stream);
	close(saved);
	close(fd);
}

static double children_cpu_s(void)
{
	struct rusage usage;

	getrusage(RUSAGE_CHILDREN, &usage);
	return (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
	       (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
}

static double relay_cpu_s; /* of the last relay */

/* Reaps the relay and nobody else. */
static void finish(struct relay *relay)
{
	double before = children_cpu_s();
	struct err err;

	if (relay_finish(relay, -1, -1, &err) < 0)
		die("finish", &err);
	relay_cpu_s = children_cpu_s() - before;
	relay_clear(relay);
}

static void wait_child(pid_t pid)
{
	int status;

	if (pid > 0 && (waitpid(pid, &status, 0) != pid || status != 0))
		die("reader failed", NULL);
}

/* fd: what the caller's stdout is; read_fd: its other end, or -1. */
static double time_output(int fd, int read_fd, size_t bytes, bool relayed)
{
	pid_t reader = read_fd < 0 ? 0 : start_drain(read_fd, fd, bytes);
	double start = now_s();
	struct relay relay;

	if (relayed) {
		start_relays(1, fd, &relay);
		pump_out(relay.agent_fd[1], bytes);
		finish(&relay);
	} else {
		pump_out(fd, bytes);
		close(fd);
	}
	wait_child(reader);
	return now_s() - start;
}

static double time_input(int fd, int write_fd, size_t bytes, bool relayed)
{
	struct relay relay;
	pid_t writer = write_fd < 0 ? 0 : fork();
	double start = now_s();

	if (write_fd >= 0 && writer == 0) {
		pump_out(write_fd, bytes);
		_exit(0);
	}
	if (write_fd >= 0)
		close(write_fd);
	if (relayed) {
		start_relays(0, fd, &relay);
		drain(relay.agent_fd[0], bytes);
		finish(&relay);
	} else {
		drain(fd, bytes);
		close(fd);
	}
	wait_child(writer);
	return now_s() - start;
}

/* ---- the ways ---- */

static void make_pipe(int fds[2])
{
	if (pipe2(fds, O_CLOEXEC) < 0)
		die("pipe", NULL);
}

static void make_sockets(int fds[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		die("socketpair", NULL);
}

static int open_file(const char *folder, int flags)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/bottle-bench-XXXXXX", folder);
	fd = mkostemp(path, O_CLOEXEC | flags);
	if (fd < 0)
		die(folder, NULL);
	unlink(path);
	return fd;
}

static void report(const char *what, double direct, double relayed, size_t bytes)
{
	double gb = (double)bytes / 1e9;

	printf("%-34s %7.2f GB/s direct %7.2f GB/s relayed %7.0f ms/GB\n", what, gb / direct,
	       gb / relayed, relay_cpu_s * 1e3 / gb);
}

static double ends(void (*make)(int fds[2]), bool output, size_t bytes, bool relayed)
{
	int fds[2];

	make(fds);
	return output ? time_output(fds[1], fds[0], bytes, relayed)
		      : time_input(fds[0], fds[1], bytes, relayed);
}

static double file_out(const char *folder, int flags, size_t bytes, bool relayed)
{
	return time_output(open_file(folder, flags), -1, bytes, relayed);
}

static double file_in(const char *folder, size_t bytes, bool relayed)
{
	int fd = open_file(folder, 0);

	pump_out(fd, bytes);
	lseek(fd, 0, SEEK_SET);
	return time_input(fd, -1, bytes, relayed);
}

static void time_start(void)
{
	enum { ROUNDS = 200 };
	double total = 0, best = 1;

	for (int i = 0; i < ROUNDS; i++) {
		struct stdio_plan plan = { .kind = { STDIO_RELAY, STDIO_RELAY, STDIO_RELAY } };
		struct relay relay;
		struct err err;
		double start = now_s(), took;

		if (relay_start(&plan, NULL, &relay, &err) < 0)
			die("start", &err);
		took = now_s() - start;
		total += took;
		best = took < best ? took : best;
		if (relay_ready(&relay, &err) < 0)
			die("ready", &err);
		relay_clear(&relay);
	}
	printf("relay_start, three streams         %7.0f us, best %.0f us\n", total / ROUNDS * 1e6,
	       best * 1e6);
}

int main(int argc, char **argv)
{
	size_t bytes = (argc > 1 ? strtoul(argv[1], NULL, 10) : 4096) << 20;
	size_t file_bytes = bytes / 8; /* it must fit in memory */

	signal(SIGPIPE, SIG_IGN);
	memset(chunk, 'x', sizeof(chunk));
	time_start();
	report("stdout to a pipe", ends(make_pipe, true, bytes, false),
	       ends(make_pipe, true, bytes, true), bytes);
	report("stdout to a socket", ends(make_sockets, true, bytes, false),
	       ends(make_sockets, true, bytes, true), bytes);
	report("stdout to a file (/dev/shm)", file_out("/dev/shm", 0, file_bytes, false),
	       file_out("/dev/shm", 0, file_bytes, true), file_bytes);
	report("stdout to a file, O_APPEND", file_out("/dev/shm", O_APPEND, file_bytes, false),
	       file_out("/dev/shm", O_APPEND, file_bytes, true), file_bytes);
	report("stdin from a pipe", ends(make_pipe, false, bytes, false),
	       ends(make_pipe, false, bytes, true), bytes);
	report("stdin from a socket", ends(make_sockets, false, bytes, false),
	       ends(make_sockets, false, bytes, true), bytes);
	report("stdin from a file (/dev/shm)", file_in("/dev/shm", file_bytes, false),
	       file_in("/dev/shm", file_bytes, true), file_bytes);
	return 0;
}
