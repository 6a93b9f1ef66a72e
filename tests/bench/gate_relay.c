/* SPDX-License-Identifier: Apache-2.0
 *
 * What the gate costs, on loopback alone: bytes a second through it next to a direct connection, the
 * time it adds to a connection's set-up, memory of an idle connection, and the fork of its zygote.
 * Needs no privilege and no namespace: the listener's own address is the routed literal.
 *   build: make build/release/bench/gate_relay    run: gate_relay [seconds]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "netns/gate.h"

#define LISTENER "127.0.0.5"
#define UPSTREAM "127.0.0.6"

enum { PORT = 24443, BLOCK = 1 << 20, ROUNDS = 2000, IDLE = 2000 };

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "gate_relay: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct sockaddr_in at(const char *ip)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(PORT) };

	inet_pton(AF_INET, ip, &sin.sin_addr);
	return sin;
}

static int listen_at(const char *ip)
{
	struct sockaddr_in sin = at(ip);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 || listen(fd, 4096) < 0)
		die("listen");
	return fd;
}

static int dial(const char *ip)
{
	struct sockaddr_in sin = at(ip);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0)
		die("connect");
	return fd;
}

/* The upstream: 'e' echoes one byte and closes, 'i' idles, anything else is drained. */
static void serve(int fd)
{
	static char block[BLOCK];
	ssize_t n = recv(fd, block, 1, 0);

	if (n == 1 && block[0] == 'e')
		send(fd, block, 1, MSG_NOSIGNAL);
	else
		while (n > 0)
			n = recv(fd, block, sizeof(block), 0);
	close(fd);
}

static pid_t start_upstream(void)
{
	int listener = listen_at(UPSTREAM);
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGCHLD, SIG_IGN);
		for (;;) {
			int fd = accept(listener, NULL, NULL);
			char kind = 0;

			if (fd < 0)
				continue;
			recv(fd, &kind, 1, MSG_PEEK);
			if (kind == 'i')
				continue; /* stays open */
			if (kind != 'b' || fork() == 0) {
				serve(fd);
				if (kind == 'b')
					_exit(0);
			}
			close(fd);
		}
	}
	close(listener);
	return pid;
}

static pid_t start_gate(int *ret_control)
{
	static const struct gate_target target = { .host = LISTENER,
						   .port = PORT,
						   .address = UPSTREAM };
	struct sockaddr_in dns = at("127.0.0.5");
	int control[2], listener = listen_at(LISTENER);
	int dns_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct err err = { "" };
	double start = now();
	pid_t pid;

	if (bind(dns_fd, (struct sockaddr *)&dns, sizeof(dns)) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0)
		die("sockets");
	pid = fork();
	if (pid == 0) {
		struct gate_config config = { .targets = &target,
					      .target_count = 1,
					      .control_fd = control[1],
					      .audit_fd = -1 };

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(control[0]);
		close(listener);
		close(dns_fd);
		if (gate_run(&config, &err) < 0)
			fprintf(stderr, "%s\n", err.text);
		_exit(0);
	}
	close(control[1]);
	if (gate_send_sockets(control[0], dns_fd, &listener, 1) < 0 ||
	    gate_read_reply(control[0], &err) < 0)
		die(err.text);
	printf("start, fork to serving           %8.0f us\n", (now() - start) * 1e6);
	close(listener);
	close(dns_fd);
	*ret_control = control[0];
	return pid;
}

/* Seconds of processor time that a process has used. */
static double cpu_s(pid_t pid)
{
	unsigned long user = 0, system = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
			 &system) != 2)
		die(path);
	fclose(f);
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double throughput(const char *ip, double seconds, int streams)
{
	static char block[BLOCK];
	double start = now(), total = 0;
	int pipe_fds[2];

	if (pipe(pipe_fds) < 0)
		die("pipe");
	memset(block, 'b', sizeof(block));
	for (int i = 0; i < streams; i++) {
		if (fork() == 0) {
			int fd = dial(ip);
			double sent = 0;
			char byte;

			while (now() - start < seconds) {
				ssize_t n = send(fd, block, sizeof(block), 0);

				if (n < 0)
					die("send");
				sent += (double)n;
			}
			shutdown(fd, SHUT_WR);
			while (recv(fd, &byte, 1, 0) > 0)
				;
			if (write(pipe_fds[1], &sent, sizeof(sent)) < 0)
				die("write");
			_exit(0);
		}
	}
	for (int i = 0; i < streams; i++) {
		double sent;

		if (read(pipe_fds[0], &sent, sizeof(sent)) != sizeof(sent))
			die("read");
		total += sent;
	}
	total /= now() - start;
	for (int i = 0; i < streams; i++)
		wait(NULL);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return total / 1e9;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Median of connect + one byte there and back. */
static double setup_us(const char *ip)
{
	static double took[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		double start = now();
		int fd = dial(ip);
		char byte = 'e';

		if (send(fd, &byte, 1, 0) != 1 || recv(fd, &byte, 1, 0) != 1)
			die("echo");
		took[i] = now() - start;
		close(fd);
	}
	qsort(took, ROUNDS, sizeof(took[0]), by_value);
	return took[ROUNDS / 2] * 1e6;
}

static long memory_kb(pid_t pid)
{
	char path[64], line[256];
	long kb = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

static void idle(pid_t gate)
{
	long before = memory_kb(gate);

	for (int i = 0; i < IDLE; i++)
		if (send(dial(LISTENER), "i", 1, 0) != 1)
			die("idle");
	usleep(200000);
	printf("idle connection                  %8.0f bytes of the gate's memory\n",
	       (double)(memory_kb(gate) - before) * 1024 / IDLE);
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 3, direct, relayed, cpu;
	struct rlimit limit;
	pid_t upstream, gate;
	int control;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	upstream = start_upstream();
	gate = start_gate(&control);
	for (int streams = 1; streams <= 4; streams *= 4) {
		direct = throughput(UPSTREAM, seconds, streams);
		cpu = cpu_s(gate);
		relayed = throughput(LISTENER, seconds, streams);
		cpu = cpu_s(gate) - cpu;
		printf("%d stream%s direct %6.2f GB/s   through the gate %6.2f GB/s, "
		       "%.2f GB for a second of its processor\n",
		       streams, streams > 1 ? "s" : " ", direct, relayed, relayed * seconds / cpu);
	}
	direct = setup_us(UPSTREAM);
	relayed = setup_us(LISTENER);
	printf("connect and one round trip: direct %.0f us, through the gate %.0f us, added %.0f "
	       "us\n",
	       direct, relayed, relayed - direct);
	idle(gate);
	close(control);
	waitpid(gate, NULL, 0);
	kill(upstream, SIGKILL);
	return 0;
}
