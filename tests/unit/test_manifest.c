/* SPDX-License-Identifier: Apache-2.0
 *
 * bottle.yaml, --allow, --auth and the overrides. Bad input stands in data/config/bad_manifests.txt,
 * each with the whole sentence that it must get. Run from the root of the tree.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "config/keys.h"
#include "config/manifest.h"
#include "config/yaml.h"

#define DATA "tests/unit/data/config/"

static void load(const char *path, struct buf *text)
{
	struct err err;

	cr_assert_eq(file_read(AT_FDCWD, path, 1 << 20, text, &err), 0, "%s", err.text);
	cr_assert_not_null(text->data);
}

/* Parse and check as a run does; the sentence is "" when all is well. */
static int try_manifest(struct manifest *m, const char *text, size_t len, struct err *err)
{
	int rc;

	err->text[0] = '\0';
	manifest_init(m);
	rc = manifest_parse(m, "bottle.yaml", "/work", text, len, err);
	return rc < 0 ? rc : manifest_check(m, err);
}

/* A manifest that must be good. */
static void parse_good(struct manifest *m, const char *text)
{
	struct err err;
	int rc = try_manifest(m, text, strlen(text), &err);

	cr_assert_eq(rc, 0, "%s", err.text);
}

static unsigned hex_digit(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
}

/* Undoes the escapes of bad_manifests.txt in place; returns the length. */
static size_t unescape(char *text)
{
	char *out = text;

	for (const char *in = text; *in; in++) {
		if (*in != '\\') {
			*out++ = *in;
			continue;
		}
		in++;
		if (*in == 'x') {
			*out++ = (char)(hex_digit(in[1]) << 4 | hex_digit(in[2]));
			in += 2;
		} else {
			*out++ = *in == 'n' ? '\n' : *in == 't' ? '\t' : *in;
		}
	}
	*out = '\0';
	return (size_t)(out - text);
}

static void check_bad(char *input, const char *wanted)
{
	size_t len = unescape(input);
	struct manifest m;
	struct err err;
	int rc = try_manifest(&m, input, len, &err);

	cr_expect_eq(rc, -EINVAL, "%s: gave %d, wanted: %s", input, rc, wanted);
	cr_expect_str_eq(err.text, wanted);
	manifest_clear(&m);
}

Test(manifest, bad_inputs_get_their_sentence)
{
	cleanup_with(buf_clear) struct buf cases = { 0 };
	char *rest, *input = NULL;
	size_t count = 0;

	load(DATA "bad_manifests.txt", &cases);
	rest = cases.data;
	for (char *line; (line = strsep(&rest, "\n"));) {
		if (str_starts(line, "in: "))
			input = line + 4;
		if (!str_starts(line, "=> "))
			continue;
		cr_assert_not_null(input, "a sentence without a text: %s", line);
		check_bad(input, line + 3);
		input = NULL;
		count++;
	}
	cr_assert_geq(count, 190, "only %zu cases were found", count);
}

Test(manifest, no_sentence_shows_what_may_be_a_token)
{
	static const char *const texts[] = {
		"egress: {routes: [{host: a.example, auth: {scheme: Bearer, token_ref: "
		"S3CRET-x}}]}",
		"egress: {routes: [{host: a.example, auth: {scheme: Bearer, token_ref: 's3cret "
		"S3CRET'}}]}",
		"egress: {routes: [{host: a.example, auth: {scheme: Bearer S3CRET, token_ref: "
		"T}}]}",
		"egress: {routes: [{host: a.example, auth: {header: 'k: S3CRET', token_ref: T}}]}",
		"egress: {upstream_proxy: {url: 'http://u:S3CRET@p:1', ca: none}}",
		"egress: {upstream_proxy: {url: 'u:S3CRET@p:1', ca: none}}",
		"egress: {routes: [{host: 'u:S3CRET@a.example'}]}",
		"egress: {routes: [{host: 'https://u:S3CRET@a.example'}]}",
		"egress: {routes: [{host: 'u:S3CRET-\xc3\xa4@a.example'}]}",
		"egress: {routes: [{host: a.example, address: 'u:S3CRET@192.0.2.1'}]}",
		"egress: {routes: [{host: a.example, auth: {scheme: ghp_S3CRET0123456789ab, "
		"token_ref: T}}]}",
		"egress: {routes: [{host: a.example, auth: {header: "
		"eyJhbGciOiJFUzI1NiJ9.S3CRET0123456789abcdef0123456789abcdef0123456789abcdef, "
		"token_ref: T}}]}",
	};
	struct manifest m;
	struct err err;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		cr_assert_eq(try_manifest(&m, texts[i], strlen(texts[i]), &err), -EINVAL);
		cr_expect_null(strstr(err.text, "S3CRET"), "%s", err.text);
		manifest_clear(&m);
	}
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

static void expect_list(const struct strlist *list, const char *const *wanted)
{
	size_t i;

	for (i = 0; wanted[i]; i++) {
		cr_assert_lt(i, list->len);
		cr_expect_str_eq(list->items[i], wanted[i]);
	}
	cr_expect_eq(list->len, i);
}

#define EXPECT_LIST(list, ...) expect_list(list, (const char *const[]){ __VA_ARGS__, NULL })

static void expect_full_agent(const struct agent_config *agent)
{
	EXPECT_LIST(&agent->command, "python3", "agent.py", "10", "", "two\nlines");
	cr_expect_str_eq(agent->workdir, "/work/src");
	EXPECT_LIST(&agent->env, "DEBUG=1", "GREETING=yes", "EMPTY=");
	EXPECT_LIST(&agent->pass_env, "TERM", "LANG");
	EXPECT_LIST(&agent->read_only, "/opt/tools", "/home/someone/.gitconfig", "/work/data");
	EXPECT_LIST(&agent->read_write, "/work");
	cr_expect_str_eq(agent->hostname, "box");
	cr_expect_str_eq(agent->image, "debian:12");
}

static void expect_full_routes(const struct manifest *m)
{
	const struct route *r = m->routes;

	cr_assert_eq(m->route_count, 4);
	cr_expect_str_eq(r[0].host, "api.example.com");
	cr_expect(!r[0].is_literal && r[0].git_push && !r[0].allow_private && !r[0].address);
	cr_assert_eq(r[0].port_count, 2);
	cr_expect(r[0].ports[0] == 443 && r[0].ports[1] == 8443);
	EXPECT_LIST(&r[0].path_allowlist, "/v1/", "/health");
	EXPECT_LIST(&r[0].methods, "GET", "POST");
	cr_expect_eq(r[0].auth.kind, AUTH_SCHEME);
	cr_expect_str_eq(r[0].auth.scheme, "Bearer");
	cr_expect_str_eq(r[0].auth.token_ref, "API_TOKEN");
	cr_expect_str_eq(r[0].where, "bottle.yaml:17:7");
	cr_expect_str_eq(r[1].host, "*.example.net");
	cr_expect_str_eq(r[1].address, "10.0.0.1");
	cr_expect(r[1].address_port == 8080 && r[1].allow_private && r[1].auth.kind == AUTH_NONE);
	cr_expect_str_eq(r[2].host, "2001:db8::1");
	cr_expect(r[2].is_literal && r[2].port_count == 1 && r[2].ports[0] == 443);
	cr_expect_eq(r[2].auth.kind, AUTH_HEADER);
	cr_expect_str_eq(r[2].auth.header, "x-api-key");
	cr_expect_str_eq(r[2].address, "2001:db8::2");
	cr_expect_eq(r[2].address_port, 0);
	cr_expect(r[3].is_literal && r[3].auth.kind == AUTH_SCHEME);
}

Test(manifest, every_key_is_read)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	cleanup_with(manifest_clear) struct manifest m;

	setenv("HOME", "/home/someone", 1);
	load(DATA "full.yaml", &text);
	parse_good(&m, text.data);
	cr_expect_str_eq(m.path, "bottle.yaml");
	cr_expect_str_eq(m.name, "demo-1");
	expect_full_agent(&m.agent);
	expect_full_routes(&m);
	cr_expect_str_eq(m.upstream.url, "https://Proxy.example.com:3128/");
	cr_expect_str_eq(m.upstream.host, "proxy.example.com");
	cr_expect_eq(m.upstream.port, 3128);
	cr_expect_str_eq(m.upstream.ca_path, "/work/ca/upstream.pem");
	cr_expect_str_eq(m.upstream.auth.scheme, "Basic");
	EXPECT_LIST(&m.extra_ca, "/etc/corp.pem", "/work/corp2.pem");
	cr_expect_str_eq(m.proxy_image, "localhost/egress-proxy:latest");
	cr_expect(m.proxy_port == 9100 && m.start_timeout_ms == 1500 && m.idmap == IDMAP_SUBID);
	cr_expect_eq(m.limits.memory_bytes, 512ULL << 20);
	cr_expect_eq(m.limits.tmp_bytes, 2ULL << 30);
	cr_expect(m.limits.pids == 200 && m.limits.cpu_milli == 1250 &&
		  m.limits.open_files == 4096);
}

Test(manifest, full_fixture_has_every_key)
{
	cleanup_with(buf_clear) struct buf text = { 0 };

	load(DATA "full.yaml", &text);
	for (size_t i = 0; i < manifest_key_count; i++) {
		const char *last = strrchr(manifest_keys[i].path, '.');
		cleanup_free char *key = str_printf("%s:", last ? last + 1 : manifest_keys[i].path);

		cr_expect_not_null(strstr(text.data, key), "%s", manifest_keys[i].path);
	}
}

Test(manifest, defaults)
{
	cleanup_with(manifest_clear) struct manifest m;

	parse_good(&m, "egress: {routes: [{host: a.example}]}");
	cr_expect(!m.name && !m.agent.workdir && !m.agent.hostname && !m.proxy_image);
	cr_expect(m.proxy_port == 9099 && m.start_timeout_ms == 10000 && m.idmap == IDMAP_AUTO);
	cr_expect(!m.upstream.url && !m.upstream.host && !m.upstream.ca_path && !m.upstream.where);
	cr_expect(!m.limits.memory_bytes && !m.limits.pids && !m.limits.cpu_milli);
	cr_expect(m.routes[0].port_count == 1 && m.routes[0].ports[0] == 443);
	cr_expect(!m.routes[0].path_allowlist.len && !m.routes[0].methods.len);
}

Test(manifest, upstream_proxy_at_an_ipv6_address)
{
	cleanup_with(manifest_clear) struct manifest m;

	parse_good(&m, "egress:\n"
		       "  routes: [{host: a.example}]\n"
		       "  upstream_proxy: {url: 'http://[2001:DB8::1]:3128', ca: none}\n");
	cr_expect_str_eq(m.upstream.host, "2001:db8::1");
	cr_expect(m.upstream.port == 3128 && !m.upstream.ca_path);
}

Test(manifest, what_is_unusual_but_right)
{
	static const char *const texts[] = {
		"\xef\xbb\xbf"
		"egress: {routes: [{host: a.example}]}", /* a byte order mark */
		"---\negress: {routes: [{host: a.example}]}\n...\n",
		"egress:\r\n  routes:\r\n    - host: a.example\r\n",
		"{\"egress\": {\"routes\": [{\"host\": \"a.example\", \"ports\": [443]}]}}",
		"egress: {routes: [{host: xn--bcher-kva.example}]}",
		"egress: {routes: [{host: a_b.example}, {host: localhost}, {host: "
		"r3---sn.example}]}",
		"egress: {routes: [{host: a.example}, {host: a.example, ports: [80]}]}",
		"egress: {routes: [{host: a.example, path_allowlist: [/, //, /a/b..c, "
		"/.well-known/]}]}",
		"egress: {routes: [{host: a.example, path_allowlist: ['/@a%2fb', /@a/b]}]}",
		"egress: {routes: [{host: a.example, methods: [PROPFIND, M-SEARCH]}]}",
		"egress: {routes: [{host: a.example, address: '::1'}]}",
		"egress: {routes: [{host: a.example, address: '[2001:db8::1]:8443'}]}",
		"egress: {routes: [{host: a.example, auth: {header: Authorization, token_ref: "
		"T}}]}",
		"agent: {env: {T: placeholder}}\negress: {routes: [{host: a.example, auth: "
		"{scheme: token, token_ref: T}}]}",
		"name: 443\negress: {routes: [{host: a.example}]}", /* a decimal integer is text too */
	};
	struct manifest m;
	struct err err;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		int rc = try_manifest(&m, texts[i], strlen(texts[i]), &err);

		cr_expect_eq(rc, 0, "text %zu: %s", i, err.text);
		manifest_clear(&m);
	}
}

Test(manifest, size_and_count_limits)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	struct manifest m;
	struct err err;

	for (size_t i = 0; i <= YAML_ITEMS; i++)
		buf_printf(&text, "k%zu: 1\n", i);
	cr_expect_eq(try_manifest(&m, text.data, text.len, &err), -EINVAL);
	cr_expect_str_eq(err.text, "bottle.yaml:4097:1: more than 4096 entries");
	manifest_clear(&m);

	buf_clear(&text);
	for (size_t i = 0; i < 6; i++) {
		buf_printf(&text, "k%zu: [", i);
		for (size_t j = 0; j < 4000; j++)
			buf_puts(&text, "1,");
		buf_puts(&text, "]\n");
	}
	cr_expect_eq(try_manifest(&m, text.data, text.len, &err), -EINVAL);
	cr_expect_str_eq(err.text, "bottle.yaml:5:7994: more than 20000 values");
	manifest_clear(&m);

	while (text.len <= YAML_TEXT_BYTES)
		buf_puts(&text, "# and so on\n");
	cr_expect_eq(try_manifest(&m, text.data, text.len, &err), -EFBIG);
	cr_expect_str_eq(err.text, "bottle.yaml: larger than 1 MiB");
	manifest_clear(&m);
}

Test(manifest, home_must_be_known_for_a_tilde)
{
	static const char text[] = "agent: {read_only: [~/x]}\n";
	cleanup_with(manifest_clear) struct manifest m;
	struct err err;

	unsetenv("HOME");
	cr_expect_eq(try_manifest(&m, text, strlen(text), &err), -EINVAL);
	cr_expect_str_eq(err.text,
			 "bottle.yaml:1:21: agent.read_only[0]: '~/x': HOME is not set to an "
			 "absolute path");
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

Test(manifest, no_routes_without_a_file)
{
	cleanup_with(manifest_clear) struct manifest m;
	struct err err;

	manifest_init(&m);
	cr_expect_eq(manifest_check(&m, &err), -EINVAL);
	cr_expect_str_eq(err.text,
			 "no routes, so nothing could be reached; add --allow HOST, or name a "
			 "manifest with -f");
}

/* The documents carry the table of keys word for word (config/gen/print_keys.c writes it). */
Test(docs, key_tables_are_those_of_the_parser)
{
	cleanup_with(buf_clear) struct buf markdown = { 0 }, scdoc = { 0 };
	cleanup_with(buf_clear) struct buf docs = { 0 }, man = { 0 };

	keys_print_markdown(&markdown);
	keys_print_scdoc(&scdoc);
	load("docs/manifest.md", &docs);
	load("man/bottle.yaml.5.scd", &man);
	cr_expect_not_null(strstr(docs.data, markdown.data),
			   "docs/manifest.md is stale; see config/gen/print_keys.c");
	cr_expect_not_null(strstr(man.data, scdoc.data),
			   "man/bottle.yaml.5.scd is stale; see config/gen/print_keys.c");
	for (size_t i = 0; i < manifest_key_count; i++)
		cr_expect_not_null(strstr(docs.data, manifest_keys[i].path), "%s",
				   manifest_keys[i].path);
}

/* The first block between `begin` and `end` after it, as a manifest. */
static void check_example(const char *document, const char *begin)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	cleanup_with(manifest_clear) struct manifest m;
	char *start, *end;

	load(document, &text);
	start = strstr(text.data, begin);
	cr_assert_not_null(start);
	start += strlen(begin);
	end = strstr(start, "\n```");
	cr_assert_not_null(end);
	end[1] = '\0';
	parse_good(&m, start);
}

Test(docs, examples_are_good_manifests)
{
	check_example("docs/manifest.md", "```yaml\n");
	check_example("man/bottle.yaml.5.scd", "# EXAMPLE\n\n```\n");
}

Test(docs, reserved_variables_are_named)
{
	cleanup_with(buf_clear) struct buf docs = { 0 };

	load("docs/manifest.md", &docs);
	for (size_t i = 0; manifest_reserved_env[i]; i++)
		if (manifest_reserved_env[i][0] <= 'Z')
			cr_expect_not_null(strstr(docs.data, manifest_reserved_env[i]), "%s",
					   manifest_reserved_env[i]);
}
