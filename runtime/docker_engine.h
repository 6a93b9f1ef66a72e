/* SPDX-License-Identifier: Apache-2.0
 *
 * Which engine the CLI speaks to, and in what that differs: Docker, or podman, whose command line is Docker's
 * but for a few words.
 *
 * Runs in: the launcher of the Docker backend, before anything has changed.
 */
#ifndef RUNTIME_DOCKER_ENGINE_H
#define RUNTIME_DOCKER_ENGINE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

/* What keeps a container on the internal network from the host, whose address on the bridge is one of
 * that network: https://docs.docker.com/engine/network/drivers/bridge/, podman-network-create(1). */
enum docker_gateway {
	DOCKER_GATEWAY_ISOLATED,  /* engine 28: the bridge is given no address */
	DOCKER_GATEWAY_INHIBITED, /* engine 20.10: Docker sets none */
	DOCKER_GATEWAY_PODMANS, /* rootless: the bridge is in a namespace of podman's, not on the host */
	DOCKER_GATEWAY_OPEN, /* it cannot be kept: said at start */
};

struct docker_engine {
	char *name; /* "Docker Engine 20.10.24", "podman 4.3.1" */
	enum docker_gateway gateway;
	bool is_podman;
	bool is_rootless; /* podman's, where uid 0 inside is the caller: its own uid must be asked for */
};

/* Asks for the version. -errno with a sentence where no engine answers. */
int docker_engine_ask(struct docker_engine *ret_engine, struct err *err) MUST_CHECK;
void docker_engine_clear(struct docker_engine *engine);

/* Adds what `network create` must be told for `gateway`. -ENOMEM, or 0. */
int docker_engine_add_gateway(const struct docker_engine *engine, struct strlist *argv) MUST_CHECK;

/* How a tmpfs is given to the container's user: words for the options of --tmpfs. `buf` holds them. */
const char *docker_engine_tmpfs_owner(const struct docker_engine *engine, unsigned uid,
				      unsigned gid, char buf[static 48]);

#endif
