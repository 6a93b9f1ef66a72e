/* SPDX-License-Identifier: Apache-2.0
 * Resolving and dialling, over real namespaces with a name server of our own; Happy Eyeballs. */
#include "netns/gate_dial.h"

#include "test_gate_world.h"

static const struct gate_target targets[] = {
	{ .host = "live.test", .port = 443, .allow_private = true },
	{ .host = "dead.test", .port = 443, .allow_private = true },
	{ .host = "*.dead.test", .port = 443, .allow_private = true },
	{ .host = "both.test", .port = 443, .allow_private = true },
	{ .host = "hole.test", .port = 443, .allow_private = true },
	{ .host = "rebound.test", .port = 443 },
	{ .host = "own.test", .port = 443 },
	{ .host = "meta.test", .port = 443, .allow_private = true },
	{ .host = "missing.test", .port = 443 },
};

static const struct name_row rows[] = {
	{ .name = "live.test", .a = "127.0.0.2" },
	{ .name = "dead.test", .is_silent = true },
	{ .name = "a.dead.test", .is_silent = true },
	{ .name = "b.dead.test", .is_silent = true },
	{ .name = "c.dead.test", .is_silent = true },
	{ .name = "d.dead.test", .is_silent = true },
	{ .name = "e.dead.test", .is_silent = true },
	{ .name = "both.test", .a = "127.0.0.2", .aaaa = "2a00:9::2" },
	{ .name = "hole.test", .aaaa = "2a00:9::2" },
	{ .name = "rebound.test", .a = "127.0.0.1" },
	{ .name = "own.test", .a = "8.9.10.11" },
	{ .name = "meta.test", .a = "169.254.169.254" },
	{ .name = "missing.test.lan.test", .a = "127.0.0.2" },
	{ 0 },
};

static const uint16_t ports[] = { 443 };

/* H gets a black hole: a veth pair that ends nowhere, with neighbours that do not exist. */
static const char *begin(struct world *w, unsigned lookup_s, unsigned connect_s)
{
	struct gate_config config = { .targets = targets,
				      .target_count = sizeof(targets) / sizeof(targets[0]),
				      .lookup_timeout_s = lookup_s,
				      .connect_timeout_s = connect_s };

	WORLD_TRY(world_make(w));
	CHECK(run("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up "
		  "&&"
		  "ip addr add 8.9.10.11/24 dev v0 && ip addr add 2a00:9::1/64 dev v0 nodad &&"
		  "ip neigh add 2a00:9::2 lladdr 02:00:00:00:00:99 dev v0") == 0);
	WORLD_TRY(use_name_server(w, rows));
	return world_start_gate(w, config, ports, 1);
}

WORLD_TEST(gate_dial, a_dead_name_server_delays_only_its_own_names)
{
	static const char *const dead[] = { "dead.test",   "a.dead.test", "b.dead.test",
					    "c.dead.test", "d.dead.test", "e.dead.test" };
	int dead_fds[6 * 20], server, fd;
	struct world w;
	uint64_t start;
	char byte;

	WORLD_TRY(begin(&w, 2, 5));
	server = listen_on("127.0.0.2", 443);
	for (size_t i = 0; i < 6 * 20; i++) {
		dead_fds[i] = dial_name(&w, dead[i % 6], 443);
		CHECK(dead_fds[i] >= 0);
	}
	for (int i = 0; i < 5; i++) {
		start = now_ms();
		fd = dial_name(&w, "live.test", 443);
		CHECK(fd >= 0 && accept(server, NULL, NULL) >= 0);
		CHECK(now_ms() - start < 500, "the live name waited %d ms",
		      (int)(now_ms() - start));
	}
	/* The dead ones are told so, each within its time. */
	CHECK(recv(dead_fds[0], &byte, 1, 0) < 0 && errno == ECONNRESET, "%s", strerror(errno));
	CHECK(strstr(audit_line(&w, "dead.test"), "\"reason\":\"dns_timeout\""));
	for (size_t i = 1; i < 6 * 20; i++)
		CHECK(recv(dead_fds[i], &byte, 1, 0) < 0 && errno == ECONNRESET, "%zu: %s", i,
		      strerror(errno));
	return world_end(&w);
}

WORLD_TEST(gate_dial, a_black_hole_costs_one_attempt_delay)
{
	struct world w;
	uint64_t start, took;
	int server, fd;

	WORLD_TRY(begin(&w, 0, 0));
	server = listen_on("127.0.0.2", 443);
	fd = dial_name(&w, "live.test", 443); /* the first lookup's fork is not what is measured */
	CHECK(fd >= 0 && accept(server, NULL, NULL) >= 0);
	start = now_ms();
	fd = dial_name(&w, "both.test", 443);
	CHECK(fd >= 0 && accept(server, NULL, NULL) >= 0);
	took = now_ms() - start;
	CHECK(took >= 200 && took < 800, "took %d ms", (int)took);
	return world_end(&w);
}

WORLD_TEST(gate_dial, addresses_that_may_not_be_dialled_are_refused_with_their_reason)
{
	static const struct {
		const char *name, *reason;
	} cases[] = {
		{ "rebound.test", "\"deny\",\"reason\":\"private_address\"" },
		{ "own.test", "\"deny\",\"reason\":\"own_address\"" },
		{ "meta.test", "\"deny\",\"reason\":\"metadata_address\"" },
		/* The search list must not make another name of it. */
		{ "missing.test", "\"error\",\"reason\":\"dns_nxdomain\"" },
		{ "hole.test", "\"error\",\"reason\":\"connect_timeout\"" },
	};
	struct world w;
	char byte;

	WORLD_TRY(begin(&w, 0, 1));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int fd = dial_name(&w, cases[i].name, 443);
		const char *line;

		CHECK(fd < 0 || (recv(fd, &byte, 1, 0) < 0 && errno == ECONNRESET));
		line = audit_line(&w, cases[i].name);
		CHECK(strstr(line, cases[i].reason), "%s: '%s'", cases[i].name, line);
	}
	return world_end(&w);
}

WORLD_TEST(gate_dial, a_client_that_resets_ends_its_dial)
{
	struct linger now = { .l_onoff = 1 };
	struct world w;
	int fd;

	WORLD_TRY(begin(&w, 0, 30));
	for (int i = 0; i < 50; i++) {
		fd = dial_name(&w, i % 2 ? "hole.test" : "dead.test", 443);
		CHECK(fd >= 0);
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		usleep(2000);
		close(fd);
	}
	return world_end(&w);
}

static struct address ip(const char *text)
{
	struct address parsed;

	cr_assert(address_parse(text, &parsed));
	return parsed;
}

Test(gate_dial, families_take_turns)
{
	const char *const in[] = { "2a00::1", "2a00::2", "2a00::3", "1.1.1.1", "1.1.1.2" };
	const char *const want[] = { "2a00::1", "1.1.1.1", "2a00::2", "1.1.1.2", "2a00::3" };
	struct address ips[GATE_ANSWER_MAX];
	char text[ADDRESS_TEXT_BYTES];

	for (size_t i = 0; i < 5; i++)
		ips[i] = ip(in[i]);
	gate_dial_interleave(ips, 5);
	for (size_t i = 0; i < 5; i++)
		cr_expect_str_eq(address_format(&ips[i], text), want[i]);
	for (size_t i = 0; i < GATE_ANSWER_MAX; i++)
		ips[i] = ip("1.1.1.1");
	gate_dial_interleave(ips, GATE_ANSWER_MAX);
	gate_dial_interleave(ips, 0);
}
