/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run's containers and networks are called: made of its slug here, for who makes them and for who
 * looks for what was left. A label is no proof, since a container inherits those of its image; its name is.
 *
 * Runs in: the launcher of the Docker backend, `bottle stop` and `bottle prune`.
 */
#ifndef RUNTIME_DOCKER_NAMES_H
#define RUNTIME_DOCKER_NAMES_H

#include <stdbool.h>

enum docker_part {
	DOCKER_PROXY_CONTAINER,
	DOCKER_AGENT_CONTAINER,
	DOCKER_INTERNAL_NETWORK,
	DOCKER_EGRESS_NETWORK,
};

/* malloc'd; NULL when out of memory. */
char *docker_names_slug(const char *bottle, const char *run_id);
char *docker_names_of(enum docker_part part, const char *slug);

/* Whether `slug` is one that docker_names_slug makes for this bottle's name, and that a bottle's name. */
bool docker_names_is_slug(const char *slug, const char *bottle);

#endif
