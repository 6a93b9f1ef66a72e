/* SPDX-License-Identifier: Apache-2.0
 *
 * routes.yaml as it is read; see routes.h and docs/manifest.md. Runs in: proxy. As strict as the
 * manifest and by the same checks: the proxy does not trust the file because the launcher wrote it.
 */
#include "config/routes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "config/check.h"
#include "config/field.h"
#include "config/scalar.h"

/* The root of the file, as the table below fills it. */
struct routes_file {
	uint64_t version;
	struct proxy_routes *routes;
};

static int read_version(struct schema *schema, const struct schema_key *key,
			const struct yaml_value *value, void *object)
{
	struct routes_file *file = object;

	(void)key;
	TRY(scalar_integer(schema, value, 0, UINT32_MAX, &file->version));
	if (file->version != 1)
		return schema_fail(schema, value, "version %llu is not known; this proxy reads 1",
				   (unsigned long long)file->version);
	return 0;
}

static int read_ports(struct schema *schema, const struct schema_key *key,
		      const struct yaml_value *value, void *object)
{
	struct proxy_route *route = object;

	return field_read_ports(schema, key, value, &route->ports, &route->port_count);
}

/* EGRESS_PROXY_TOKEN_<n> */
static int read_slot(struct schema *schema, const struct schema_key *key,
		     const struct yaml_value *value, void *object)
{
	static const char prefix[] = "EGRESS_PROXY_TOKEN_";
	struct proxy_route *route = object;
	unsigned long long slot;
	const char *number;

	(void)key;
	TRY(scalar_text(schema, value, false, &route->token_env));
	number = route->token_env + strlen(prefix);
	if (!str_starts(route->token_env, prefix) || str_to_u64(number, 0, 4096, &slot) < 0 ||
	    (number[0] == '0' && number[1]))
		return schema_fail(schema, value, "must be EGRESS_PROXY_TOKEN_<n>, not '%s'",
				   quote(route->token_env).text);
	return 0;
}

static int read_items(struct schema *schema, const struct schema_key *key,
		      const struct yaml_value *value, void *object);

static const struct field_type type_version = { "1", UNIT_NONE, read_version };
static const struct field_type type_items = { "list of maps", UNIT_NONE, read_items };
static const struct field_type type_ports = { "list of integers", UNIT_NONE, read_ports };
static const struct field_type type_slot = { "name of a token slot", UNIT_NONE, read_slot };

#define ROUTE_KEY(name, key_type, high)                                                          \
	{                                                                                        \
		"routes[]." #name, key_type, offsetof(struct proxy_route, name), 1, high, "", "" \
	}

static const struct schema_key keys[] = {
	{ "version", &type_version, 0, 0, 0, "", "" },
	{ "routes", &type_items, 0, 1, 2048, "", "" },
	ROUTE_KEY(host, &field_host, 0),
	ROUTE_KEY(ports, &type_ports, 64),
	ROUTE_KEY(path_allowlist, &field_url_paths, 2048),
	ROUTE_KEY(methods, &field_methods, 32),
	ROUTE_KEY(auth_scheme, &field_scheme, 0),
	ROUTE_KEY(auth_header, &field_header, 0),
	ROUTE_KEY(token_env, &type_slot, 0),
	ROUTE_KEY(git_push, &field_bool, 0),
};

static void route_clear(struct proxy_route *route)
{
	free(route->host);
	free(route->ports);
	strlist_clear(&route->path_allowlist);
	strlist_clear(&route->methods);
	free(route->auth_scheme);
	free(route->auth_header);
	free(route->token_env);
	*route = (struct proxy_route){ 0 };
}

/* What takes two keys to see. */
static int check_route(struct schema *schema, const struct yaml_value *at,
		       const struct proxy_route *route)
{
	if (!route->host || !route->ports)
		return schema_fail(schema, at, "has no '%s'", route->host ? "ports" : "host");
	if (!route->auth_header != !route->token_env)
		return schema_fail(schema, at, "has '%s' without '%s'",
				   route->auth_header ? "auth_header" : "token_env",
				   route->auth_header ? "token_env" : "auth_header");
	if (route->auth_scheme &&
	    (!route->auth_header || strcmp(route->auth_header, "authorization") != 0))
		return schema_fail(schema, at,
				   "has 'auth_scheme' without 'auth_header: \"authorization\"'");
	return 0;
}

static int refuse_same_pair(struct schema *schema, const struct yaml_value *at,
			    const struct proxy_routes *routes, const struct proxy_route *route)
{
	for (size_t i = 0; i < routes->count; i++) {
		const struct proxy_route *other = &routes->items[i];

		if (strcmp(other->host, route->host) != 0)
			continue;
		for (size_t j = 0; j < other->port_count; j++)
			for (size_t k = 0; k < route->port_count; k++)
				if (other->ports[j] == route->ports[k])
					return schema_fail(schema, at,
							   "'%s' port %u is already on routes[%zu]",
							   route->host, route->ports[k], i);
	}
	return 0;
}

static int read_items(struct schema *schema, const struct schema_key *key,
		      const struct yaml_value *value, void *object)
{
	struct proxy_routes *routes = ((struct routes_file *)object)->routes;

	TRY(schema_want_list(schema, value, key->min, key->max));
	routes->items = calloc(value->count, sizeof(*routes->items));
	if (!routes->items)
		return schema_no_memory(schema);
	for (size_t i = 0; i < value->count; i++) {
		cleanup_with(route_clear) struct proxy_route route = { 0 };
		size_t mark = schema_push(schema, "[%zu]", i);

		TRY(schema_read_map(schema, &value->items[i], "routes[]", &route));
		TRY(check_route(schema, &value->items[i], &route));
		TRY(refuse_same_pair(schema, &value->items[i], routes, &route));
		routes->items[routes->count++] = route;
		route = (struct proxy_route){ 0 };
		schema_pop(schema, mark);
	}
	return 0;
}

int routes_parse(struct proxy_routes *ret_routes, const char *name, const char *text, size_t len,
		 struct err *err)
{
	cleanup_with(yaml_value_clear) struct yaml_value root = { 0 };
	cleanup_with(routes_clear) struct proxy_routes routes = { 0 };
	struct routes_file file = { .routes = &routes };
	struct schema schema = {
		.file = name,
		.keys = keys,
		.key_count = sizeof(keys) / sizeof(*keys),
		.err = err,
	};

	TRY(yaml_value_read(&root, name, text, len, err));
	TRY(schema_read_map(&schema, &root, "", &file));
	if (!file.version || !routes.count)
		return schema_fail(&schema, &root, "has no '%s'",
				   file.version ? "routes" : "version");
	*ret_routes = routes;
	routes = (struct proxy_routes){ 0 };
	return 0;
}

void routes_clear(struct proxy_routes *routes)
{
	for (size_t i = 0; i < routes->count; i++)
		route_clear(&routes->items[i]);
	free(routes->items);
	*routes = (struct proxy_routes){ 0 };
}
