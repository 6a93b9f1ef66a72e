/* SPDX-License-Identifier: Apache-2.0
 *
 * The Docker backend's part of the plan: names, images, networks, and the two `docker create` command
 * lines, word for word. Making it asks the daemon, and changes nothing.
 *
 * Runs in: the launcher of the Docker backend.
 */
#ifndef RUNTIME_DOCKER_PLAN_H
#define RUNTIME_DOCKER_PLAN_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "runtime/docker_engine.h"
#include "runtime/docker_image.h"

struct docker_plan {
	struct docker_engine engine;
	struct docker_image proxy_image, agent_image;

	char *slug; /* "<name>-<run id>" */
	char *internal_network, *egress_network, *proxy_name, *agent_name;
	struct strlist labels; /* "KEY=value", on everything */
	char *folder; /* of this run on the host: what the containers are shown of it, they read */
	bool is_tty;  /* the agent gets a terminal */
	struct strlist proxy_create, agent_create; /* up to the image, which is known only then */
	struct strlist
		agent_env; /* "NAME=value" for the CLI's own environment: names alone in argv */
	struct strlist agent_env_lines; /* "NAME=value\n" for its standard input: --env-file */
};

struct plan;
struct run_options;
struct plan_dirs;

int docker_plan_make(struct plan *plan, const struct run_options *options,
		     const struct plan_dirs *dirs, struct err *err) MUST_CHECK;
void docker_plan_clear(struct plan *plan);

/* The words that create the networks. */
int docker_plan_network(const struct docker_plan *docker, bool internal,
			struct strlist *ret_argv) MUST_CHECK;

#endif
