/* SPDX-License-Identifier: Apache-2.0
 *
 * routes.yaml as it is written; see routes.h and docs/manifest.md. routes_parse.c reads it. Runs
 * in: launcher. Holds: names of token slots, no token.
 *
 * The checks of the manifest leave nothing in a host or path that could end a quoted text. The
 * renderer does not rely on them: it escapes the two bytes that could, and refuses what is not
 * printable ASCII.
 */
#include "config/routes.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "config/check.h"

static int add_slot(const struct auth *auth, struct strlist *refs)
{
	if (auth->kind == AUTH_NONE || strlist_has(refs, auth->token_ref))
		return 0;
	return strlist_add(refs, auth->token_ref);
}

int routes_token_slots(const struct manifest *m, struct strlist *ret_refs)
{
	for (size_t i = 0; i < m->route_count; i++)
		TRY(add_slot(&m->routes[i].auth, ret_refs));
	return add_slot(&m->upstream.auth, ret_refs);
}

static int put_text(struct buf *yaml, const char *text, struct err *err)
{
	buf_puts(yaml, "\"");
	for (const char *c = text; *c; c++) {
		if (*c < 0x20 || *c > 0x7e)
			return err_set(err, EINVAL, "routes.yaml: '%s' is not printable ASCII",
				       quote(text).text);
		if (*c == '"' || *c == '\\')
			buf_puts(yaml, "\\");
		buf_append(yaml, c, 1);
	}
	buf_puts(yaml, "\"");
	return 0;
}

static int put_key_text(struct buf *yaml, const char *key, const char *text, struct err *err)
{
	buf_printf(yaml, "    %s: ", key);
	TRY(put_text(yaml, text, err));
	buf_puts(yaml, "\n");
	return 0;
}

static int put_list(struct buf *yaml, const char *key, const struct strlist *list, struct err *err)
{
	if (!list->len)
		return 0;
	buf_printf(yaml, "    %s: [", key);
	for (size_t i = 0; i < list->len; i++) {
		buf_puts(yaml, i ? ", " : "");
		TRY(put_text(yaml, list->items[i], err));
	}
	buf_puts(yaml, "]\n");
	return 0;
}

static void put_ports(struct buf *yaml, const struct route *route)
{
	buf_puts(yaml, "    ports: [");
	for (size_t i = 0; i < route->port_count; i++)
		buf_printf(yaml, "%s%u", i ? ", " : "", route->ports[i]);
	buf_puts(yaml, "]\n");
}

static int put_auth(struct buf *yaml, const struct auth *auth, const struct strlist *refs,
		    struct err *err)
{
	size_t slot = 0;

	if (auth->kind == AUTH_NONE)
		return 0;
	while (strcmp(refs->items[slot], auth->token_ref) != 0)
		slot++;
	if (auth->kind == AUTH_SCHEME)
		TRY(put_key_text(yaml, "auth_scheme", auth->scheme, err));
	TRY(put_key_text(yaml, "auth_header",
			 auth->kind == AUTH_SCHEME ? "authorization" : auth->header, err));
	buf_printf(yaml, "    token_env: \"EGRESS_PROXY_TOKEN_%zu\"\n", slot);
	return 0;
}

static int put_route(struct buf *yaml, const struct route *route, const struct strlist *refs,
		     struct err *err)
{
	buf_puts(yaml, "  - host: ");
	TRY(put_text(yaml, route->host, err));
	buf_puts(yaml, "\n");
	put_ports(yaml, route);
	TRY(put_list(yaml, "path_allowlist", &route->path_allowlist, err));
	TRY(put_list(yaml, "methods", &route->methods, err));
	TRY(put_auth(yaml, &route->auth, refs, err));
	buf_printf(yaml, "    git_push: %s\n", route->git_push ? "true" : "false");
	return 0;
}

/* A manifest near the limits of YAML (1 MiB, 20000 values) can grow past them here, where defaults
 * are written out. Then the launcher says so, and not the proxy when the bottle is half built. */
static int check_readable(const struct buf *yaml, struct err *err)
{
	cleanup_with(routes_clear) struct proxy_routes routes = { 0 };
	int rc = routes_parse(&routes, "routes.yaml", yaml->data, yaml->len, err);

	return rc < 0 ? err_context(err, rc, "the proxy could not read its routes") : 0;
}

int routes_render(const struct manifest *m, struct buf *ret_yaml, struct err *err)
{
	cleanup_with(strlist_clear) struct strlist refs = { 0 };

	if (routes_token_slots(m, &refs) < 0)
		return err_sys(err, ENOMEM, "routes.yaml");
	buf_puts(ret_yaml, "version: 1\nroutes:\n");
	for (size_t i = 0; i < m->route_count; i++)
		TRY(put_route(ret_yaml, &m->routes[i], &refs, err));
	if (ret_yaml->failed)
		return err_sys(err, ENOMEM, "routes.yaml");
	return check_readable(ret_yaml, err);
}
