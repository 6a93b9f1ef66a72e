/* SPDX-License-Identifier: Apache-2.0
 * config/options.c: what --allow, --auth and the variables of the environment make of a manifest. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "config/manifest.h"
#include "tests/lib/expect_list.h"

static void parse_good(struct manifest *m, const char *text)
{
	struct err err;

	manifest_init(m);
	cr_assert_eq(manifest_parse(m, "bottle.yaml", "/work", text, strlen(text), &err), 0, "%s",
		     err.text);
	cr_assert_eq(manifest_check(m, &err), 0, "%s", err.text);
}

/* Adds --allow options (NULL-terminated) to a manifest; the last one's result. */
static int allow(struct manifest *m, const char *const *specs, struct err *err)
{
	int rc = 0;

	for (; *specs && rc == 0; specs++)
		rc = manifest_add_allow(m, *specs, err);
	return rc;
}

#define ALLOW(m, err, ...) allow(m, (const char *const[]){ __VA_ARGS__, NULL }, err)

Test(options, allow_makes_routes)
{
	cleanup_with(manifest_clear) struct manifest m;
	struct err err;

	manifest_init(&m);
	cr_assert_eq(ALLOW(&m, &err, "API.example.com", "[2001:DB8::1]:8443/v1/", "b.example:80/a",
			   "b.example:80/b", "*.c.example", "192.0.2.1"),
		     0, "%s", err.text);
	cr_assert_eq(manifest_check(&m, &err), 0, "%s", err.text);
	cr_assert_eq(m.route_count, 5);
	cr_expect_str_eq(m.routes[0].host, "api.example.com");
	cr_expect(m.routes[0].ports[0] == 443 && !m.routes[0].path_allowlist.len);
	cr_expect_str_eq(m.routes[0].where, "--allow API.example.com");
	cr_expect_str_eq(m.routes[1].host, "2001:db8::1");
	cr_expect(m.routes[1].is_literal && m.routes[1].ports[0] == 8443);
	EXPECT_LIST(&m.routes[1].path_allowlist, "/v1/");
	EXPECT_LIST(&m.routes[2].path_allowlist, "/a", "/b");
	cr_expect_eq(m.routes[2].ports[0], 80);
	cr_expect(m.routes[4].is_literal);
}

Test(options, allow_widens_and_never_narrows)
{
	cleanup_with(manifest_clear) struct manifest m;
	struct err err;

	parse_good(&m,
		   "egress: {routes: [{host: all.example}, {host: some.example, path_allowlist: "
		   "[/a]}, {host: two.example, ports: [80, 443], path_allowlist: [/a]}]}");
	cr_assert_eq(ALLOW(&m, &err, "all.example/x", "some.example/b", "some.example/a"), 0);
	cr_expect_eq(m.route_count, 3);
	cr_expect_eq(m.routes[0].path_allowlist.len, 0, "--allow narrowed a route");
	EXPECT_LIST(&m.routes[1].path_allowlist, "/a", "/b");
	cr_assert_eq(ALLOW(&m, &err, "some.example"), 0);
	cr_expect_eq(m.routes[1].path_allowlist.len, 0);
	cr_assert_eq(ALLOW(&m, &err, "two.example/a"), 0);
	cr_assert_eq(ALLOW(&m, &err, "two.example/b"), -EINVAL);
	cr_expect_str_eq(err.text,
			 "--allow two.example/b: the route at bottle.yaml:1:84 has this host "
			 "on other ports too, which would be widened as well; change it "
			 "there");
}

Test(options, allow_of_the_proxy_port)
{
	cleanup_with(manifest_clear) struct manifest m;
	struct err err;

	manifest_init(&m);
	cr_assert_eq(ALLOW(&m, &err, "a.example:9099"), 0);
	cr_expect_eq(manifest_check(&m, &err), -EINVAL);
	cr_expect_str_eq(err.text, "--allow a.example:9099: port 9099 is the proxy's own; give "
				   "proxy.port another value");
	cr_assert_eq(manifest_apply_overrides(&m, NULL, "9100", &err), 0);
	cr_expect_eq(manifest_check(&m, &err), 0);
}

Test(options, bad_allow)
{
	static const char *const cases[][2] = {
		{ "", "--allow : is empty; write a host such as api.example.com" },
		{ "https://a.example/",
		  "--allow https://a.example/: is a URL; write HOST[:PORT][/PATH]" },
		{ "a.example:", "--allow a.example:: '' is no port; a port is 1 to 65535" },
		{ "a.example:0443/",
		  "--allow a.example:0443/: '0443' is no port; a port is 1 to 65535" },
		{ "a.example:65536",
		  "--allow a.example:65536: '65536' is no port; a port is 1 to 65535" },
		{ "2001:db8::1", "--allow 2001:db8::1: write an IPv6 address in brackets: "
				 "[ADDRESS]:PORT" },
		{ "[2001:db8::1", "--allow [2001:db8::1: write an IPv6 address as [ADDRESS]:PORT" },
		{ "[2001:db8::1]x",
		  "--allow [2001:db8::1]x: write an IPv6 address as [ADDRESS]:PORT" },
		{ "*", "--allow *: '*' would let everything through; name the hosts, or "
		       "*.example.com" },
		{ "a.example/x?y", "--allow a.example/x?y: '/x?y' has a '?'; only the path is "
				   "compared, so end it there" },
		{ "198.18.0.1", "--allow 198.18.0.1: '198.18.0.1' lies in 198.18.0.0/15, where the "
				"gate's own addresses are" },
		{ "a\n.example",
		  "--allow a\\n.example: 'a\\n.example' has a byte that no host name "
		  "has: 0x0a" },
	};
	struct manifest m;
	struct err err;

	manifest_init(&m);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		cr_expect_eq(manifest_add_allow(&m, cases[i][0], &err), -EINVAL);
		cr_expect_str_eq(err.text, cases[i][1]);
	}
	cr_expect_eq(m.route_count, 0);
	manifest_clear(&m);
}

Test(options, auth_is_given_to_every_route_of_the_host)
{
	cleanup_with(manifest_clear) struct manifest m;
	struct err err;

	manifest_init(&m);
	cr_assert_eq(ALLOW(&m, &err, "a.example", "a.example:8443", "b.example", "[::1]:1"), 0);
	cr_assert_eq(manifest_add_auth(&m, "A.example=Bearer:TOKEN", &err), 0, "%s", err.text);
	cr_assert_eq(manifest_add_auth(&m, "b.example=X-Api-Key:KEY", &err), 0, "%s", err.text);
	cr_assert_eq(manifest_add_auth(&m, "[::1]=Basic:USER", &err), 0, "%s", err.text);
	cr_expect_eq(m.routes[0].auth.kind, AUTH_SCHEME);
	cr_expect_str_eq(m.routes[1].auth.scheme, "Bearer");
	cr_expect_str_eq(m.routes[1].auth.token_ref, "TOKEN");
	cr_expect_eq(m.routes[2].auth.kind, AUTH_HEADER);
	cr_expect_str_eq(m.routes[2].auth.header, "x-api-key");
	cr_expect_str_eq(m.routes[3].auth.scheme, "Basic");
}

Test(options, bad_auth)
{
	static const char *const cases[][2] = {
		{ "a.example", "--auth: write HOST=SCHEME:VARIABLE, such as "
			       "api.example.com=Bearer:API_TOKEN" },
		{ "a.example:Bearer:s3cret", "--auth: write HOST=SCHEME:VARIABLE, such as "
					     "api.example.com=Bearer:API_TOKEN" },
		{ "a.example=s3cret", "--auth a.example: write HOST=SCHEME:VARIABLE or "
				      "HOST=HEADER:VARIABLE, such as "
				      "api.example.com=Bearer:API_TOKEN" },
		{ "a.example=Bearer:s3-cret",
		  "--auth a.example: not the name of an environment variable, such as API_TOKEN "
		  "(the "
		  "text is not shown: it may be the token itself, which must not stand here)" },
		{ "a.example=bearer:T", "--auth a.example: 'bearer' must be written 'Bearer'" },
		{ "a.example=host:T", "--auth a.example: 'host' belongs to the connection or the "
				      "message's framing and cannot carry a token" },
		{ "c.example=Bearer:T",
		  "--auth c.example: no route leads to 'c.example'; add --allow c.example" },
		{ "b.example=Bearer:T",
		  "--auth b.example: the route at --allow b.example has an auth "
		  "already; keep one" },
		{ "a.example=Bearer:EGRESS_PROXY_TOKEN_0",
		  "--auth a.example: 'EGRESS_PROXY_TOKEN_0' is one of the names under which the "
		  "proxy "
		  "gets its tokens; use another variable" },
	};
	struct manifest m;
	struct err err;

	manifest_init(&m);
	cr_assert_eq(ALLOW(&m, &err, "a.example", "b.example"), 0);
	cr_assert_eq(manifest_add_auth(&m, "b.example=Bearer:T", &err), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		cr_expect_eq(manifest_add_auth(&m, cases[i][0], &err), -EINVAL);
		cr_expect_str_eq(err.text, cases[i][1]);
	}
	manifest_clear(&m);
}

Test(options, overrides)
{
	cleanup_with(manifest_clear) struct manifest m;
	struct err err;

	parse_good(&m, "proxy: {image: a, port: 9000}\negress: {routes: [{host: a.example}]}");
	cr_assert_eq(manifest_apply_overrides(&m, NULL, NULL, &err), 0);
	cr_assert_eq(manifest_apply_overrides(&m, "", "", &err), 0);
	cr_expect(m.proxy_port == 9000 && strcmp(m.proxy_image, "a") == 0);
	cr_assert_eq(manifest_apply_overrides(&m, "b:1", "9001", &err), 0, "%s", err.text);
	cr_expect(m.proxy_port == 9001 && strcmp(m.proxy_image, "b:1") == 0);
	cr_assert_eq(manifest_apply_overrides(&m, NULL, "80", &err), -EINVAL);
	cr_expect_str_eq(err.text, "BOTTLE_EGRESS_PROXY_PORT: must be 1024 to 65535, not '80'");
	cr_assert_eq(manifest_apply_overrides(&m, NULL, "9099x", &err), -EINVAL);
	cr_assert_eq(manifest_apply_overrides(&m, "-v", NULL, &err), -EINVAL);
	cr_expect_str_eq(err.text,
			 "BOTTLE_EGRESS_PROXY_IMAGE: '-v' is no image; write NAME[:TAG] or "
			 "sha256:DIGEST");
}

Test(options, no_sentence_shows_what_may_be_a_token)
{
	static const char *const specs[] = { "https://u:S3CRET@a.example", "u:S3CRET@a.example",
					     "S3CRET@a.example/p", "https://u:S3/CRET@a.example" };
	cleanup_with(manifest_clear) struct manifest m;
	struct err err;

	manifest_init(&m);
	for (size_t i = 0; i < sizeof(specs) / sizeof(*specs); i++) {
		cr_expect_eq(manifest_add_allow(&m, specs[i], &err), -EINVAL);
		cr_expect_str_eq(err.text, "--allow: a host has no user and password before it "
					   "(not shown); write HOST[:PORT][/PATH]");
	}
	cr_expect_eq(manifest_add_allow(&m, "u:S3CRET/S3CRET@a.example", &err), -EINVAL);
	cr_expect_null(strstr(err.text, "S3CRET"), "%s", err.text);
	cr_expect_eq(manifest_add_auth(&m, "u:S3CRET@a.example=Bearer:T", &err), -EINVAL);
	cr_expect_null(strstr(err.text, "S3CRET"), "%s", err.text);
	cr_expect_eq(manifest_add_allow(&m, "a.example/@scope/x", &err), 0, "%s", err.text);
}
