/* SPDX-License-Identifier: Apache-2.0
 * Names in Docker; see docker_names.h. Runs in: launcher and subcommands of the Docker backend. */
#include "runtime/docker_names.h"

#include <string.h>

#include "base/str.h"
#include "config/check.h"
#include "runtime/state.h"

static const char *const prefixes[] = {
	[DOCKER_PROXY_CONTAINER] = "bottle-egress-proxy",
	[DOCKER_AGENT_CONTAINER] = "bottle-agent",
	[DOCKER_INTERNAL_NETWORK] = "bottle-internal",
	[DOCKER_EGRESS_NETWORK] = "bottle-egress",
};

char *docker_names_slug(const char *bottle, const char *run_id)
{
	return str_printf("%s-%s", bottle, run_id);
}

char *docker_names_of(enum docker_part part, const char *slug)
{
	return str_printf("%s-%s", prefixes[part], slug);
}

bool docker_names_is_slug(const char *slug, const char *bottle)
{
	enum { RUN_ID_LEN = STATE_RUN_ID_SIZE - 1 };
	size_t len = strlen(bottle);

	return len && check_name(bottle, NULL) == 0 && str_starts(slug, bottle) &&
	       slug[len] == '-' && strlen(slug) == len + 1 + RUN_ID_LEN &&
	       strspn(slug + len + 1, "abcdefghijklmnopqrstuvwxyz0123456789") == RUN_ID_LEN;
}
