/* SPDX-License-Identifier: Apache-2.0
 *
 * A world for the gate's tests: a child process with a user namespace of its own, a "host" network
 * namespace H (where the gate, the upstream servers and a name server stand) and an "egress" one E
 * with AnyIP (where the clients and the gate's listeners are). Criterion's workers have two threads,
 * so the namespaces are made in a forked child, which always _exits; a check that fails hands its
 * sentence up, one that begins with "skip:" is a skip.
 */
#ifndef TEST_GATE_WORLD_H
#define TEST_GATE_WORLD_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "netns/gate.h"
#include "netns/gate_dns.h"

#define WORLD_PORT 443

static char world_text[1024];

__attribute__((format(printf, 3, 4))) static inline const char *
world_fail(const char *where, const char *condition, const char *fmt, ...)
{
	int n = snprintf(world_text, sizeof(world_text), "%s: %s: ", where, condition);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(world_text + n, sizeof(world_text) - (size_t)n, fmt, ap);
	va_end(ap);
	return world_text;
}

#define WORLD_STR_(x) #x
#define WORLD_STR(x)  WORLD_STR_(x)

/* Leaves the test function with a sentence when the condition does not hold. */
#define CHECK(cond, ...)                                                           \
	do {                                                                       \
		if (!(cond))                                                       \
			return world_fail(__FILE__ ":" WORLD_STR(__LINE__), #cond, \
					  " " __VA_ARGS__);                        \
	} while (0)

/* Runs fn in a child; its sentence ("" when all held) is copied to ret. */
static void in_child(const char *(*fn)(void), char ret[static 1024])
{
	int pipe_fds[2], status;
	size_t used = 0;
	ssize_t n;
	pid_t pid;

	cr_assert_eq(pipe(pipe_fds), 0);
	pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		const char *text;

		close(pipe_fds[0]);
		alarm(50);
		text = fn();
		if (text && write(pipe_fds[1], text, strlen(text)) < 0)
			_exit(2);
		_exit(0);
	}
	close(pipe_fds[1]);
	while (used < 1023 && (n = read(pipe_fds[0], ret + used, 1023 - used)) > 0)
		used += (size_t)n;
	ret[used] = '\0';
	close(pipe_fds[0]);
	waitpid(pid, &status, 0);
	if (!used && (!WIFEXITED(status) || WEXITSTATUS(status)))
		snprintf(ret, 1024, "the child ended with status %#x", (unsigned)status);
}

#define WORLD_TEST(suite, name)                   \
	static const char *suite##_##name(void);  \
	Test(suite, name, .timeout = 60)          \
	{                                         \
		char text[1024];                  \
		in_child(suite##_##name, text);   \
		if (!strncmp(text, "skip:", 5))   \
			cr_skip_test("%s", text); \
		cr_assert(!text[0], "%s", text);  \
	}                                         \
	static const char *suite##_##name(void)

struct world {
	int host_ns, egress_ns;
	int control_fd, audit_fd;
	int dns_fd; /* the name server's socket in H: 127.0.0.1:53 */
	pid_t gate, name_server;
};

static inline int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

	if (fd >= 0)
		close(fd);
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

static inline int run(const char *command)
{
	return system(command);
}

static inline struct sockaddr_in v4(const char *ip, uint16_t port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port) };

	inet_pton(AF_INET, ip, &sin.sin_addr);
	return sin;
}

static inline int limited(int fd, int seconds)
{
	struct timeval tv = { .tv_sec = seconds };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	return fd;
}

/* A TCP listener in the current namespace. */
static inline int listen_on(const char *ip, uint16_t port)
{
	struct sockaddr_in sin = v4(ip, port);
	int fd = limited(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), 10), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 || listen(fd, 4096) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Connects from E; the descriptor, or -errno. */
static inline int dial_from_egress(struct world *w, const struct sockaddr *sa, socklen_t len)
{
	int fd, rc;

	setns(w->egress_ns, CLONE_NEWNET);
	fd = limited(socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), 20);
	rc = connect(fd, sa, len) < 0 ? -errno : fd;
	if (rc < 0)
		close(fd);
	setns(w->host_ns, CLONE_NEWNET);
	return rc;
}

static inline int dial_v4(struct world *w, struct in_addr address, uint16_t port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_port = htons(port),
				   .sin_addr = address };

	return dial_from_egress(w, (struct sockaddr *)&sin, sizeof(sin));
}

/* Puts a query for `name` into out; its length. */
static inline size_t make_query(const char *name, uint16_t type, uint8_t *out)
{
	uint8_t *at = out;

	memcpy(at, "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
	at += 12;
	while (*name) {
		size_t len = strcspn(name, ".");

		*at++ = (uint8_t)len;
		memcpy(at, name, len);
		at += len;
		name += len + (name[len] == '.');
	}
	memcpy(at, "\0\0\0\0\1", 5);
	at[1] = (uint8_t)(type >> 8);
	at[2] = (uint8_t)type;
	return (size_t)(at + 5 - out);
}

/* Asks the gate's resolver from E: rcode, or -1; the address (0: none). */
static inline int ask(struct world *w, const char *name, uint16_t type, struct in_addr *ret)
{
	struct sockaddr_in sin = v4("127.0.0.1", 53);
	uint8_t query[512], answer[600];
	size_t len = make_query(name, type, query);
	ssize_t n;
	int fd;

	setns(w->egress_ns, CLONE_NEWNET);
	fd = limited(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), 5);
	setns(w->host_ns, CLONE_NEWNET);
	if (sendto(fd, query, len, 0, (struct sockaddr *)&sin, sizeof(sin)) < 0)
		return -1;
	n = recv(fd, answer, sizeof(answer), 0);
	close(fd);
	ret->s_addr = 0;
	if (n < 12)
		return -1;
	if (answer[7])
		memcpy(ret, answer + n - 4, 4);
	return answer[3] & 15;
}

/* Asks for the name and connects to it. */
static inline int dial_name(struct world *w, const char *name, uint16_t port)
{
	struct in_addr address;

	if (ask(w, name, 1, &address) != 0 || !address.s_addr)
		return -EADDRNOTAVAIL;
	return dial_v4(w, address, port);
}

/* Reads the next audit line that contains `what` within 10 s; "" when there is none. */
static inline const char *audit_line(struct world *w, const char *what)
{
	static char line[8192];
	struct pollfd pfd = { .fd = w->audit_fd, .events = POLLIN };
	size_t len = 0;

	while (poll(&pfd, 1, 10000) > 0 && len < sizeof(line) - 1 &&
	       read(w->audit_fd, line + len, 1) == 1) {
		if (line[len++] != '\n')
			continue;
		line[len] = '\0';
		if (strstr(line, what))
			return line;
		len = 0;
	}
	return "";
}

/* The name server of H: says what the table says, nothing to whom the table calls silent. */
struct name_row {
	const char *name;
	const char *a;
	const char *aaaa;
	bool is_silent;
};

static inline void serve_names(int fd, const struct name_row *rows)
{
	uint8_t query[512], out[600];
	struct sockaddr_in from;

	for (;;) {
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(fd, query, sizeof(query), 0, (struct sockaddr *)&from,
				     &from_len);
		const struct name_row *row = rows;
		struct gate_dns_question q;
		uint8_t bytes[16];
		size_t len;

		if (n <= 0 || gate_dns_parse(query, (size_t)n, &q) != 0)
			continue;
		while (row->name && strcmp(row->name, q.name))
			row++;
		if (row->is_silent)
			continue;
		q.has_edns = false;
		if (q.type == 1 && row->a && inet_pton(AF_INET, row->a, bytes) == 1) {
			len = gate_dns_answer(&q, query, 0, bytes, out);
		} else if (q.type == 28 && row->aaaa &&
			   inet_pton(AF_INET6, row->aaaa, bytes) == 1) {
			len = gate_dns_answer(&q, query, 0, bytes, out);
			out[len - 13] =
				28; /* type, rdlength and data of the A record that was made */
			out[len - 5] = 16;
			memcpy(out + len - 4, bytes, 16);
			len += 12;
		} else {
			len = gate_dns_answer(&q, query, row->name ? 0 : 3, NULL, out);
		}
		sendto(fd, out, len, 0, (struct sockaddr *)&from, from_len);
	}
}

static inline const char *use_name_server(struct world *w, const struct name_row *rows)
{
	struct sockaddr_in sin = v4("127.0.0.1", 53);
	char path[] = "/tmp/gate-test-XXXXXX";
	int fd = mkstemp(path);

	CHECK(fd >= 0 && write(fd, "nameserver 127.0.0.1\nsearch lan.test\n", 37) == 37);
	close(fd);
	CHECK(mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0, "%s", strerror(errno));
	unlink(path);
	w->dns_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK(bind(w->dns_fd, (struct sockaddr *)&sin, sizeof(sin)) == 0);
	w->name_server = fork();
	if (w->name_server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve_names(w->dns_fd, rows);
		_exit(0);
	}
	return NULL;
}

/* H and E, both up, E with AnyIP; this process stands in H. */
static inline const char *world_make(struct world *w)
{
	unsigned uid = getuid(), gid = getgid();
	char map[64];

	*w = (struct world){ .dns_fd = -1 };
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) < 0) {
		snprintf(world_text, sizeof(world_text), "skip: no user namespaces here: %s",
			 strerror(errno));
		return world_text;
	}
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", uid);
	CHECK(write_file("/proc/self/uid_map", map) == 0);
	snprintf(map, sizeof(map), "0 %u 1", gid);
	CHECK(write_file("/proc/self/gid_map", map) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	w->host_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	CHECK(run("ip link set lo up") == 0);
	CHECK(unshare(CLONE_NEWNET) == 0);
	w->egress_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	CHECK(run("ip link set lo up && ip route add local default dev lo") == 0);
	run("ip -6 route add local default dev lo 2>/dev/null");
	CHECK(setns(w->host_ns, CLONE_NEWNET) == 0);
	return NULL;
}

/* The gate's sockets in E: the resolver and a dual-stack listener on each port. */
static inline const char *open_gate_sockets(struct world *w, const uint16_t *ports, size_t count,
					    int *ret_fds)
{
	struct sockaddr_in dns = v4("127.0.0.1", 53);
	int off = 0;

	CHECK(setns(w->egress_ns, CLONE_NEWNET) == 0);
	ret_fds[0] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK(bind(ret_fds[0], (struct sockaddr *)&dns, sizeof(dns)) == 0);
	for (size_t i = 0; i < count; i++) {
		struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(ports[i]) };
		int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
		setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2);
		CHECK(bind(fd, (struct sockaddr *)&any, sizeof(any)) == 0);
		CHECK(listen(fd, 4096) == 0);
		ret_fds[1 + i] = fd;
	}
	CHECK(setns(w->host_ns, CLONE_NEWNET) == 0);
	return NULL;
}

/* Starts the gate in H; `config` brings targets and timeouts. */
static inline const char *world_start_gate(struct world *w, struct gate_config config,
					   const uint16_t *ports, size_t port_count)
{
	int control[2], audit[2], fds[16];
	const char *text = open_gate_sockets(w, ports, port_count, fds);
	struct err err = { "" };

	if (text)
		return text;
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) == 0);
	CHECK(pipe2(audit, O_CLOEXEC) == 0);
	w->gate = fork();
	if (w->gate == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(control[0]);
		close(audit[0]);
		for (size_t i = 0; i <= port_count; i++)
			close(fds[i]);
		config.control_fd = control[1];
		config.audit_fd = audit[1];
		config.run_id = "test";
		_exit(gate_run(&config, &err) < 0 ? 3 : 0);
	}
	close(control[1]);
	close(audit[1]);
	w->control_fd = control[0];
	w->audit_fd = audit[0];
	CHECK(gate_send_sockets(w->control_fd, fds[0], fds + 1, port_count) == 0);
	CHECK(gate_read_reply(w->control_fd, &err) == 0, "%s", err.text);
	for (size_t i = 0; i <= port_count; i++)
		close(fds[i]);
	return NULL;
}

/* Closes the control socket; the gate must end by itself with 0. */
static inline const char *world_end(struct world *w)
{
	int status = -1;

	close(w->control_fd);
	CHECK(waitpid(w->gate, &status, 0) == w->gate);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", (unsigned)status);
	if (w->name_server > 0)
		kill(w->name_server, SIGKILL);
	return NULL;
}

static inline uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

#define WORLD_TRY(expr)                     \
	do {                                \
		const char *text_ = (expr); \
		if (text_)                  \
			return text_;       \
	} while (0)

#endif
