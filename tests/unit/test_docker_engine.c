/* SPDX-License-Identifier: Apache-2.0
 * Which engine answers, and what is said to it for that. The CLI is a shell script that prints what a real
 * one printed. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "runtime/docker_engine.h"
#include "tests/lib/stand_in_cli.h"

static void cli(const char *version, const char *info)
{
	stand_in_cli("[ \"$1\" = version ] && exec echo '%s'\nexec echo '%s'", version, info);
}

TestSuite(docker_engine, .fini = stand_in_cli_clear, .timeout = 30);

static void check(const char *name, enum docker_gateway gateway, bool is_podman, bool is_rootless,
		  const char *option)
{
	cleanup_with(docker_engine_clear) struct docker_engine engine = { 0 };
	cleanup_with(strlist_clear) struct strlist argv = { 0 };
	struct err err = { "" };

	cr_assert_eq(docker_engine_ask(&engine, &err), 0, "%s", err.text);
	cr_assert_str_eq(engine.name, name);
	cr_assert_eq(engine.gateway, gateway);
	cr_assert_eq(engine.is_podman, is_podman);
	cr_assert_eq(engine.is_rootless, is_rootless);
	cr_assert_eq(docker_engine_add_gateway(&engine, &argv), 0);
	cr_assert_eq(strlist_has(&argv, "--ipv6=false"), !is_podman);
	cr_assert(!option || strlist_has(&argv, option), "%s", option);
}

#define DOCKER(version)                                                           \
	"{\"Client\":{\"Version\":\"28.2.2\"},\"Server\":{\"Version\":\"" version \
	"\",\"Components\":[{\"Name\":\"Engine\"},{\"Name\":\"containerd\"}]}}"
#define PODMAN(version) "{\"Client\":{\"Version\":\"" version "\",\"OsArch\":\"linux/amd64\"}}"

Test(docker_engine, docker_is_told_to_give_the_bridge_no_address_as_its_version_understands_it)
{
	cli(DOCKER("20.10.24+dfsg1"), "unasked");
	check("Docker Engine 20.10.24+dfsg1", DOCKER_GATEWAY_INHIBITED, false, false,
	      "--opt=com.docker.network.bridge.inhibit_ipv4=true");
	stand_in_cli_clear();
	cli(DOCKER("28.0.1"), "unasked");
	check("Docker Engine 28.0.1", DOCKER_GATEWAY_ISOLATED, false, false,
	      "--opt=com.docker.network.bridge.gateway_mode_ipv4=isolated");
	stand_in_cli_clear();
	cli(DOCKER("19.03.1"), "unasked");
	check("Docker Engine 19.03.1", DOCKER_GATEWAY_OPEN, false, false, NULL);
}

Test(docker_engine, podman_is_known_by_what_it_does_not_print)
{
	cli(PODMAN("4.3.1"), "true");
	check("podman 4.3.1", DOCKER_GATEWAY_PODMANS, true, true, "--disable-dns");
	stand_in_cli_clear();
	cli(PODMAN("4.3.1"), "false");
	check("podman 4.3.1", DOCKER_GATEWAY_OPEN, true, false, "--disable-dns");
}

Test(docker_engine, podmans_service_behind_docker_is_neither)
{
	cli("{\"Server\":{\"Version\":\"4.3.1\",\"Components\":[{\"Name\":\"Podman Engine\"}]}}",
	    "unasked");
	check("Podman Engine 4.3.1", DOCKER_GATEWAY_OPEN, false, false, NULL);
}

Test(docker_engine, an_answer_without_a_version_is_none)
{
	cleanup_with(docker_engine_clear) struct docker_engine engine = { 0 };
	struct err err = { "" };

	cli("{}", "unasked");
	cr_assert_eq(docker_engine_ask(&engine, &err), -EPROTO);
	cr_assert_not_null(strstr(err.text, "printed no version"));
}

Test(docker_engine, a_tmpfs_is_the_users_in_the_engines_own_words)
{
	const struct docker_engine docker = { 0 }, podman = { .is_podman = true };
	char buf[48];

	cr_assert_str_eq(docker_engine_tmpfs_owner(&docker, 1000, 1001, buf), "uid=1000,gid=1001");
	cr_assert_str_eq(docker_engine_tmpfs_owner(&podman, 1000, 1001, buf), "U");
}
