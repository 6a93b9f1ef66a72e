/* SPDX-License-Identifier: Apache-2.0
 * Connections handed over, by a gate behind its real filter: the same refusals as for relayed ones, and a
 * proxy that breaks the form or reads nothing. */
#include "base/fd.h"
#include "base/gate_wire.h"
#include "runtime/landlock.h"
#include "runtime/seccomp.h"

#include "test_gate_world.h"

static int confine_gate(struct err *err)
{
	int abi;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	TRY(landlock_gate(&abi, err));
	TRY(seccomp_load(SECCOMP_GATE, err));
	return seccomp_prove(SECCOMP_GATE, err);
}

static const struct gate_target targets[] = {
	{ .host = "live.test", .port = 443, .allow_private = true },
	{ .host = "dead.test", .port = 443, .allow_private = true },
	{ .host = "private.test", .port = 443 },
	{ .host = "missing.test", .port = 443 },
	{ .host = "closed.test", .port = 443, .address = "127.0.0.3" },
	{ .host = "named.test", .port = 443, .address = "127.0.0.2", .address_port = 444 },
	{ .host = "127.0.0.2", .port = 443, .allow_private = true },
	{ .host = "hole.test", .port = 443, .address = "10.9.0.9" },
	{ .host = "pit.test", .port = 443, .address = "10.9.0.9" },
	{ .host = "unreachable.test", .port = 443, .address = "10.9.255.255" },
	{ .host = "never.test", .port = 443, .address = "255.255.255.255" },
};

static const struct name_row rows[] = {
	{ .name = "live.test", .a = "127.0.0.2" },
	{ .name = "private.test", .a = "127.0.0.2" },
	{ .name = "dead.test", .is_silent = true },
	{ 0 },
};

/* A gate with a channel: w's, and its other end. */
static const char *start_gate(struct world *w, int *ret_fd)
{
	struct gate_config config = { .targets = targets,
				      .target_count = sizeof(targets) / sizeof(targets[0]),
				      .lookup_timeout_s = 2,
				      .confine.gate = confine_gate };
	uint16_t port = 443;
	int pair[2];

	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	config.handout_fd = pair[1];
	WORLD_TRY(world_start_gate(w, config, &port, 1));
	close(pair[1]);
	*ret_fd = limited(pair[0], 10);
	return NULL;
}

static const char *start(struct world *w, int *ret_fd)
{
	WORLD_TRY(world_make(w));
	WORLD_TRY(use_name_server(w, rows));
	return start_gate(w, ret_fd);
}

static bool send_ask(int fd, uint32_t id, const char *host, uint16_t port)
{
	struct gate_ask message = { .id = id, .port = port };
	size_t len = strlen(host);

	memcpy(message.host, host, len);
	return send(fd, &message, GATE_ASK_HEAD + len, MSG_NOSIGNAL) > 0;
}

/* The next answer, its detail a string; *ret_fd -1: none came along. False: none, or not well formed. */
static bool read_answer(int fd, struct gate_reply *ret, int *ret_fd)
{
	size_t count = 0;
	int fds[4];
	ssize_t n;

	memset(ret, 0, sizeof(*ret));
	n = fd_recv(fd, ret, sizeof(*ret), fds, 4, &count);
	*ret_fd = count ? fds[0] : -1;
	return n >= (ssize_t)GATE_REPLY_HEAD && n < (ssize_t)sizeof(*ret) &&
	       count == (ret->rc == 0) && (ret->rc == 0) == (ret->stage == GATE_STAGE_OK);
}

WORLD_TEST(gate_handout, hands_over_a_connected_socket)
{
	static const struct {
		const char *host;
		uint16_t at;
	} cases[] = { { "live.test", 443 },
		      { "LIVE.test.", 443 },
		      { "named.test", 444 },
		      { "127.0.0.2", 443 } };
	struct gate_reply answer;
	struct world w;
	char buf[8];
	int fd, got;

	WORLD_TRY(start(&w, &fd));
	for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sockaddr_in peer = { 0 };
		socklen_t len = sizeof(peer);
		int server = listen_on("127.0.0.2", cases[i].at), up;

		CHECK(send_ask(fd, 7 + i, cases[i].host, 443));
		CHECK(read_answer(fd, &answer, &got), "%s", cases[i].host);
		CHECK(answer.id == 7 + i && answer.rc == 0, "%s: %s", cases[i].host, answer.detail);
		CHECK((up = limited(accept(server, NULL, NULL), 10)) >= 0);
		CHECK(getpeername(got, (struct sockaddr *)&peer, &len) == 0);
		CHECK(ntohs(peer.sin_port) == cases[i].at &&
		      peer.sin_addr.s_addr == htonl(0x7f000002));
		CHECK(fcntl(got, F_GETFL) & O_NONBLOCK);
		CHECK(send(got, "ping", 4, 0) == 4 && recv(up, buf, 4, MSG_WAITALL) == 4);
		close(got);
		CHECK(recv(up, buf, 1, 0) == 0); /* the gate has kept none of it */
		close(up);
		close(server);
	}
	return world_end(&w);
}

WORLD_TEST(gate_handout, refuses_as_for_a_relayed_connection)
{
	static const struct {
		const char *host;
		uint16_t port;
		enum gate_stage stage;
		int rc;
		const char *reason;
	} cases[] = {
		{ "evil.test", 443, GATE_STAGE_REFUSED, -EACCES, "not_routed" },
		{ "live.test", 80, GATE_STAGE_REFUSED, -EACCES, "not_routed" },
		{ "127.0.0.4", 443, GATE_STAGE_REFUSED, -EACCES, "not_routed" },
		{ "::ffff:127.0.0.9", 443, GATE_STAGE_REFUSED, -EACCES, "not_routed" },
		{ "198.18.0.1", 443, GATE_STAGE_REFUSED, -EACCES, "not_routed" },
		{ "private.test", 443, GATE_STAGE_REFUSED, -EACCES, "private_address" },
		{ "missing.test", 443, GATE_STAGE_DNS, -ENOENT, "dns_nxdomain" },
		{ "dead.test", 443, GATE_STAGE_DNS, -ETIMEDOUT, "dns_timeout" },
		{ "closed.test", 443, GATE_STAGE_CONNECT, -ECONNREFUSED, "connect_refused" },
	};
	struct gate_reply answer;
	struct world w;
	int fd, got;

	WORLD_TRY(start(&w, &fd));
	for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *line;

		CHECK(send_ask(fd, i, cases[i].host, cases[i].port));
		CHECK(read_answer(fd, &answer, &got), "%s", cases[i].host);
		CHECK(answer.stage == cases[i].stage && answer.rc == cases[i].rc, "%s: %d %d %s",
		      cases[i].host, answer.stage, answer.rc, answer.detail);
		CHECK(strstr(answer.detail, cases[i].reason), "%s: %s", cases[i].host,
		      answer.detail);
		line = audit_line(&w, cases[i].reason);
		CHECK(strstr(line, "\"event\":\"gate\""), "%s: %s", cases[i].host, line);
	}
	return world_end(&w);
}

/* Each ends the channel and nothing else. */
static const struct {
	const char *what;
	const char *bytes;
	size_t len;
	bool is_after_a_question; /* with id 1, under way */
} malformed[] = {
	{ "shorter than its head", "\1\0\0\0\0", 5, false },
	{ "no host", "\1\0\0\0\273\1", 6, false },
	{ "a NUL in the host", "\1\0\0\0\273\1live.test\0x", 17, false },
	{ "a blank in the host", "\1\0\0\0\273\1live test", 15, false },
	{ "a newline in the host", "\1\0\0\0\273\1live.test\n", 16, false },
	{ "a host outside ASCII", "\1\0\0\0\273\1li\303\274.test", 14, false },
	{ "a host of a dot", "\1\0\0\0\273\1.", 7, false },
	{ "a cancellation with a host", "\1\0\0\0\0\0live.test", 15, false },
	{ "an id that is under way", "\1\0\0\0\273\1live.test", 15, true },
};

static const char *break_the_form(struct world *w, const char *what, bool is_after_a_question,
				  const void *bytes, size_t len)
{
	int server, client, fd, status;
	char byte;

	WORLD_TRY(start_gate(w, &fd));
	server = listen_on("127.0.0.2", 443);
	if (is_after_a_question)
		CHECK(send_ask(fd, 1, "dead.test", 443));
	CHECK(send(fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len);
	CHECK(recv(fd, &byte, 1, 0) == 0, "%s: %s", what, strerror(errno));
	CHECK(strstr(audit_line(w, "bad_request"), "\"verdict\":\"error\""), "%s", what);
	client = dial_name(w, "live.test", 443);
	CHECK(client >= 0 && accept(server, NULL, NULL) >= 0, "%s", what);
	close(client);
	close(server);
	close(fd);
	close(w->control_fd);
	CHECK(waitpid(w->gate, &status, 0) == w->gate && status == 0, "%s", what);
	return NULL;
}

WORLD_TEST(gate_handout, ends_the_channel_of_who_breaks_the_form)
{
	static const char too_long[sizeof(struct gate_ask) + 1] = "\1\0\0\0\273\1";
	struct world w;

	WORLD_TRY(world_make(&w));
	WORLD_TRY(use_name_server(&w, rows));
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++)
		WORLD_TRY(break_the_form(&w, malformed[i].what, malformed[i].is_after_a_question,
					 malformed[i].bytes, malformed[i].len));
	WORLD_TRY(break_the_form(&w, "too long", false, too_long, sizeof(too_long)));
	kill(w.name_server, SIGKILL);
	return NULL;
}

WORLD_TEST(gate_handout, a_cancelled_number_is_free_again)
{
	int server, fd, got;
	struct gate_reply answer;
	struct world w;

	WORLD_TRY(start(&w, &fd));
	server = listen_on("127.0.0.2", 443);
	CHECK(send_ask(fd, 1, "dead.test", 443));
	CHECK(send_ask(fd, 1, "", 0));
	CHECK(send_ask(fd, 99, "", 0)); /* of what was never asked, or answered meanwhile */
	CHECK(send_ask(fd, 1, "live.test", 443));
	CHECK(read_answer(fd, &answer, &got) && answer.id == 1 && answer.rc == 0, "%s",
	      answer.detail);
	CHECK(accept(server, NULL, NULL) >= 0);
	return world_end(&w);
}

WORLD_TEST(gate_handout, who_does_not_read_gets_no_more_than_it_asked_for)
{
	enum { MANY = 2000 };
	static bool is_answered[MANY];
	int server, fd, got, client, asked = 0;
	struct gate_reply answer;
	struct world w;

	WORLD_TRY(start(&w, &fd));
	server = listen_on("127.0.0.2", 443);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (asked < MANY &&
	       send_ask(fd, (uint32_t)asked, asked % 3 ? "evil.test" : "live.test", 443))
		asked++;
	client = dial_name(&w, "live.test", 443); /* the gate waits for nobody */
	CHECK(client >= 0);
	fcntl(fd, F_SETFL, 0);
	for (int i = 0; i < asked; i++) {
		CHECK(read_answer(fd, &answer, &got), "answer %d of %d", i, asked);
		CHECK(answer.id < (uint32_t)asked && !is_answered[answer.id]);
		is_answered[answer.id] = true;
		CHECK((answer.rc == 0) == (answer.id % 3 == 0), "%u: %s", answer.id, answer.detail);
		if (got >= 0)
			close(got);
	}
	CHECK(asked > 100);
	CHECK(recv(fd, &answer, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
	close(server);
	return world_end(&w);
}

WORLD_TEST(gate_handout, a_host_has_its_share_and_no_more)
{
	/* Of 200 descriptors the gate makes 18 places, and three quarters of them for one host. */
	const struct rlimit few = { 200, 200 };
	int server, fd, got, busy = 0;
	struct gate_reply answer;
	struct world w;

	CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
	WORLD_TRY(start(&w, &fd));
	server = listen_on("127.0.0.2", 443);
	for (uint32_t i = 0; i < 20; i++)
		CHECK(send_ask(fd, i, "dead.test", 443));
	CHECK(send_ask(fd, 20, "live.test", 443));
	do {
		CHECK(read_answer(fd, &answer, &got));
		busy += answer.rc == -EBUSY;
	} while (answer.id != 20);
	CHECK(answer.rc == 0, "%s", answer.detail);
	CHECK(busy == 6, "%d", busy);
	CHECK(strstr(audit_line(&w, "busy"), "dead.test"));
	CHECK(accept(server, NULL, NULL) >= 0);
	return world_end(&w);
}

/* Half-open sockets for all there are: of 1600 descriptors the gate makes 200 of them, three quarters for
 * one host, and more places than that. Behind them in line: dials that will fail at once, since a
 * broadcast address is no TCP peer. */
static const char *fill_the_line(int fd)
{
	uint32_t id = 0;

	CHECK(run("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up "
		  "&&"
		  "ip addr add 10.9.0.1/16 dev v0 && "
		  "ip neigh add 10.9.0.9 lladdr 02:00:00:00:00:99 dev v0") == 0);
	while (id < 150)
		CHECK(send_ask(fd, id++, "hole.test", 443));
	while (id < 200)
		CHECK(send_ask(fd, id++, "pit.test", 443));
	while (id < 210)
		CHECK(send_ask(fd, id++, "unreachable.test", 443));
	return NULL;
}

WORLD_TEST(gate_handout, a_channel_that_ends_while_its_dials_are_in_line)
{
	enum { BATCH = 64 }; /* questions of one turn: the gate sees the end only in its next one */
	const struct rlimit some = { 1600, 1600 };
	int fd, got, status, client, server;
	struct gate_reply answer;
	struct world w;

	CHECK(setrlimit(RLIMIT_NOFILE, &some) == 0);
	WORLD_TRY(start(&w, &fd));
	WORLD_TRY(fill_the_line(fd));
	/* Judged after all of those were begun, and the last thing of its turn. */
	CHECK(send_ask(fd, 1000, "never.test", 443) && read_answer(fd, &answer, &got));
	CHECK(answer.id == 1000, "%u was not in line: %s", answer.id, answer.detail);
	CHECK(kill(w.gate, SIGSTOP) == 0 && waitpid(w.gate, &status, WUNTRACED) == w.gate);
	CHECK(send_ask(fd, 0, "", 0)); /* frees a half-open socket: the line moves */
	for (uint32_t i = 1; i < BATCH; i++)
		CHECK(send_ask(fd, 2000 + i, "", 0)); /* none of these was asked */
	close(fd);
	CHECK(kill(w.gate, SIGCONT) == 0);
	server = listen_on("127.0.0.2", 443);
	client = dial_name(&w, "live.test", 443);
	CHECK(client >= 0 && accept(server, NULL, NULL) >= 0, "the gate is gone");
	return world_end(&w);
}
