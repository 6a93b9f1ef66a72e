/* SPDX-License-Identifier: Apache-2.0
 * The proof that the internal namespace holds: it holds in a bottle, and each hole is seen and named. */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "netns/netns.h"
#include "tests/lib/in_child.h"
#include "tests/lib/netns_pair.h"

static void run(int (*fn)(void *))
{
	int rc = in_child(fn, NULL);

	if (rc == IN_CHILD_SKIP)
		cr_skip_test("no user namespaces here");
	cr_assert_eq(rc, 0, "status %d", rc);
}

/* Expects the proof to fail with `words` in its sentence, or to hold when they are NULL. */
static int prove(const struct netns_pair *pair, const char *words)
{
	struct err err = { 0 };
	int rc = netns_prove_internal(&pair->link, PAIR_PROXY_PORT, &err);

	if (words ? rc == -EPROTO && strstr(err.text, words) : rc == 0)
		return 0;
	fprintf(stderr, "proof: %d, \"%s\", wanted: %s\n", rc, err.text, words ? words : "holds");
	return 1;
}

static int proof_holds(void *arg)
{
	struct netns_pair pair = { 0 };

	(void)arg;
	PAIR_SET_UP(&pair);
	CHILD_CHECK(pair_become_agent(&pair) == 0);
	CHILD_CHECK(prove(&pair, NULL) == 0);
	CHILD_CHECK(pair_gate_is_idle(&pair) && !pair_has_guest(pair.proxy_fd));
	return 0;
}

static int proof_sees_power(void *arg)
{
	struct netns_pair pair = { 0 };

	(void)arg;
	PAIR_SET_UP(&pair);
	CHILD_CHECK(pair_become_agent_with_power(&pair) == 0);
	CHILD_CHECK(prove(&pair, "raw IPv4 socket") == 0);
	return 0;
}

static int proof_sees_a_route(void *arg)
{
	struct netns_pair pair = { 0 };

	(void)arg;
	PAIR_SET_UP(&pair);
	CHILD_CHECK(pair_become_agent_with_power(&pair) == 0);
	CHILD_CHECK(pair_add_default_route(&pair) == 0);
	CHILD_CHECK(unshare(CLONE_NEWUSER) == 0);
	CHILD_CHECK(prove(&pair, "route to 192.0.2.1") == 0);
	return 0;
}

static int proof_sees_the_wrong_namespace(void *arg)
{
	struct netns_pair pair = { 0 };

	(void)arg;
	PAIR_SET_UP(&pair);
	CHILD_CHECK(unshare(CLONE_NEWUSER) == 0);
	CHILD_CHECK(prove(&pair, "interface bottle0 with address 198.19.255.253") == 0);
	return 0;
}

static int proof_sees_a_loopback_service(void *arg)
{
	struct netns_pair pair = { 0 };

	(void)arg;
	PAIR_SET_UP(&pair);
	CHILD_CHECK(pair_become_agent(&pair) == 0);
	CHILD_CHECK(pair_listen_everywhere(8080) >= 0);
	CHILD_CHECK(prove(&pair, "TCP port 8080 of 127.0.0.1") == 0);
	return 0;
}

static int proof_sees_another_port(void *arg)
{
	struct netns_pair pair = { 0 };

	(void)arg;
	PAIR_SET_UP(&pair);
	CHILD_CHECK(pair_listen_everywhere(8081) >= 0);
	CHILD_CHECK(pair_become_agent(&pair) == 0);
	CHILD_CHECK(prove(&pair, "TCP port 8081 of 198.19.255.253") == 0);
	return 0;
}

Test(netns_prove, holds_in_a_bottle)
{
	run(proof_holds);
}

Test(netns_prove, sees_power)
{
	run(proof_sees_power);
}

Test(netns_prove, sees_a_route)
{
	run(proof_sees_a_route);
}

Test(netns_prove, sees_the_wrong_namespace)
{
	run(proof_sees_the_wrong_namespace);
}

Test(netns_prove, sees_a_loopback_service)
{
	run(proof_sees_a_loopback_service);
}

Test(netns_prove, sees_another_port_of_the_proxy)
{
	run(proof_sees_another_port);
}
