/* SPDX-License-Identifier: Apache-2.0
 * The gate whole, over real namespaces: relaying, half-closes, resets, bounds, control. */
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "test_gate_world.h"

#define UPSTREAM "127.0.0.2"

static const struct gate_target targets[] = {
	{ .host = "api.test", .port = 443, .address = UPSTREAM },
	{ .host = "closed.test", .port = 443, .address = "127.0.0.3" },
	{ .host = "other.test", .port = 443, .address = UPSTREAM, .address_port = 8443 },
	{ .host = "*.wild.test", .port = 443, .address = UPSTREAM },
	{ .host = "192.0.2.7", .port = 443, .address = UPSTREAM },
	{ .host = "10.1.1.1", .port = 443 },
	{ .host = "2001:db8::7", .port = 443, .address = UPSTREAM },
};

static const uint16_t ports[] = { 443, 8443 };

static const char *begin(struct world *w)
{
	struct gate_config config = { .targets = targets,
				      .target_count = sizeof(targets) / sizeof(targets[0]) };

	WORLD_TRY(world_make(w));
	return world_start_gate(w, config, ports, 2);
}

WORLD_TEST(gate_relay, carries_bytes_and_keeps_half_closes)
{
	struct world w;
	int server, up, client;
	char buf[64];

	WORLD_TRY(begin(&w));
	server = listen_on(UPSTREAM, 443);
	client = dial_name(&w, "api.test", 443);
	CHECK(client >= 0, "%s", strerror(-client));
	up = limited(accept(server, NULL, NULL), 10);
	CHECK(send(client, "ping", 4, 0) == 4);
	CHECK(recv(up, buf, sizeof(buf), 0) == 4 && !memcmp(buf, "ping", 4));
	CHECK(shutdown(client, SHUT_WR) == 0);
	CHECK(recv(up, buf, sizeof(buf), 0) == 0, "the half-close did not arrive");
	/* The other half still works, and bytes that come late are not lost. */
	for (int i = 0; i < 5; i++) {
		usleep(20000);
		CHECK(send(up, "pong", 4, 0) == 4);
		CHECK(recv(client, buf, 4, MSG_WAITALL) == 4 && !memcmp(buf, "pong", 4));
	}
	CHECK(shutdown(up, SHUT_WR) == 0);
	CHECK(recv(client, buf, sizeof(buf), 0) == 0);
	close(client);
	close(up);

	/* And the other way round: upstream ends first. */
	client = dial_name(&w, "api.test", 443);
	up = limited(accept(server, NULL, NULL), 10);
	CHECK(shutdown(up, SHUT_WR) == 0);
	CHECK(recv(client, buf, sizeof(buf), 0) == 0);
	CHECK(send(client, "late", 4, 0) == 4);
	CHECK(recv(up, buf, sizeof(buf), 0) == 4);
	close(client);
	CHECK(recv(up, buf, sizeof(buf), 0) == 0);
	return world_end(&w);
}

WORLD_TEST(gate_relay, a_client_that_sends_and_closes_before_the_dial_is_done)
{
	struct world w;
	int server, up, client;
	char buf[64];

	WORLD_TRY(begin(&w));
	server = listen_on(UPSTREAM, 443);
	client = dial_name(&w, "api.test", 443);
	CHECK(client >= 0);
	CHECK(send(client, "bye", 3, 0) == 3);
	shutdown(client, SHUT_WR);
	up = limited(accept(server, NULL, NULL), 10);
	CHECK(recv(up, buf, 3, MSG_WAITALL) == 3);
	CHECK(recv(up, buf, 3, 0) == 0);
	return world_end(&w);
}

static void reset_close(int fd)
{
	struct linger now = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

WORLD_TEST(gate_relay, a_reset_is_a_reset_on_the_other_side)
{
	struct world w;
	struct pollfd hup = { .events = 0 };
	int server, up, client;
	char buf[64];

	WORLD_TRY(begin(&w));
	server = listen_on(UPSTREAM, 443);

	client = dial_name(&w, "api.test", 443);
	up = limited(accept(server, NULL, NULL), 10);
	reset_close(up);
	CHECK(recv(client, buf, 1, 0) < 0 && errno == ECONNRESET, "upstream's: %s",
	      strerror(errno));
	close(client);

	client = dial_name(&w, "api.test", 443);
	up = limited(accept(server, NULL, NULL), 10);
	reset_close(client);
	CHECK(recv(up, buf, 1, 0) < 0 && errno == ECONNRESET, "client's: %s", strerror(errno));
	close(up);

	/* After a half-close the relay does not read that side any more, and must still see it. */
	client = dial_name(&w, "api.test", 443);
	up = limited(accept(server, NULL, NULL), 10);
	shutdown(client, SHUT_WR);
	CHECK(recv(up, buf, 1, 0) == 0);
	hup.fd = up;
	reset_close(client);
	CHECK(poll(&hup, 1, 5000) == 1 && (hup.revents & POLLERR), "half-closed: no reset came");
	return world_end(&w);
}

/* How much arrives before the reset; -1: no reset, but an end or nothing. */
static ssize_t read_until_reset(int fd)
{
	static char buf[1 << 16];
	ssize_t n, all = 0;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		all += n;
	return n < 0 && errno == ECONNRESET ? all : -1;
}

/* An answer that came with the reset behind it: the server did not read the whole request (413). */
WORLD_TEST(gate_relay, what_was_sent_before_a_reset_arrives)
{
	static char answer[20000];
	struct world w;
	int server, status;
	ssize_t got;

	WORLD_TRY(begin(&w));
	server = listen_on(UPSTREAM, 443);
	for (int i = 0; i < 2; i++) {
		int client = dial_name(&w, "api.test", 443);
		int up = limited(accept(server, NULL, NULL), 10);
		int from = i ? client : up, to = i ? up : client;
		char byte;

		CHECK(send(to, "request", 7, 0) == 7 && recv(from, &byte, 1, 0) == 1);
		CHECK(kill(w.gate, SIGSTOP) == 0 && waitpid(w.gate, &status, WUNTRACED) == w.gate);
		CHECK(send(from, answer, sizeof(answer), 0) == sizeof(answer));
		close(from);			    /* with six bytes unread: a reset and no end */
		CHECK(send(to, "more", 4, 0) == 4); /* which cannot be delivered */
		CHECK(kill(w.gate, SIGCONT) == 0);
		got = read_until_reset(to);
		CHECK(got == sizeof(answer), "%d: %zd of %zu", i, got, sizeof(answer));
		close(to);
	}
	return world_end(&w);
}

/* Waits until all that was sent is acknowledged: the gate has it. */
static bool is_taken(int fd)
{
	for (int unsent = 1, i = 0; i < 500; i++, usleep(10000))
		if (ioctl(fd, SIOCOUTQ, &unsent) == 0 && !unsent)
			return true;
	return false;
}

WORLD_TEST(gate_relay, what_was_sent_before_a_reset_waits_for_its_reader)
{
	static char answer[500000];
	struct world w;
	int server, up, client;
	ssize_t got;
	char byte;

	WORLD_TRY(begin(&w));
	server = listen_on(UPSTREAM, 443);
	client = dial_name(&w, "api.test", 443);
	up = limited(accept(server, NULL, NULL), 10);
	CHECK(send(client, "request", 7, 0) == 7 && recv(up, &byte, 1, 0) == 1);
	CHECK(send(up, answer, sizeof(answer), 0) == sizeof(answer) && is_taken(up));
	close(up);
	usleep(100000); /* the gate knows of the reset before the first byte is read */
	got = read_until_reset(client);
	CHECK(got == sizeof(answer), "%zd of %zu", got, sizeof(answer));
	return world_end(&w);
}

WORLD_TEST(gate_relay, a_bulk_arrives_whole_with_a_slow_reader)
{
	enum { TOTAL = 1 << 28 };
	static char block[1 << 16];
	struct world w;
	int server, up, client;
	uint64_t differences = 0, got = 0;
	pid_t sender;
	int status;

	WORLD_TRY(begin(&w));
	server = listen_on(UPSTREAM, 443);
	client = dial_name(&w, "api.test", 443);
	up = limited(accept(server, NULL, NULL), 10);
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (char)(i * 31 + i / 251);
	sender = fork();
	if (sender == 0) {
		for (int sent = 0; sent < TOTAL;) {
			ssize_t n = send(client, block + sent % sizeof(block),
					 sizeof(block) - (size_t)sent % sizeof(block), 0);

			if (n <= 0)
				_exit(1);
			sent += (int)n;
		}
		shutdown(client, SHUT_WR);
		_exit(0);
	}
	for (;;) {
		char buf[50000];
		ssize_t n = recv(up, buf, sizeof(buf), 0);

		CHECK(n >= 0, "%s", strerror(errno));
		if (n == 0)
			break;
		for (ssize_t i = 0; i < n; i++, got++)
			differences += buf[i] != block[got % sizeof(block)];
		if (got % (1 << 24) < 50000)
			usleep(1000); /* the pipe and both buffers run full */
	}
	CHECK(got == TOTAL, "%llu bytes", (unsigned long long)got);
	CHECK(!differences, "bytes were changed or out of order");
	CHECK(waitpid(sender, &status, 0) == sender && status == 0);
	return world_end(&w);
}

WORLD_TEST(gate_relay, what_is_not_routed_is_reset_and_told)
{
	struct world w;
	struct in_addr address;
	const char *line;
	int fd;
	char byte;

	WORLD_TRY(begin(&w));
	/* A synthetic address nobody was given. */
	inet_pton(AF_INET, "198.19.200.1", &address);
	fd = dial_v4(&w, address, 443);
	CHECK(fd < 0 || (recv(fd, &byte, 1, 0) < 0 && errno == ECONNRESET));
	line = audit_line(&w, "198.19.200.1");
	CHECK(strstr(line, "\"verdict\":\"deny\",\"reason\":\"not_routed\""), "%s", line);
	CHECK(strstr(line, "\"run\":\"test\""), "%s", line);
	/* A raw address. */
	inet_pton(AF_INET, "93.184.216.34", &address);
	fd = dial_v4(&w, address, 443);
	CHECK(fd < 0 || recv(fd, &byte, 1, 0) < 0);
	line = audit_line(&w, "93.184.216.34");
	CHECK(strstr(line, "\"reason\":\"not_routed\""), "%s", line);
	/* A routed name on a port that it is not routed for (but another listener exists). */
	fd = dial_name(&w, "api.test", 8443);
	CHECK(fd < 0 || recv(fd, &byte, 1, 0) < 0);
	line = audit_line(&w, "api.test");
	CHECK(strstr(line, "\"reason\":\"not_routed\"") && strstr(line, "\"port\":8443"), "%s",
	      line);
	/* A routed literal, private, without allow_private. */
	inet_pton(AF_INET, "10.1.1.1", &address);
	fd = dial_v4(&w, address, 443);
	CHECK(fd < 0 || recv(fd, &byte, 1, 0) < 0);
	line = audit_line(&w, "10.1.1.1");
	CHECK(strstr(line, "\"verdict\":\"deny\",\"reason\":\"private_address\""), "%s", line);
	/* Upstream's port is closed. */
	fd = dial_name(&w, "closed.test", 443);
	CHECK(fd < 0 || (recv(fd, &byte, 1, 0) < 0 && errno == ECONNRESET));
	line = audit_line(&w, "closed.test");
	CHECK(strstr(line, "\"verdict\":\"error\",\"reason\":\"connect_refused\""), "%s", line);
	CHECK(strstr(line, "\"address\":\"127.0.0.3\""), "%s", line);
	return world_end(&w);
}

WORLD_TEST(gate_relay, names_literals_and_ports_reach_their_upstream)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(443) };
	struct world w;
	struct in_addr address, again;
	int server, other, fd;

	WORLD_TRY(begin(&w));
	server = listen_on(UPSTREAM, 443);
	other = listen_on(UPSTREAM, 8443);
	fd = dial_name(&w, "other.test", 443);
	CHECK(fd >= 0 && accept(other, NULL, NULL) >= 0, "address_port");
	fd = dial_name(&w, "A.b.wild.TEST", 443);
	CHECK(fd >= 0 && accept(server, NULL, NULL) >= 0, "wildcard");
	inet_pton(AF_INET, "192.0.2.7", &address);
	fd = dial_v4(&w, address, 443);
	CHECK(fd >= 0 && accept(server, NULL, NULL) >= 0, "literal");
	inet_pton(AF_INET6, "2001:db8::7", &six.sin6_addr);
	fd = dial_from_egress(&w, (struct sockaddr *)&six, sizeof(six));
	CHECK(fd >= 0 && accept(server, NULL, NULL) >= 0, "literal v6: %s", strerror(-fd));
	/* DNS: stable, per name, empty for AAAA, none for strangers or an apex; said once. */
	CHECK(ask(&w, "x.wild.test", 1, &address) == 0 && address.s_addr);
	CHECK(ask(&w, "X.wild.test", 1, &again) == 0 && again.s_addr == address.s_addr);
	CHECK(ask(&w, "y.wild.test", 1, &again) == 0 && again.s_addr != address.s_addr);
	CHECK(ask(&w, "x.wild.test", 28, &again) == 0 && !again.s_addr);
	CHECK(ask(&w, "x.wild.test", 65, &again) == 0 && !again.s_addr);
	CHECK(ask(&w, "wild.test", 1, &again) == 3);
	CHECK(ask(&w, "evil.example", 1, &again) == 3);
	CHECK(ask(&w, "evil.example", 28, &again) == 3);
	CHECK(strstr(audit_line(&w, "evil.example"), "\"event\":\"dns\",\"verdict\":\"deny\""));
	return world_end(&w);
}

WORLD_TEST(gate_relay, two_thousand_connections_at_once)
{
	enum { N = 2000 };
	static int clients[N], ups[N];
	struct rlimit limit;
	struct world w;
	int server;
	char byte;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < 16000)
		return "skip: RLIMIT_NOFILE's hard limit is below 16000";
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	WORLD_TRY(begin(&w));
	server = listen_on(UPSTREAM, 443);
	for (int i = 0; i < N; i++) {
		clients[i] = dial_name(&w, "api.test", 443);
		CHECK(clients[i] >= 0, "%d: %s", i, strerror(-clients[i]));
		CHECK(send(clients[i], "x", 1, 0) == 1);
	}
	for (int i = 0; i < N; i++) {
		ups[i] = limited(accept(server, NULL, NULL), 10);
		CHECK(ups[i] >= 0, "%d: %s", i, strerror(errno));
	}
	for (int i = 0; i < N; i++) {
		CHECK(recv(ups[i], &byte, 1, 0) == 1);
		CHECK(send(ups[i], &byte, 1, 0) == 1);
	}
	for (int i = 0; i < N; i++)
		CHECK(recv(clients[i], &byte, 1, 0) == 1 && byte == 'x', "%d", i);
	return world_end(&w);
}

/* Ticks of processor time that a process has used; -1 when it is gone. */
static long ticks_of(pid_t pid)
{
	unsigned long user, system;
	char path[64];
	FILE *f;
	int n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f)
		return -1;
	n = fscanf(f, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
		   &system);
	fclose(f);
	return n == 2 ? (long)(user + system) : -1;
}

WORLD_TEST(gate_relay, at_its_bound_it_waits_and_does_not_spin)
{
	enum { MAX = 18, SHARE = 14, MORE = 10 }; /* (200 - 64 - 25) / 6, of which 3/4 for a host */
	struct rlimit limit = { .rlim_cur = 200, .rlim_max = 200 };
	int clients[MAX], ups[MAX], late[MORE], up, server;
	struct world w;
	long ticks;
	char byte;

	setrlimit(RLIMIT_NOFILE, &limit);
	WORLD_TRY(begin(&w));
	server = listen_on(UPSTREAM, 443);
	for (int i = 0; i < MAX; i++) {
		clients[i] = dial_name(&w, i < SHARE ? "api.test" : "a.wild.test", 443);
		ups[i] = limited(accept(server, NULL, NULL), 10);
		CHECK(clients[i] >= 0 && ups[i] >= 0, "%d", i);
		/* One host has its share: the next of it is refused, and others still get through. */
		if (i == SHARE - 1) {
			late[0] = dial_name(&w, "api.test", 443);
			CHECK(late[0] < 0 || recv(late[0], &byte, 1, 0) < 0);
			CHECK(strstr(audit_line(&w, "api.test"), "\"reason\":\"busy\""));
			close(late[0]);
		}
	}
	ticks = ticks_of(w.gate);
	for (int i = 0; i < MORE; i++) {
		late[i] = dial_name(&w, "a.wild.test", 443);
		CHECK(late[i] >= 0 && send(late[i], "x", 1, 0) == 1);
	}
	sleep(1);
	CHECK(ticks_of(w.gate) - ticks < 20, "%ld ticks in a second", ticks_of(w.gate) - ticks);
	CHECK(recv(late[0], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
	/* As places get free, those who waited are served. */
	for (int i = 0; i < MAX; i++) {
		close(clients[i]);
		close(ups[i]);
	}
	for (int i = 0; i < MORE; i++) {
		up = limited(accept(server, NULL, NULL), 10);
		CHECK(up >= 0, "%d: %s", i, strerror(errno));
		CHECK(recv(up, &byte, 1, 0) == 1);
		close(up);
		close(late[i]);
	}
	return world_end(&w);
}

/* The sockets come once. What else is said is refused, the descriptors with it are closed, and what is
 * under way stays. */
WORLD_TEST(gate_relay, takes_one_message_and_no_other)
{
	struct world w;
	struct in_addr address;
	struct err err;
	int server, up, client, pair[2];
	char byte;

	WORLD_TRY(begin(&w));
	server = listen_on(UPSTREAM, 443);
	client = dial_name(&w, "api.test", 443);
	up = limited(accept(server, NULL, NULL), 10);
	CHECK(client >= 0 && up >= 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	CHECK(gate_send_sockets(w.control_fd, pair[0], NULL, 0) == 0);
	CHECK(gate_read_reply(w.control_fd, &err) == -EPROTO);
	close(pair[0]);
	CHECK(recv(limited(pair[1], 10), &byte, 1, 0) == 0, "the gate kept the descriptor");
	close(pair[1]);
	CHECK(send(w.control_fd, "t", 1, 0) == 1);
	CHECK(gate_read_reply(w.control_fd, &err) == -EPROTO);
	CHECK(ask(&w, "api.test", 1, &address) == 0);
	CHECK(send(client, "x", 1, 0) == 1 && recv(up, &byte, 1, 0) == 1);
	return world_end(&w);
}

/* How many processes have this one as their parent, by /proc. */
static int children_of(pid_t pid)
{
	char command[96];
	FILE *f;
	int n = 0;

	snprintf(command, sizeof(command), "cat /proc/%d/task/%d/children | wc -w", pid, pid);
	f = popen(command, "r");
	if (!f || fscanf(f, "%d", &n) != 1)
		n = -1;
	if (f)
		pclose(f);
	return n;
}

WORLD_TEST(gate_relay, killed_it_takes_its_helpers_along)
{
	struct world w;
	int status;
	pid_t pid;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	WORLD_TRY(begin(&w));
	CHECK(children_of(w.gate) == 1, "%d children", children_of(w.gate));
	kill(w.gate, SIGKILL);
	CHECK(waitpid(w.gate, &status, 0) == w.gate);
	pid = wait(&status); /* the zygote, now ours: it must end by itself */
	CHECK(pid > 0);
	CHECK(wait(&status) < 0 && errno == ECHILD);
	return NULL;
}

static int refuse_to_confine(struct err *err)
{
	return err_set(err, EPERM, "cannot confine");
}

WORLD_TEST(gate_relay, unconfined_it_does_not_serve)
{
	static const struct gate_confine bad[] = { { .gate = refuse_to_confine },
						   { .resolver = refuse_to_confine } };

	for (size_t i = 0; i < 2; i++) {
		int status, told[2];
		struct err err = { "" };
		pid_t pid;

		CHECK(pipe(told) == 0);
		pid = fork();
		if (pid == 0) {
			/* The log's descriptor is the one that stays open. */
			struct gate_config config = { .control_fd = -1,
						      .audit_fd = told[1],
						      .confine = bad[i] };
			int rc = gate_run(&config, &err);

			_exit(write(told[1], err.text, strlen(err.text)) < 0 || rc != -EPERM);
		}
		close(told[1]);
		CHECK(read(told[0], err.text, sizeof(err.text) - 1) > 0);
		CHECK(strstr(err.text, "cannot confine"), "%s", err.text);
		CHECK(waitpid(pid, &status, 0) == pid && status == 0, "status %#x",
		      (unsigned)status);
	}
	return NULL;
}
