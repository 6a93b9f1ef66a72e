/* SPDX-License-Identifier: Apache-2.0
 *
 * bottle.yaml → struct manifest; see manifest.h. Runs in: launcher. Holds: names of variables,
 * never their values.
 *
 * The table of keys (keys.h) reads every value by itself; here is what takes two keys of one map to
 * see: a route without a host, half an auth, an upstream proxy without `ca`. What takes two routes,
 * or the options of the command line, is in manifest_check.c.
 */
#include "config/manifest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "config/field.h"
#include "config/keys.h"
#include "config/manifest_parts.h"

enum { DEFAULT_PROXY_PORT = 9099, DEFAULT_START_TIMEOUT_MS = 10000, DEFAULT_PORT = 443 };

void manifest_init(struct manifest *m)
{
	*m = (struct manifest){
		.proxy_port = DEFAULT_PROXY_PORT,
		.start_timeout_ms = DEFAULT_START_TIMEOUT_MS,
		.idmap = IDMAP_AUTO,
	};
}

static void auth_clear(struct auth *auth)
{
	free(auth->scheme);
	free(auth->header);
	free(auth->token_ref);
}

void manifest_route_clear(struct route *route)
{
	free(route->host);
	free(route->ports);
	strlist_clear(&route->path_allowlist);
	strlist_clear(&route->methods);
	auth_clear(&route->auth);
	free(route->address);
	free(route->where);
	*route = (struct route){ 0 };
}

static void agent_clear(struct agent_config *agent)
{
	strlist_clear(&agent->command);
	free(agent->workdir);
	strlist_clear(&agent->env);
	strlist_clear(&agent->pass_env);
	strlist_clear(&agent->read_only);
	strlist_clear(&agent->read_write);
	free(agent->hostname);
	free(agent->image);
}

void manifest_clear(struct manifest *m)
{
	free(m->path);
	free(m->name);
	agent_clear(&m->agent);
	for (size_t i = 0; i < m->route_count; i++)
		manifest_route_clear(&m->routes[i]);
	free(m->routes);
	free(m->upstream.url);
	free(m->upstream.host);
	free(m->upstream.ca_path);
	free(m->upstream.where);
	auth_clear(&m->upstream.auth);
	strlist_clear(&m->extra_ca);
	strlist_clear(&m->accepted_ca);
	free(m->proxy_image);
	*m = (struct manifest){ 0 };
}

size_t manifest_ca_count(const struct manifest *m)
{
	return m->extra_ca.len + (m->upstream.ca_path ? 1 : 0);
}

const char *manifest_ca_path(const struct manifest *m, size_t index)
{
	if (index < m->extra_ca.len)
		return m->extra_ca.items[index];
	return index == m->extra_ca.len ? m->upstream.ca_path : NULL;
}

int manifest_take_route(struct manifest *m, struct route *route)
{
	struct route *grown = reallocarray(m->routes, m->route_count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	m->routes = grown;
	m->routes[m->route_count++] = *route;
	*route = (struct route){ 0 };
	return 0;
}

int manifest_default_port(struct route *route, uint16_t port)
{
	route->ports = malloc(sizeof(*route->ports));
	if (!route->ports)
		return -ENOMEM;
	route->ports[0] = port ? port : DEFAULT_PORT;
	route->port_count = 1;
	return 0;
}

/* Both halves of an auth, or none. `parent` is the map in which `auth` may stand. */
static int finish_auth(struct schema *schema, const struct yaml_value *parent, struct auth *auth,
		       const char *kinds)
{
	const struct yaml_value *at = yaml_value_find(parent, "auth");
	size_t mark;

	if (!at)
		return 0;
	mark = schema_push(schema, ".auth");
	if (auth->scheme && auth->header)
		return schema_fail(schema, at, "has both 'scheme' and 'header'; keep one");
	if (!auth->scheme && !auth->header)
		return schema_fail(schema, at,
				   "has a 'token_ref' but no %s, so the proxy would not "
				   "know how to send it; add one",
				   kinds);
	if (!auth->token_ref)
		return schema_fail(schema, at,
				   "has no 'token_ref'; add the name of the environment "
				   "variable that holds the token");
	auth->kind = auth->scheme ? AUTH_SCHEME : AUTH_HEADER;
	schema_pop(schema, mark);
	return 0;
}

static bool is_literal(const char *host)
{
	struct in6_addr address;

	return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

static int finish_route(struct schema *schema, const struct yaml_value *map, struct route *route)
{
	if (!route->host)
		return schema_fail(schema, map, "has no 'host'; add one, such as api.example.com");
	TRY(finish_auth(schema, map, &route->auth, "'scheme' or 'header'"));
	route->is_literal = is_literal(route->host);
	if (!route->ports && manifest_default_port(route, 0) < 0)
		return schema_no_memory(schema);
	route->where = str_printf("%s:%u:%u", schema->file, map->line, map->column);
	return route->where ? 0 : schema_no_memory(schema);
}

static int read_routes(struct schema *schema, const struct schema_key *key,
		       const struct yaml_value *value, void *object)
{
	struct manifest *m = object;

	TRY(schema_want_list(schema, value, key->min, key->max));
	for (size_t i = 0; i < value->count; i++) {
		cleanup_with(manifest_route_clear) struct route route = { 0 };
		size_t mark = schema_push(schema, "[%zu]", i);

		TRY(schema_read_map(schema, &value->items[i], "egress.routes[]", &route));
		TRY(finish_route(schema, &value->items[i], &route));
		if (manifest_take_route(m, &route) < 0)
			return schema_no_memory(schema);
		schema_pop(schema, mark);
	}
	return 0;
}

const struct field_type field_routes = { "list of maps", UNIT_NONE, read_routes };

/* Both url and ca, or neither. */
static int finish_upstream(struct schema *schema, const struct yaml_value *root,
			   struct upstream_proxy *upstream)
{
	const struct yaml_value *egress = yaml_value_find(root, "egress");
	const struct yaml_value *at = egress ? yaml_value_find(egress, "upstream_proxy") : NULL;
	bool has_ca;
	size_t mark;

	if (!at)
		return 0;
	mark = schema_push(schema, "egress.upstream_proxy");
	has_ca = yaml_value_find(at, "ca") != NULL;
	if (!upstream->url)
		return schema_fail(schema, at, "has no 'url'; add one, such as http://proxy:3128");
	if (!has_ca)
		return schema_fail(schema, at,
				   "has no 'ca'; add the path of the CA that this proxy "
				   "presents, or 'ca: none' when it does not open TLS");
	TRY(finish_auth(schema, at, &upstream->auth, "'scheme'"));
	schema_pop(schema, mark);
	upstream->where = str_printf("%s:%u:%u", schema->file, at->line, at->column);
	return upstream->where ? 0 : schema_no_memory(schema);
}

int manifest_parse(struct manifest *m, const char *name, const char *base_dir, const char *text,
		   size_t len, struct err *err)
{
	struct schema schema = {
		.file = name,
		.base_dir = base_dir,
		.keys = manifest_keys,
		.key_count = manifest_key_count,
		.err = err,
	};
	cleanup_with(yaml_value_clear) struct yaml_value root = { 0 };

	m->path = strdup(name);
	if (!m->path)
		return schema_no_memory(&schema);
	TRY(yaml_value_read(&root, name, text, len, err));
	TRY(schema_read_map(&schema, &root, "", m));
	return finish_upstream(&schema, &root, &m->upstream);
}
