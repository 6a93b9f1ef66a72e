/* SPDX-License-Identifier: Apache-2.0
 * routes.yaml: what the launcher writes is what the proxy reads, and nothing else is. Run from the
 * root of the tree. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "config/routes.h"

#define DATA "tests/unit/data/config/"

static void load(const char *path, struct buf *text)
{
	struct err err;

	cr_assert_eq(file_read(AT_FDCWD, path, 1 << 20, text, &err), 0, "%s", err.text);
}

static void load_manifest(struct manifest *m, const char *path)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	struct err err;

	setenv("HOME", "/home/someone", 1);
	load(path, &text);
	manifest_init(m);
	cr_assert_eq(manifest_parse(m, path, "/work", text.data, text.len, &err), 0, "%s",
		     err.text);
}

Test(routes, renders_the_golden_file)
{
	cleanup_with(buf_clear) struct buf golden = { 0 }, yaml = { 0 };
	cleanup_with(manifest_clear) struct manifest m;
	struct err err;

	load_manifest(&m, DATA "full.yaml");
	load(DATA "full.routes.yaml", &golden);
	cr_assert_eq(routes_render(&m, &yaml, &err), 0);
	cr_expect_str_eq(yaml.data, golden.data);
}

Test(routes, slots_are_distinct_and_in_order)
{
	cleanup_with(strlist_clear) struct strlist refs = { 0 };
	cleanup_with(manifest_clear) struct manifest m;

	load_manifest(&m, DATA "full.yaml");
	cr_assert_eq(routes_token_slots(&m, &refs), 0);
	cr_assert_eq(refs.len, 3);
	cr_expect_str_eq(refs.items[0], "API_TOKEN");
	cr_expect_str_eq(refs.items[1], "OTHER_TOKEN");
	cr_expect_str_eq(refs.items[2], "UPSTREAM_TOKEN");
}

static void expect_same_list(const struct strlist *a, const struct strlist *b)
{
	cr_assert_eq(a->len, b->len);
	for (size_t i = 0; i < a->len; i++)
		cr_expect_str_eq(a->items[i], b->items[i]);
}

static void expect_same_auth(const struct auth *auth, const struct proxy_route *read)
{
	if (auth->kind == AUTH_NONE) {
		cr_expect(!read->auth_scheme && !read->auth_header && !read->token_env);
		return;
	}
	cr_assert(read->auth_header && read->token_env);
	cr_expect_str_eq(read->auth_header,
			 auth->kind == AUTH_SCHEME ? "authorization" : auth->header);
	cr_expect_eq(!read->auth_scheme, auth->kind != AUTH_SCHEME);
	if (auth->kind == AUTH_SCHEME)
		cr_expect_str_eq(read->auth_scheme, auth->scheme);
}

static void expect_same(const struct route *written, const struct proxy_route *read)
{
	cr_expect_str_eq(read->host, written->host);
	cr_assert_eq(read->port_count, written->port_count);
	for (size_t i = 0; i < read->port_count; i++)
		cr_expect_eq(read->ports[i], written->ports[i]);
	expect_same_list(&read->path_allowlist, &written->path_allowlist);
	expect_same_list(&read->methods, &written->methods);
	expect_same_auth(&written->auth, read);
	cr_expect_eq(read->git_push, written->git_push);
}

static void round_trip(const struct manifest *m, struct proxy_routes *routes)
{
	cleanup_with(buf_clear) struct buf yaml = { 0 };
	struct err err = { 0 };

	cr_assert_eq(routes_render(m, &yaml, &err), 0, "%s", err.text);
	cr_assert_eq(routes_parse(routes, "routes.yaml", yaml.data, yaml.len, &err), 0, "%s",
		     err.text);
	cr_assert_eq(routes->count, m->route_count);
	for (size_t i = 0; i < m->route_count; i++)
		expect_same(&m->routes[i], &routes->items[i]);
}

Test(routes, round_trip_of_every_key)
{
	cleanup_with(routes_clear) struct proxy_routes routes = { 0 };
	cleanup_with(manifest_clear) struct manifest m;

	load_manifest(&m, DATA "full.yaml");
	round_trip(&m, &routes);
	cr_expect_str_eq(routes.items[3].token_env, "EGRESS_PROXY_TOKEN_0");
}

/* Whatever printable byte a path may hold, it comes back as it was. */
Test(routes, nothing_breaks_out_of_its_quotes)
{
	cleanup_with(routes_clear) struct proxy_routes routes = { 0 };
	cleanup_with(manifest_clear) struct manifest m;
	size_t taken = 0;
	struct err err;

	manifest_init(&m);
	for (int c = 0x21; c < 0x7f; c++) {
		char spec[64];

		snprintf(spec, sizeof(spec), "a.example/%c\"]: #%c", c, c);
		spec[strcspn(spec, "#")] = '\0';
		taken += manifest_add_allow(&m, spec, &err) == 0;
		snprintf(spec, sizeof(spec), "a.example/%c\",%c", c, c);
		taken += manifest_add_allow(&m, spec, &err) == 0;
	}
	cr_assert_geq(taken, 80);
	round_trip(&m, &routes);
}

Test(routes, renderer_refuses_what_no_check_let_through)
{
	cleanup_with(buf_clear) struct buf yaml = { 0 };
	char path[] = "/a\n  - host: \"evil.example\"";
	char *paths[] = { path, NULL };
	char host[] = "a.example";
	uint16_t port = 443;
	struct route route = {
		.host = host,
		.ports = &port,
		.port_count = 1,
		.path_allowlist = { .items = paths, .len = 1 },
	};
	struct manifest m = { .routes = &route, .route_count = 1 };
	struct err err;

	cr_expect_eq(routes_render(&m, &yaml, &err), -EINVAL);
	cr_expect_str_eq(err.text,
			 "routes.yaml: '/a\\n  - host: \"evil.example\"' is not printable "
			 "ASCII");
}

static const char *const bad_files[][2] = {
	{ "", "r.yaml: the file is empty" },
	{ "version: 1", "r.yaml:1:1: has no 'routes'" },
	{ "routes: [{host: a.b, ports: [1]}]", "r.yaml:1:1: has no 'version'" },
	{ "version: 2", "r.yaml:1:10: version: version 2 is not known; this proxy reads 1" },
	{ "version: \"1\"",
	  "r.yaml:1:10: version: must be an integer, but in quotes it is text; write 1" },
	{ "version: 1\nroutes: []", "r.yaml:2:9: routes: is an empty list; leave the key out, "
				    "or put something in it" },
	{ "routes: [{host: a.b}]", "r.yaml:1:10: routes[0]: has no 'ports'" },
	{ "routes: [{ports: [1]}]", "r.yaml:1:10: routes[0]: has no 'host'" },
	{ "routes: [{host: a.b, ports: [1], port: 1}]",
	  "r.yaml:1:34: routes[0]: unknown key 'port' (did you mean 'ports'?)" },
	{ "routes: [{host: a.b, ports: [1], git_push: yes}]",
	  "r.yaml:1:44: routes[0].git_push: must be true or false, not 'yes'" },
	{ "routes: [{host: a.b, ports: [1], token_env: EGRESS_PROXY_TOKEN_0}]",
	  "r.yaml:1:10: routes[0]: has 'token_env' without 'auth_header'" },
	{ "routes: [{host: a.b, ports: [1], auth_header: x}]",
	  "r.yaml:1:10: routes[0]: has 'auth_header' without 'token_env'" },
	{ "routes: [{host: a.b, ports: [1], auth_scheme: Bearer, auth_header: x, "
	  "token_env: EGRESS_PROXY_TOKEN_0}]",
	  "r.yaml:1:10: routes[0]: has 'auth_scheme' without 'auth_header: "
	  "\"authorization\"'" },
	{ "routes: [{host: a.b, ports: [1], auth_scheme: Bearer}]",
	  "r.yaml:1:10: routes[0]: has 'auth_scheme' without 'auth_header: "
	  "\"authorization\"'" },
	{ "routes: [{host: a.b, ports: [1], token_env: HOME}]",
	  "r.yaml:1:45: routes[0].token_env: must be EGRESS_PROXY_TOKEN_<n>, not 'HOME'" },
	{ "routes: [{host: a.b, ports: [1], token_env: EGRESS_PROXY_TOKEN_01}]",
	  "r.yaml:1:45: routes[0].token_env: must be EGRESS_PROXY_TOKEN_<n>, not "
	  "'EGRESS_PROXY_TOKEN_01'" },
	{ "routes: [{host: a.b, ports: [1, 2]}, {host: A.b, ports: [2]}]",
	  "r.yaml:1:38: routes[1]: 'a.b' port 2 is already on routes[0]" },
	{ "routes: [{host: a.b, ports: [1], path_allowlist: []}]",
	  "r.yaml:1:50: routes[0].path_allowlist: is an empty list; leave the key out, or "
	  "put "
	  "something in it" },
	{ "routes: [&a {host: a.b, ports: [1]}, *a]",
	  "r.yaml:1:10: anchors (&name) are not allowed; write the value out where it is "
	  "needed" },
};

Test(routes, bad_files)
{
	struct err err;

	for (size_t i = 0; i < sizeof(bad_files) / sizeof(*bad_files); i++) {
		struct proxy_routes routes = { 0 };
		const char *text = bad_files[i][0];

		cr_expect_eq(routes_parse(&routes, "r.yaml", text, strlen(text), &err), -EINVAL);
		cr_expect_str_eq(err.text, bad_files[i][1]);
		cr_expect(!routes.items && !routes.count);
	}
}

/* Sixteen methods on each of a thousand routes are below YAML_VALUES in the manifest, and above it
 * where each route has its ports and git_push written out. */
Test(routes, what_outgrows_the_proxy_is_said_by_the_launcher)
{
	cleanup_with(buf_clear) struct buf text = { 0 }, yaml = { 0 };
	cleanup_with(manifest_clear) struct manifest m;
	struct err err;

	buf_puts(&text, "egress:\n  routes:\n");
	for (int i = 0; i < 1000; i++) {
		buf_printf(&text, "  - {host: h%d.example, methods: [", i);
		for (int j = 0; j < 16; j++)
			buf_printf(&text, "M%d, ", j);
		buf_puts(&text, "]}\n");
	}
	manifest_init(&m);
	cr_assert_eq(manifest_parse(&m, "b.yaml", "/", text.data, text.len, &err), 0, "%s",
		     err.text);
	cr_assert_eq(manifest_check(&m, &err), 0, "%s", err.text);
	cr_expect_eq(routes_render(&m, &yaml, &err), -EINVAL);
	cr_expect(str_starts(err.text, "the proxy could not read its routes: routes.yaml:"), "%s",
		  err.text);
	cr_expect(str_ends(err.text, "more than 20000 values"), "%s", err.text);
}

Test(routes, a_failed_reload_leaves_the_old_table)
{
	cleanup_with(routes_clear) struct proxy_routes routes = { 0 };
	static const char good[] = "version: 1\nroutes: [{host: a.b, ports: [1]}]";
	static const char bad[] = "version: 1\nroutes: [{host: c.d, ports: [1]}, {host: e.f}]";
	struct err err;

	cr_assert_eq(routes_parse(&routes, "r.yaml", good, strlen(good), &err), 0);
	cr_assert_eq(routes_parse(&routes, "r.yaml", bad, strlen(bad), &err), -EINVAL);
	cr_assert_eq(routes.count, 1);
	cr_expect_str_eq(routes.items[0].host, "a.b");
	cr_expect_not(routes.items[0].git_push);
}

Test(routes, example_of_the_docs_is_read)
{
	cleanup_with(routes_clear) struct proxy_routes routes = { 0 };
	cleanup_with(buf_clear) struct buf docs = { 0 };
	char *begin, *end;
	struct err err = { 0 };

	load("docs/manifest.md", &docs);
	begin = strstr(docs.data, "version: 1\n");
	cr_assert_not_null(begin);
	end = strstr(begin, "```");
	cr_assert_not_null(end);
	cr_assert_eq(routes_parse(&routes, "docs", begin, (size_t)(end - begin), &err), 0, "%s",
		     err.text);
	cr_expect_eq(routes.count, 3);
}
