/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: bottle.yaml. Beside what the sanitizers find, three promises are held: every refusal has
 * a sentence of one line; what was accepted renders to a routes.yaml that is read back; and the
 * rendering of it does not change. The part of the input after a NUL goes to --allow.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "config/manifest.h"
#include "config/routes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hold(_Bool promise)
{
	if (!promise)
		abort();
}

static void hold_sentence(int rc, const struct err *err)
{
	hold(rc == -EINVAL || rc == -EFBIG);
	hold(err->text[0] && !strpbrk(err->text, "\n\r\x1b"));
}

static void hold_round_trip(const struct manifest *m)
{
	cleanup_with(buf_clear) struct buf yaml = { 0 };
	cleanup_with(routes_clear) struct proxy_routes routes = { 0 };
	struct err err;

	hold(routes_render(m, &yaml, &err) == 0);
	hold(routes_parse(&routes, "routes.yaml", yaml.data, yaml.len, &err) == 0);
	hold(routes.count == m->route_count);
	for (size_t i = 0; i < routes.count; i++) {
		const struct proxy_route *read = &routes.items[i];

		hold(strcmp(read->host, m->routes[i].host) == 0);
		hold(read->port_count == m->routes[i].port_count);
		hold(read->path_allowlist.len == m->routes[i].path_allowlist.len);
		for (size_t j = 0; j < read->path_allowlist.len; j++)
			hold(strcmp(read->path_allowlist.items[j],
				    m->routes[i].path_allowlist.items[j]) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_with(manifest_clear) struct manifest m;
	cleanup_free char *option = NULL;
	const uint8_t *nul = size ? memchr(data, '\0', size) : NULL;
	size_t len = nul ? (size_t)(nul - data) : size;
	struct err err = { 0 };
	int rc;

	manifest_init(&m);
	rc = manifest_parse(&m, "bottle.yaml", "/work", (const char *)data, len, &err);
	if (rc == 0 && nul) {
		option = strndup((const char *)nul + 1, size - len - 1);
		rc = manifest_add_allow(&m, option, &err);
		if (rc == 0)
			rc = manifest_add_auth(&m, option, &err);
		if (rc < 0)
			hold_sentence(rc, &err);
		rc = 0;
	}
	if (rc == 0)
		rc = manifest_check(&m, &err);
	if (rc < 0)
		hold_sentence(rc, &err);
	else
		hold_round_trip(&m);
	return 0;
}
