/* SPDX-License-Identifier: Apache-2.0
 * The gate behind its real filters and Landlock: everything it does must be among what it may do. */
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

static int confine_resolver(struct err *err)
{
	int abi;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	TRY(landlock_resolver(&abi, err));
	TRY(seccomp_load(SECCOMP_RESOLVER, err));
	return seccomp_prove(SECCOMP_RESOLVER, err);
}

static const struct gate_target targets[] = {
	{ .host = "live.test", .port = 443, .allow_private = true },
	{ .host = "dead.test", .port = 443, .allow_private = true },
	{ .host = "closed.test", .port = 443, .address = "127.0.0.3" },
};

static const struct name_row rows[] = {
	{ .name = "live.test", .a = "127.0.0.2" },
	{ .name = "dead.test", .is_silent = true },
	{ 0 },
};

WORLD_TEST(gate_confined, does_all_that_it_must)
{
	struct gate_config config = { .targets = targets,
				      .target_count = 3,
				      .lookup_timeout_s = 1,
				      .confine = { confine_gate, confine_resolver } };
	uint16_t port = 443;
	struct world w;
	int server, client, up;
	char buf[8];

	WORLD_TRY(world_make(&w));
	WORLD_TRY(use_name_server(&w, rows));
	WORLD_TRY(world_start_gate(&w, config, &port, 1));
	server = listen_on("127.0.0.2", 443);
	client = dial_name(&w, "live.test", 443);
	CHECK(client >= 0 && (up = limited(accept(server, NULL, NULL), 10)) >= 0, "%s",
	      audit_line(&w, "live.test"));
	CHECK(send(client, "ping", 4, 0) == 4 && recv(up, buf, 4, MSG_WAITALL) == 4);
	shutdown(client, SHUT_WR);
	CHECK(recv(up, buf, 1, 0) == 0);
	close(up);
	/* A lookup that its alarm ends, with the next one right behind it. */
	client = dial_name(&w, "dead.test", 443);
	CHECK(recv(client, buf, 1, 0) < 0);
	CHECK(strstr(audit_line(&w, "dead.test"), "\"reason\":\"dns_timeout\""));
	client = dial_name(&w, "live.test", 443);
	CHECK(client >= 0 && accept(server, NULL, NULL) >= 0);
	client = dial_name(&w, "closed.test", 443);
	CHECK(client < 0 || recv(client, buf, 1, 0) < 0);
	CHECK(strstr(audit_line(&w, "closed.test"), "\"reason\":\"connect_refused\""));
	CHECK(ask(&w, "evil.test", 1, &(struct in_addr){ 0 }) == 3);
	CHECK(strstr(audit_line(&w, "evil.test"), "\"event\":\"dns\""));
	return world_end(&w);
}
