/* SPDX-License-Identifier: Apache-2.0
 *
 * bottle.yaml (--allow, --auth and the overrides: test_manifest_options.c). Bad input stands in data/config/bad_manifests.txt,
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
#include "tests/lib/expect_list.h"

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
