/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: routes.yaml. Every refusal has a sentence of one line; what was accepted keeps what the
 * proxy relies on: a host, a port, an auth that is whole.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "config/routes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hold(_Bool promise)
{
	if (!promise)
		abort();
}

static void hold_route(const struct proxy_route *route)
{
	hold(route->host && route->host[0] && !strpbrk(route->host, " /\n@[]"));
	hold(route->port_count && route->ports[0]);
	hold(!route->auth_header == !route->token_env);
	hold(!route->auth_scheme || strcmp(route->auth_header, "authorization") == 0);
	for (size_t i = 0; i < route->path_allowlist.len; i++)
		hold(route->path_allowlist.items[i][0] == '/' &&
		     !strpbrk(route->path_allowlist.items[i], "?#\\%\n "));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_with(routes_clear) struct proxy_routes routes = { 0 };
	struct err err = { 0 };
	int rc = routes_parse(&routes, "routes.yaml", (const char *)data, size, &err);

	if (rc < 0) {
		hold(rc == -EINVAL || rc == -EFBIG);
		hold(err.text[0] && !strpbrk(err.text, "\n\r\x1b"));
		hold(!routes.items && !routes.count);
		return 0;
	}
	hold(routes.count > 0);
	for (size_t i = 0; i < routes.count; i++)
		hold_route(&routes.items[i]);
	return 0;
}
