/* SPDX-License-Identifier: Apache-2.0
 *
 * How long a program takes from its exec until its port accepts, or, with PORT 0, until it has ended.
 *
 *   boot ROUNDS PORT COMMAND [ARGUMENT]...
 *
 * Prints the median in microseconds. The port is tried again and again without a pause, from another
 * core than the program's (bench.py pins both), and the program is killed once it accepts.
 *
 * Runs in: bench.py's namespace; needs no privilege.
 */
#include <arpa/inet.h>
#include <err.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS_MAX = 1000, PATIENCE_S = 20 };

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int accepts(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons(port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc = connect(fd, (const struct sockaddr *)&address, sizeof(address));

	close(fd);
	return rc == 0;
}

static uint64_t one_boot(uint16_t port, char **argv)
{
	uint64_t begun = now_ns(), took;
	pid_t pid = vfork();

	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0)
		err(1, "vfork");
	while (port && !accepts(port))
		if (now_ns() - begun > PATIENCE_S * 1000000000ull || waitpid(pid, NULL, WNOHANG))
			errx(1, "%s: port %u does not accept", argv[0], port);
	if (!port)
		waitpid(pid, NULL, 0);
	took = now_ns() - begun;
	if (port) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return took;
}

static int compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

int main(int argc, char **argv)
{
	uint64_t took[ROUNDS_MAX];
	size_t rounds;

	if (argc < 4)
		errx(2, "usage: boot ROUNDS PORT COMMAND...");
	rounds = strtoul(argv[1], NULL, 10);
	if (!rounds || rounds > ROUNDS_MAX)
		errx(2, "ROUNDS: 1 to %d", ROUNDS_MAX);
	for (size_t i = 0; i < rounds; i++)
		took[i] = one_boot((uint16_t)strtoul(argv[2], NULL, 10), argv + 3);
	qsort(took, rounds, sizeof(*took), compare);
	printf("%.1f\n", (double)took[rounds / 2] / 1e3);
	return 0;
}
