/* SPDX-License-Identifier: Apache-2.0
 *
 * The variables that the CLI reads, in one table for both ends: what of bottle's environment it is given, and
 * what of the agent's it must not have in its own.
 *
 * Runs in: the launcher of the Docker backend, `bottle stop` and `bottle prune`.
 */
#ifndef RUNTIME_DOCKER_CLI_ENV_H
#define RUNTIME_DOCKER_CLI_ENV_H

#include <stdbool.h>
#include <stddef.h>

/* Whether this of our environment, "NAME=value", is for the CLI: it finds its daemon, its configuration and
 * its plugins by it. The rest, where a token may stand, is none of its business. */
bool docker_cli_env_is_given(const char *item);

/* How a variable of the agent's, with a value that is not to stand in an argv, gets past the CLI. */
enum docker_cli_env_way {
	DOCKER_CLI_ENV_NAME, /* --env=NAME, and the value in the CLI's own environment */
	DOCKER_CLI_ENV_FILE, /* the CLI would obey it there: a line of --env-file on its standard input */
	DOCKER_CLI_ENV_ARGV, /* a proxy variable: one of the CLI's configuration counts before such a line,
			      * and not before --env=NAME=value */
};
enum docker_cli_env_way docker_cli_env_way(const char *name, size_t len);

#endif
