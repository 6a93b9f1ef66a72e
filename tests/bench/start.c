/* SPDX-License-Identifier: Apache-2.0
 *
 * What it costs to start a program in a bottle, next to other launchers, in one run.
 *
 *   start ROUNDS NAME LAUNCHER... [-- NAME LAUNCHER...]...
 *
 * Measured is the time from the launcher's exec to the first line of main() of the program that it
 * starts, which is this one again: as `start --now` it writes the clock and ends. A round goes once
 * over all launchers, so that a busy moment of the machine meets each. Printed are median and lower
 * quartile, and the median's ratio to the first launcher's.
 *
 * `bottle run --timings` says on stderr how long it only waited for the proxy: from the moment when
 * the agent's side stood, or the proxy's exec, whichever came later, to the proxy's READY. That wait
 * is the proxy's own boot and is taken off. A program that was started before that has not waited.
 *
 * Runs in: a user's shell; needs no privilege.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

enum { LAUNCHERS_MAX = 8, ROUNDS_MAX = 1000, ARGS_MAX = 64, NOISE_ROUNDS = 2 };

struct launcher {
	const char *name;
	char *argv[ARGS_MAX];
	int64_t cost_ns[ROUNDS_MAX];
	int64_t wait_ns[ROUNDS_MAX];
};

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t field_us(const char *text, const char *name)
{
	char quoted[64];
	const char *at;

	snprintf(quoted, sizeof(quoted), "\"%s\":", name);
	at = strstr(text, quoted);
	return at ? strtoll(at + strlen(quoted), NULL, 10) : 0;
}

/* What `--timings` says of the wait for the proxy; 0 where there is no such line. */
static int64_t waited_ns(const char *errors)
{
	int64_t spawned = field_us(errors, "proxy_spawn_us");
	int64_t built = field_us(errors, "agent_built_us");
	int64_t ready = field_us(errors, "proxy_ready_us");
	int64_t from = built > spawned ? built : spawned;

	return ready > from && ready <= field_us(errors, "agent_exec_us") ? (ready - from) * 1000
									  : 0;
}

static _Noreturn void exec_launcher(char **argv, int out_fd, int err_fd)
{
	dup2(out_fd, STDOUT_FILENO);
	dup2(err_fd, STDERR_FILENO);
	execvp(argv[0], argv);
	fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Starts it once. 0, or -1 after it printed what went wrong. */
static int measure(struct launcher *launcher, int round)
{
	cleanup_with(buf_clear) struct buf out = { 0 }, errors = { 0 };
	int out_fds[2], err_fds[2], status;
	int64_t start, reached;
	pid_t pid;

	if (fd_pipe(out_fds) < 0 || fd_pipe(err_fds) < 0)
		return -1;
	start = now_ns();
	pid = fork();
	if (pid == 0)
		exec_launcher(launcher->argv, out_fds[1], err_fds[1]);
	fd_close(&out_fds[1]);
	fd_close(&err_fds[1]);
	if (fd_read_all(out_fds[0], 4096, &out) < 0 || fd_read_all(err_fds[0], 65536, &errors) < 0)
		return -1;
	fd_close(&out_fds[0]);
	fd_close(&err_fds[0]);
	waitpid(pid, &status, 0);
	reached = out.data ? strtoll(out.data, NULL, 10) : 0;
	if (reached <= start || !WIFEXITED(status) || WEXITSTATUS(status)) {
		fprintf(stderr, "%s failed: %s\n", launcher->name, errors.data ? errors.data : "");
		return -1;
	}
	if (round >= 0) {
		launcher->wait_ns[round] = waited_ns(errors.data ? errors.data : "");
		launcher->cost_ns[round] = reached - start - launcher->wait_ns[round];
	}
	return 0;
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void report(struct launcher *launchers, int count, int rounds)
{
	double first = 0;

	printf("%-28s %10s %10s %8s %18s\n", "", "median ms", "quartile", "ratio",
	       "wait for proxy ms");
	for (int i = 0; i < count; i++) {
		struct launcher *l = &launchers[i];
		double median;

		qsort(l->cost_ns, (size_t)rounds, sizeof(*l->cost_ns), by_value);
		qsort(l->wait_ns, (size_t)rounds, sizeof(*l->wait_ns), by_value);
		median = (double)l->cost_ns[rounds / 2] / 1e6;
		first = i ? first : median;
		printf("%-28s %10.2f %10.2f %8.2f", l->name, median,
		       (double)l->cost_ns[rounds / 4] / 1e6, median / first);
		if (l->wait_ns[rounds / 2])
			printf(" %18.1f", (double)l->wait_ns[rounds / 2] / 1e6);
		putchar('\n');
	}
}

/* "NAME LAUNCHER... [-- ...]": each gets this program's path and --now behind it. */
static int parse(int argc, char **argv, char *self, struct launcher *launchers)
{
	int count = 0, words = -1;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			words = -1;
		} else if (words < 0) {
			if (count == LAUNCHERS_MAX)
				return -1;
			launchers[count++].name = argv[i];
			words = 0;
		} else {
			if (words == ARGS_MAX - 3)
				return -1;
			launchers[count - 1].argv[words++] = argv[i];
		}
	}
	for (int i = 0; i < count; i++) {
		words = 0;
		while (launchers[i].argv[words])
			words++;
		launchers[i].argv[words] = self;
		launchers[i].argv[words + 1] = (char *)(uintptr_t) "--now";
	}
	return count;
}

int main(int argc, char **argv)
{
	static struct launcher launchers[LAUNCHERS_MAX];
	int rounds, count;

	if (argc == 2 && strcmp(argv[1], "--now") == 0)
		return printf("%" PRId64 "\n", now_ns()) < 0;
	rounds = argc > 3 ? (int)strtol(argv[1], NULL, 10) : 0;
	count = rounds > 0 && rounds <= ROUNDS_MAX ? parse(argc - 2, argv + 2, argv[0], launchers)
						   : -1;
	if (count <= 0) {
		fprintf(stderr, "usage: start ROUNDS NAME LAUNCHER... [-- NAME LAUNCHER...]...\n");
		return 2;
	}
	for (int round = -NOISE_ROUNDS; round < rounds; round++)
		for (int i = 0; i < count; i++)
			if (measure(&launchers[i], round) < 0)
				return 1;
	report(launchers, count, rounds);
	return 0;
}
