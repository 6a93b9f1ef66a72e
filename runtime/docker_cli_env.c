/* SPDX-License-Identifier: Apache-2.0
 * The variables that the CLI reads; see docker_cli_env.h. Runs in: launcher of the Docker backend. */
#include "runtime/docker_cli_env.h"

#include <string.h>
#include <strings.h>

#include "base/str.h"

/* OBEYED: what changes what the CLI does, or could come to; not a mere beginning that a key of the agent's
 * has too, as DOCKER_PASSWORD, since a line of a file holds less than the environment does. */
enum { GIVEN = 1, OBEYED = 2, BEGINNING = 4 };

static const struct {
	const char *name;
	unsigned is;
} table[] = {
	{ "BUILDKIT_", GIVEN | OBEYED | BEGINNING },
	{ "BUILDX_", GIVEN | OBEYED | BEGINNING },
	{ "CONTAINER", GIVEN | BEGINNING },
	{ "CONTAINERS_", OBEYED | BEGINNING },
	{ "CONTAINER_CONNECTION", OBEYED },
	{ "CONTAINER_HOST", OBEYED },
	{ "CONTAINER_SSHKEY", OBEYED },
	{ "DOCKER_", GIVEN | BEGINNING },
	{ "DOCKER_API_VERSION", OBEYED },
	{ "DOCKER_BUILDKIT", OBEYED },
	{ "DOCKER_CERT_PATH", OBEYED },
	{ "DOCKER_CLI_", OBEYED | BEGINNING },
	{ "DOCKER_CONFIG", OBEYED },
	{ "DOCKER_CONTENT_TRUST", OBEYED | BEGINNING },
	{ "DOCKER_CONTEXT", OBEYED },
	{ "DOCKER_DEFAULT_PLATFORM", OBEYED },
	{ "DOCKER_HOST", OBEYED },
	{ "DOCKER_TLS", OBEYED | BEGINNING },
	{ "DYLD_", OBEYED | BEGINNING },
	{ "GOCOVERDIR", OBEYED },
	{ "GODEBUG", OBEYED },
	{ "GOGC", OBEYED },
	{ "GOMAXPROCS", OBEYED },
	{ "GOMEMLIMIT", OBEYED },
	{ "GOTRACEBACK", OBEYED },
	{ "HOME", GIVEN | OBEYED },
	{ "HTTPS_PROXY", GIVEN },
	{ "HTTP_PROXY", GIVEN },
	{ "LANG", GIVEN | OBEYED },
	{ "LC_ALL", GIVEN | OBEYED },
	{ "LD_", OBEYED | BEGINNING },
	{ "LOGNAME", GIVEN | OBEYED },
	{ "NO_PROXY", GIVEN },
	{ "PATH", GIVEN | OBEYED },
	{ "PODMAN_", GIVEN | OBEYED | BEGINNING },
	{ "SSH_", GIVEN | BEGINNING },
	{ "SSH_ASKPASS", OBEYED },
	{ "SSH_AUTH_SOCK", OBEYED },
	{ "SSL_CERT_DIR", GIVEN | OBEYED },
	{ "SSL_CERT_FILE", GIVEN | OBEYED },
	{ "TERM", GIVEN | OBEYED },
	{ "TMPDIR", GIVEN | OBEYED },
	{ "USER", GIVEN | OBEYED },
	{ "XDG_", GIVEN | OBEYED | BEGINNING },
	{ "http_proxy", GIVEN },
	{ "https_proxy", GIVEN },
	{ "no_proxy", GIVEN },
};

static bool is(const char *name, size_t len, unsigned what)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		size_t known = strlen(table[i].name);

		if ((table[i].is & what) && strncmp(name, table[i].name, known) == 0 &&
		    (len == known || (table[i].is & BEGINNING)))
			return true;
	}
	return false;
}

bool docker_cli_env_is_given(const char *item)
{
	return is(item, strcspn(item, "="), GIVEN);
}

enum docker_cli_env_way docker_cli_env_way(const char *name, size_t len)
{
	static const char proxy[] = "_proxy";
	size_t end = sizeof(proxy) - 1;

	if (len >= end && strncasecmp(name + len - end, proxy, end) == 0)
		return DOCKER_CLI_ENV_ARGV;
	return is(name, len, OBEYED) ? DOCKER_CLI_ENV_FILE : DOCKER_CLI_ENV_NAME;
}
