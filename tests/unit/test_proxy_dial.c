/* SPDX-License-Identifier: Apache-2.0
 *
 * Dialling: by a gate that these tests play (what is asked, every answer, one that breaks the rules), and by
 * ourselves in a network namespace with a name server, a host that is silent and the rules on addresses. */
#include "proxy/dial.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/gate_wire.h"
#include "proxy/loop.h"
#include "proxy/settings.h"
#include "test_gate_world.h"

static struct settings settings;

/* What a dial said, and when enough have spoken. */
struct outcome {
	struct dial *dial;
	int fd;
	enum dial_failure failure;
	char detail[300];
	uint32_t lookup_us, connect_us;
	unsigned times;
};

static unsigned outstanding;

static void on_done(void *ctx, const struct dial_result *result)
{
	struct outcome *out = ctx;

	out->fd = result->fd;
	out->failure = result->failure;
	out->lookup_us = result->lookup_us;
	out->connect_us = result->connect_us;
	snprintf(out->detail, sizeof(out->detail), "%s", result->detail ? result->detail : "");
	out->times++;
	if (!--outstanding)
		loop_stop();
}

static void dial(struct outcome *out, const char *host, uint16_t port)
{
	*out = (struct outcome){ .fd = -1 };
	outstanding++;
	out->dial = dial_start(host, port, on_done, out);
}

static void stop_due(struct timer *timer)
{
	(void)timer;
	loop_stop();
}

/* Runs until every dial has spoken, or `ms` are over. */
static bool run_for(uint64_t ms)
{
	struct timer limit = { .on_due = stop_due };
	struct err err;

	if (!outstanding)
		return true;
	timer_set(&limit, ms);
	if (loop_run(&err) < 0)
		return false;
	timer_cancel(&limit);
	return !outstanding;
}

/* ---- the gate ---- */

static int gate_end; /* the test's end of its socket */

static const char *begin_with_gate(void)
{
	int pair[2];
	struct err err;

	proxy_settings = &settings;
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	gate_end = pair[1];
	CHECK(loop_init(&err) == 0);
	CHECK(dial_init(pair[0], true, &err) == 0, "%s", err.text);
	return NULL;
}

/* Reads the next question; false when there is none. */
static bool next_ask(struct gate_ask *ask, size_t *host_len)
{
	ssize_t n;

	*ask = (struct gate_ask){ 0 };
	n = recv(gate_end, ask, sizeof(*ask), MSG_DONTWAIT);
	*host_len = n > 0 ? (size_t)n - GATE_ASK_HEAD : 0;
	return n >= (ssize_t)GATE_ASK_HEAD;
}

static void answer(uint32_t id, int32_t rc, enum gate_stage stage, const char *detail, int fd)
{
	struct gate_reply reply = {
		.id = id, .rc = rc, .lookup_us = 11, .connect_us = 22, .stage = (uint8_t)stage
	};

	memcpy(reply.detail, detail, strlen(detail));
	(void)!fd_send(gate_end, &reply, GATE_REPLY_HEAD + strlen(detail), &fd, fd >= 0);
}

WORLD_TEST(proxy_dial, the_gate_is_asked_by_name_and_hands_a_socket_over)
{
	struct outcome one, two;
	struct gate_ask ask;
	size_t len;
	int pipe_fds[2];

	WORLD_TRY(begin_with_gate());
	CHECK(fd_pipe(pipe_fds) == 0);
	dial(&one, "a.test", 443);
	dial(&two, "b.example", 80);
	CHECK(next_ask(&ask, &len) && ask.port == 443 && len == 6 &&
	      !memcmp(ask.host, "a.test", 6));
	answer(ask.id, 0, GATE_STAGE_OK, "", pipe_fds[1]);
	CHECK(next_ask(&ask, &len) && ask.port == 80 && len == 9);
	answer(ask.id, -EACCES, GATE_STAGE_REFUSED, "private_address", -1);
	CHECK(run_for(5000));
	CHECK(one.times == 1 && one.fd >= 0 && one.lookup_us == 11 && one.connect_us == 22);
	CHECK(write(one.fd, "x", 1) == 1 && fcntl(one.fd, F_GETFD) == FD_CLOEXEC);
	CHECK(two.times == 1 && two.fd == -1 && two.failure == DIAL_REFUSED);
	CHECK(!strcmp(two.detail, "private_address"));
	return NULL;
}

WORLD_TEST(proxy_dial, each_stage_has_its_failure)
{
	static const struct {
		enum gate_stage stage;
		enum dial_failure failure;
	} rows[] = { { GATE_STAGE_DNS, DIAL_DNS },
		     { GATE_STAGE_CONNECT, DIAL_CONNECT },
		     { GATE_STAGE_REFUSED, DIAL_REFUSED } };
	struct gate_ask ask;
	struct outcome out;
	size_t len;

	WORLD_TRY(begin_with_gate());
	for (size_t i = 0; i < 3; i++) {
		dial(&out, "a.test", 443);
		CHECK(next_ask(&ask, &len));
		answer(ask.id, -EIO, rows[i].stage, "", -1);
		CHECK(run_for(5000) && out.failure == rows[i].failure);
	}
	return NULL;
}

/* Whether the other end of a pipe was closed everywhere. */
static bool is_closed_for_writing(int read_fd)
{
	char byte;

	fcntl(read_fd, F_SETFL, O_NONBLOCK);
	return read(read_fd, &byte, 1) == 0;
}

WORLD_TEST(proxy_dial, a_socket_that_nobody_wants_is_closed)
{
	struct outcome gone, next;
	struct gate_ask ask, cancel, later;
	int pipe_fds[2];
	size_t len;

	WORLD_TRY(begin_with_gate());
	CHECK(fd_pipe(pipe_fds) == 0);
	dial(&gone, "a.test", 443);
	CHECK(next_ask(&ask, &len));
	dial_cancel(gone.dial);
	outstanding--;
	CHECK(next_ask(&cancel, &len) && cancel.id == ask.id && cancel.port == 0 && len == 0);
	answer(ask.id, 0, GATE_STAGE_OK, "", pipe_fds[1]); /* the two crossed */
	close(pipe_fds[1]);
	dial(&next, "a.test", 443);
	CHECK(next_ask(&later, &len) && later.id != ask.id);
	answer(later.id, -EIO, GATE_STAGE_DNS, "", -1);
	CHECK(run_for(5000));
	CHECK(gone.times == 0 && next.times == 1 && next.fd == -1);
	CHECK(is_closed_for_writing(pipe_fds[0]));
	return NULL;
}

/* More than the socket has room for: they wait in line. */
WORLD_TEST(proxy_dial, a_full_socket_is_waited_for)
{
	enum { MANY = 3000 };
	static struct outcome out[MANY];
	struct gate_ask ask;
	unsigned asked = 0;
	uint32_t last = 0;
	size_t len;

	WORLD_TRY(begin_with_gate());
	for (size_t i = 0; i < MANY; i++)
		dial(&out[i], "a.test", 443);
	for (int round = 0; outstanding && round < MANY; round++) {
		while (next_ask(&ask, &len)) {
			CHECK(ask.id > last);
			last = ask.id;
			answer(ask.id, -EIO, GATE_STAGE_CONNECT, "no", -1);
			asked++;
		}
		run_for(20);
	}
	CHECK(asked == MANY && !outstanding, "asked %u", asked);
	for (size_t i = 0; i < MANY; i++)
		CHECK(out[i].times == 1);
	return NULL;
}

static void malformed(int row, uint32_t id, int fd)
{
	struct gate_reply reply = { .id = id };
	size_t len = GATE_REPLY_HEAD;

	switch (row) {
	case 0: /* short */
		len--;
		break;
	case 1: /* a failure at no stage */
		reply.rc = -EIO;
		break;
	case 2: /* no such stage */
		reply.rc = -EIO;
		reply.stage = GATE_STAGES;
		break;
	case 3: /* success at a stage */
		reply.stage = GATE_STAGE_DNS;
		break;
	case 4: /* a failure with a socket */
		reply.rc = -EIO;
		reply.stage = GATE_STAGE_DNS;
		break;
	default:
		reply.rc = 1;
	}
	(void)!fd_send(gate_end, &reply, len, &fd, row == 4);
}

WORLD_TEST(proxy_dial, a_gate_that_breaks_the_rules_is_left)
{
	for (int row = 0; row < 6; row++) {
		struct outcome one, two, later;
		struct gate_ask ask;
		int pipe_fds[2];
		size_t len;

		WORLD_TRY(begin_with_gate());
		CHECK(fd_pipe(pipe_fds) == 0);
		dial(&one, "a.test", 443);
		dial(&two, "b.test", 443);
		CHECK(next_ask(&ask, &len));
		malformed(row, ask.id, pipe_fds[1]);
		close(pipe_fds[1]);
		CHECK(run_for(5000), "row %d", row);
		CHECK(one.fd == -1 && one.failure == DIAL_CONNECT && one.times == 1);
		CHECK(two.fd == -1 && strstr(two.detail, "gate is gone"), "%s", two.detail);
		CHECK(is_closed_for_writing(pipe_fds[0]));
		dial(&later, "a.test", 443);
		CHECK(later.times == 0 && run_for(5000) && later.fd == -1);
		close(gate_end);
	}
	return NULL;
}

WORLD_TEST(proxy_dial, a_gate_that_ends_fails_every_dial)
{
	struct outcome out;

	WORLD_TRY(begin_with_gate());
	dial(&out, "a.test", 443);
	close(gate_end);
	CHECK(run_for(5000) && out.times == 1 && out.failure == DIAL_CONNECT);
	return NULL;
}

/* The kernel delivers the answer without its socket then. */
WORLD_TEST(proxy_dial, a_socket_without_a_free_descriptor_fails_that_dial)
{
	struct outcome one, two;
	struct rlimit limit;
	struct gate_ask ask;
	int pipe_fds[2], last;
	size_t len;

	WORLD_TRY(begin_with_gate());
	CHECK(fd_pipe(pipe_fds) == 0);
	dial(&one, "a.test", 443);
	CHECK(next_ask(&ask, &len));
	answer(ask.id, 0, GATE_STAGE_OK, "", pipe_fds[1]);
	last = dup(0);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = (rlim_t)last;
	close(last);
	setrlimit(RLIMIT_NOFILE, &limit);
	CHECK(run_for(5000) && one.fd == -1 && !strcmp(one.detail, "out of descriptors"));
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	dial(&two, "a.test", 443);
	CHECK(next_ask(&ask, &len));
	answer(ask.id, 0, GATE_STAGE_OK, "", pipe_fds[1]);
	CHECK(run_for(5000) && two.fd >= 0);
	return NULL;
}

/* ---- by ourselves ---- */

static const struct name_row rows[] = {
	{ .name = "four.test", .a = "127.0.0.2" },
	{ .name = "six.test", .aaaa = "::1" },
	{ .name = "both.test", .a = "127.0.0.2", .aaaa = "::1" },
	{ .name = "hole.test", .a = "127.0.0.2", .aaaa = "2a00:9::2" },
	{ .name = "dead.test", .is_silent = true },
	{ .name = "meta.test", .a = "169.254.169.254" },
	{ .name = "mapped.test", .aaaa = "::ffff:127.0.0.1" },
	{ .name = "own.test", .a = "8.9.10.11" },
	{ .name = "missing.test.lan.test", .a = "127.0.0.2" },
	{ 0 },
};

static const char *begin_alone(struct world *w, bool checks)
{
	struct err err;

	proxy_settings = &settings;
	WORLD_TRY(world_make(w));
	CHECK(run("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up "
		  "&& ip addr add 8.9.10.11/24 dev v0 && ip addr add 2a00:9::1/64 dev v0 nodad &&"
		  "ip neigh add 2a00:9::2 lladdr 02:00:00:00:00:99 dev v0") == 0);
	WORLD_TRY(use_name_server(w, rows));
	CHECK(loop_init(&err) == 0);
	CHECK(dial_init(-1, checks, &err) == 0);
	return NULL;
}

static const char *allow(const char *host)
{
	CHECK(strlist_add(&settings.allow_private, host) == 0);
	return NULL;
}

static const struct {
	const char *host, *says;
} never[] = {
	{ "127.0.0.1", "127.0.0.1: private_address (loopback)" },
	{ "::1", "::1: private_address (loopback)" },
	{ "::ffff:127.0.0.1", "private_address" },
	{ "10.1.2.3", "private_address" },
	{ "169.254.169.254", "metadata_address" },
	{ "0.0.0.0", "never_dialled" },
	{ "four.test", "127.0.0.2: private_address" },
	{ "both.test", "private_address" },
	{ "mapped.test", "127.0.0.1: private_address" },
	{ "8.9.10.11", "own_address (this host)" },
	{ "own.test", "own_address (this host)" },
};

WORLD_TEST(proxy_dial, addresses_that_are_not_global_are_refused)
{
	struct outcome out;
	struct world w;

	WORLD_TRY(begin_alone(&w, true));
	CHECK(listen_on("0.0.0.0", 443) >= 0);
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		dial(&out, never[i].host, 443);
		CHECK(run_for(8000), "%s", never[i].host);
		CHECK(out.fd == -1 && out.failure == DIAL_REFUSED, "%s: %s", never[i].host,
		      out.detail);
		CHECK(strstr(out.detail, never[i].says), "%s: %s", never[i].host, out.detail);
	}
	return NULL;
}

WORLD_TEST(proxy_dial, what_is_named_may_be_private_but_not_metadata)
{
	struct outcome out;
	struct world w;

	WORLD_TRY(begin_alone(&w, true));
	CHECK(listen_on("0.0.0.0", 443) >= 0 && listen_on("0.0.0.0", 8080) >= 0);
	WORLD_TRY(allow("four.test"));
	WORLD_TRY(allow("meta.test"));
	settings.has_upstream = true;
	settings.upstream.place = (struct authority){ "127.0.0.1", 8080 };
	dial(&out, "four.test", 443);
	CHECK(run_for(8000) && out.fd >= 0, "%s", out.detail);
	dial(&out, "127.0.0.1", 8080);
	CHECK(run_for(8000) && out.fd >= 0, "%s", out.detail);
	dial(&out, "127.0.0.1", 443);
	CHECK(run_for(8000) && out.fd == -1 && out.failure == DIAL_REFUSED);
	dial(&out, "meta.test", 443);
	CHECK(run_for(8000) && out.fd == -1 && strstr(out.detail, "metadata_address"));
	return NULL;
}

static const char *peer_of(int fd)
{
	static char text[ADDRESS_TEXT_BYTES];
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct address ip;

	if (getpeername(fd, (struct sockaddr *)&ss, &len) < 0 ||
	    !address_from_sockaddr((struct sockaddr *)&ss, &ip))
		return "none";
	return address_format(&ip, text);
}

static int listen_everywhere(uint16_t port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(fd, 100) < 0 ? -1 : fd;
}

WORLD_TEST(proxy_dial, families_take_turns_ipv6_first)
{
	struct outcome out;
	struct world w;

	WORLD_TRY(begin_alone(&w, false));
	CHECK(listen_everywhere(443) >= 0);
	dial(&out, "six.test", 443);
	CHECK(run_for(8000) && !strcmp(peer_of(out.fd), "::1"), "%s", out.detail);
	dial(&out, "four.test", 443);
	CHECK(run_for(8000) && !strcmp(peer_of(out.fd), "127.0.0.2"), "%s", out.detail);
	dial(&out, "both.test", 443);
	CHECK(run_for(8000) && !strcmp(peer_of(out.fd), "::1"), "%s", out.detail);
	CHECK(out.lookup_us > 0 && (fcntl(out.fd, F_GETFL) & O_NONBLOCK));
	return NULL;
}

WORLD_TEST(proxy_dial, a_silent_address_costs_250_ms_a_refusing_one_nothing)
{
	uint64_t start = now_ms(), took;
	struct outcome out;
	struct world w;
	int fd;

	WORLD_TRY(begin_alone(&w, false));
	fd = listen_on("127.0.0.2", 443);
	start = now_ms();
	dial(&out, "both.test", 443); /* nobody listens at ::1 */
	CHECK(run_for(8000) && !strcmp(peer_of(out.fd), "127.0.0.2"), "%s", out.detail);
	CHECK(now_ms() - start < 200);
	start = now_ms();
	dial(&out, "hole.test", 443);
	CHECK(run_for(8000) && !strcmp(peer_of(out.fd), "127.0.0.2"), "%s", out.detail);
	took = now_ms() - start;
	CHECK(took >= 240 && took < 2000, "%d ms", (int)took);
	close(fd);
	dial(&out, "both.test", 443);
	CHECK(run_for(8000) && out.fd == -1 && out.failure == DIAL_CONNECT);
	CHECK(strstr(out.detail, "Connection refused"), "%s", out.detail);
	return NULL;
}

WORLD_TEST(proxy_dial, names_that_are_missing_or_never_answered)
{
	struct outcome missing, dead, four;
	struct world w;

	WORLD_TRY(begin_alone(&w, false));
	CHECK(listen_on("127.0.0.2", 443) >= 0);
	dial(&missing, "missing.test", 443); /* lan.test is searched by others */
	CHECK(run_for(8000) && missing.fd == -1 && missing.failure == DIAL_DNS, "%d %s", missing.fd,
	      missing.detail);
	dial(&dead, "dead.test", 443);
	dial(&four, "four.test", 443);
	while (!four.times)
		run_for(20);
	CHECK(four.fd >= 0 && dead.times == 0);
	CHECK(run_for(20000) && dead.fd == -1 && dead.failure == DIAL_DNS);
	return NULL;
}

WORLD_TEST(proxy_dial, etc_hosts_counts_first)
{
	char path[] = "/tmp/dial-test-XXXXXX";
	struct outcome out;
	struct world w;
	int fd;

	WORLD_TRY(begin_alone(&w, false));
	fd = mkstemp(path);
	CHECK(fd >= 0 && write_file(path, "127.0.0.7 dead.test four.test\n") == 0);
	CHECK(mount(path, "/etc/hosts", NULL, MS_BIND, NULL) == 0);
	close(fd);
	unlink(path);
	CHECK(listen_on("127.0.0.7", 443) >= 0);
	dial(&out, "dead.test", 443);
	CHECK(run_for(8000) && !strcmp(peer_of(out.fd), "127.0.0.7"), "%s", out.detail);
	CHECK(out.lookup_us < 1000 * 1000, "%u: the server was asked", out.lookup_us);
	return NULL;
}

static unsigned open_descriptors(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* In each of its states. */
WORLD_TEST(proxy_dial, a_cancelled_dial_leaves_nothing)
{
	struct outcome looking, connecting, literal;
	unsigned before;
	struct world w;

	WORLD_TRY(begin_alone(&w, false));
	CHECK(listen_on("127.0.0.2", 443) >= 0);
	dial(&looking, "dead.test", 443); /* opens the resolver's own */
	run_for(50);
	before = open_descriptors();
	dial(&connecting, "2a00:9::2", 443);
	dial(&literal, "127.0.0.2", 443);
	dial_cancel(literal.dial);
	outstanding--;
	run_for(100);
	CHECK(open_descriptors() == before + 1);
	dial_cancel(connecting.dial);
	dial_cancel(looking.dial);
	outstanding -= 2;
	CHECK(open_descriptors() == before);
	outstanding++;
	CHECK(!run_for(2500)); /* c-ares ends its question, to nobody */
	CHECK(!looking.times && !connecting.times && !literal.times);
	return NULL;
}
