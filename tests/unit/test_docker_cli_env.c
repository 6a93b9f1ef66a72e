/* SPDX-License-Identifier: Apache-2.0
 * Which variables Docker's CLI is given of bottle's, and how one of the agent's gets past it. */
#include <criterion/criterion.h>
#include <string.h>

#include "runtime/docker_cli_env.h"

Test(docker_cli_env, the_cli_is_given_what_it_finds_its_daemon_by)
{
	static const char *const given[] = { "DOCKER_HOST=x",	  "DOCKER_OF_A_PLUGIN=x",
					     "XDG_RUNTIME_DIR=/", "PATH=/bin",
					     "CONTAINER_HOST=x",  "CONTAINERS_CONF=x",
					     "HTTP_PROXY=x",	  "no_proxy=x",
					     "SSH_AUTH_SOCK=x",	  "HOME=/",
					     "PODMAN_USERNS=x",	  "LANG=C" };
	static const char *const kept[] = { "GITHUB_TOKEN=x", "PATHS=/",     "HOMEBREW_TOKEN=x",
					    "LD_PRELOAD=x",   "ALL_PROXY=x", "LC_CTYPE=C",
					    "GODEBUG=x",      "=x" };

	for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++)
		cr_expect(docker_cli_env_is_given(given[i]), "%s", given[i]);
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		cr_expect_not(docker_cli_env_is_given(kept[i]), "%s", kept[i]);
}

Test(docker_cli_env, only_a_proxy_goes_by_argv)
{
	static const struct {
		const char *name;
		enum docker_cli_env_way way;
	} cases[] = {
		{ "DOCKER_HOST", DOCKER_CLI_ENV_FILE },
		{ "DOCKER_CLI_HINTS", DOCKER_CLI_ENV_FILE },
		{ "XDG_TOKEN", DOCKER_CLI_ENV_FILE },
		{ "LD_PRELOAD", DOCKER_CLI_ENV_FILE },
		{ "GODEBUG", DOCKER_CLI_ENV_FILE },
		{ "SSH_AUTH_SOCK", DOCKER_CLI_ENV_FILE },
		{ "PODMAN_USERNS", DOCKER_CLI_ENV_FILE },
		{ "LANG", DOCKER_CLI_ENV_FILE },
		{ "DOCKER_PASSWORD", DOCKER_CLI_ENV_NAME },
		{ "SSH_PRIVATE_KEY", DOCKER_CLI_ENV_NAME },
		{ "GOOGLE_API_KEY", DOCKER_CLI_ENV_NAME },
		{ "LANGUAGE", DOCKER_CLI_ENV_NAME },
		{ "HOMEPAGE", DOCKER_CLI_ENV_NAME },
		{ "http_proxy", DOCKER_CLI_ENV_ARGV },
		{ "FTP_PROXY", DOCKER_CLI_ENV_ARGV },
		{ "XDG_PROXY", DOCKER_CLI_ENV_ARGV },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_expect_eq(docker_cli_env_way(cases[i].name, strlen(cases[i].name)), cases[i].way,
			     "%s", cases[i].name);
}
