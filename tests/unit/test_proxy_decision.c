/* SPDX-License-Identifier: Apache-2.0
 * The decision, the table of routes and the paths. tests/mitmproxy/test_same.py compares thousands of
 * decisions with the other proxy; here stands what each rule is there for. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "proxy/decision.h"
#include "proxy/path.h"

static const char ROUTES[] = "version: 1\n"
			     "routes:\n"
			     "  - host: \"*.a.test\"\n"
			     "    ports: [80, 443]\n"
			     "    git_push: false\n"
			     "  - host: \"api.a.test\"\n"
			     "    ports: [443]\n"
			     "    path_allowlist: [\"/v1/\", \"/git\"]\n"
			     "    auth_header: \"x-api_key\"\n"
			     "    token_env: \"EGRESS_PROXY_TOKEN_0\"\n"
			     "    git_push: false\n"
			     "  - host: \"*.b.a.test\"\n"
			     "    ports: [443]\n"
			     "    git_push: true\n"
			     "  - host: \"api.a.test\"\n"
			     "    ports: [8443]\n"
			     "    git_push: false\n";

static struct routetable *make_table(const char *yaml)
{
	struct proxy_routes routes = { 0 };
	struct err err = { "" };

	cr_assert_eq(routes_parse(&routes, "routes.yaml", yaml, strlen(yaml), &err), 0, "%s",
		     err.text);
	struct routetable *table = routetable_new(&routes);
	cr_assert_not_null(table);
	cr_assert_null(routes.items);
	return table;
}

static const char *rule_of(const struct routetable *table, const char *host, uint16_t port)
{
	const struct proxy_route *route = routetable_find(table, host, port);

	return route ? route->host : "";
}

Test(proxy_routetable, takes_the_nearest_name_and_then_its_port)
{
	struct routetable *table = make_table(ROUTES);

	cr_expect_str_eq(rule_of(table, "api.a.test", 443), "api.a.test");
	cr_expect_str_eq(rule_of(table, "api.a.test", 8443), "api.a.test");
	cr_expect_str_eq(rule_of(table, "api.a.test", 80), "", "the wildcard has the port");
	cr_expect_str_eq(rule_of(table, "x.api.a.test", 80), "*.a.test");
	cr_expect_str_eq(rule_of(table, "x.b.a.test", 443), "*.b.a.test");
	cr_expect_str_eq(rule_of(table, "x.b.a.test", 80), "");
	cr_expect_str_eq(rule_of(table, "b.a.test", 80), "*.a.test");
	cr_expect_str_eq(rule_of(table, "a.test", 443), "", "the apex");
	cr_expect(routetable_has_host(table, "api.a.test"));
	cr_expect_not(routetable_has_host(table, "a.test"));
	cr_expect_not(routetable_has_host(table, ""));
	routetable_unref(table);
}

Test(proxy_routetable, finds_each_of_many)
{
	cleanup_with(buf_clear) struct buf yaml = { 0 };
	char host[64];

	buf_puts(&yaml, "version: 1\nroutes:\n");
	for (int i = 0; i < 1024; i++)
		buf_printf(&yaml, "  - host: \"h%d.test\"\n    ports: [%d]\n    git_push: false\n",
			   i, i + 1);
	struct routetable *table = make_table(yaml.data);
	for (int i = 0; i < 1024; i++) {
		snprintf(host, sizeof(host), "h%d.test", i);
		cr_assert_str_eq(rule_of(table, host, (uint16_t)(i + 1)), host);
		cr_assert_str_eq(rule_of(table, host, (uint16_t)(i + 2)), "");
	}
	routetable_unref(table);
}

Test(proxy_routetable, lives_as_long_as_its_last_reference)
{
	struct routetable *table = make_table(ROUTES);
	struct routetable *other = routetable_ref(table);

	routetable_unref(table);
	cr_expect_str_eq(rule_of(other, "api.a.test", 443), "api.a.test");
	routetable_unref(other);
	routetable_unref(NULL);
}

Test(proxy_decision, matches_every_reading_of_a_path)
{
	char *items[] = { "/v1/", "/git", NULL };
	const struct strlist rules = { items, 2 };
	static const struct {
		const char *target, *problem;
		bool is_allowed, is_git_push;
	} CASES[] = {
		{ "/v1/x?q=/../", NULL, true, false },
		{ "/v1", NULL, false, false },
		{ "/git", NULL, true, false },
		{ "/gitx", NULL, false, false },
		{ "/v1%2fx", NULL, false, false },
		{ "/v1/%2fx", NULL, true, false },
		{ "/v1/%2e%2e/x", "a dot segment", false, false },
		{ "/v1/%25252e./x", "a dot segment", false, false },
		{ "/v1/..;x/y", "a dot segment", false, false },
		{ "/v1/%c0%ae./", "an overlong UTF-8 sequence", false, false },
		{ "/v1/%5c", "a backslash", false, false },
		{ "/v1/%2500", "a control character", false, false },
		{ "/v1/%", "a broken percent-escape", false, false },
		{ "/v1/#", "a fragment", false, false },
		{ "/v1/\xc3\xa9", "a byte that no URI has", false, false },
		{ "v1/", "no `/` at its start", false, false },
		{ "/v1/%2525252525252525", NULL, true, false },
		{ "/v1/%252525252525252525", "percent-encoded too often", false, false },
		{ "/git/a/git-receive-pack", NULL, true, true },
		{ "/git/info/refs?service=git-receive%2dpack", NULL, true, true },
		{ "/git/info/refs?service=git-upload-pack", NULL, true, false },
		{ "/git/INFO//refs;x/%3fservice=git-receive-pack", NULL, true, true },
	};

	for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
		struct span target = { CASES[i].target, strlen(CASES[i].target) };
		struct path_judgement got;
		cr_assert_eq(path_judge(target, &rules, &got), 0);
		cr_expect_str_eq(got.problem ? got.problem : "",
				 CASES[i].problem ? CASES[i].problem : "", "%s", CASES[i].target);
		if (CASES[i].problem)
			continue;
		cr_expect_eq(got.is_allowed, CASES[i].is_allowed, "%s", CASES[i].target);
		cr_expect_eq(got.is_git_push, CASES[i].is_git_push, "%s", CASES[i].target);
	}
}

Test(proxy_decision, keeps_no_field_that_may_be_a_credential)
{
	static const struct {
		struct field field;
		bool is_kept;
	} CASES[] = {
		{ { SPAN("Accept"), SPAN("*/*") }, true },
		{ { SPAN("Connection"), SPAN("close, X-Named") }, false },
		{ { SPAN("x-named"), SPAN("a") }, false },
		{ { SPAN("X-API-Key"), SPAN("mine") }, false },
		{ { SPAN("x_api_key"), SPAN("mine") }, false },
		{ { SPAN("Authorization"), SPAN("mine") }, false },
		{ { SPAN("Proxy_Any"), SPAN("mine") }, false },
		{ { SPAN("Host"), SPAN("api.a.test") }, false },
		{ { SPAN("Content_Length"), SPAN("1") }, false },
		{ { SPAN("Expect"), SPAN("100-continue") }, true },
		{ { SPAN("TE"), SPAN("trailers") }, false },
	};
	enum { COUNT = sizeof(CASES) / sizeof(CASES[0]) };
	struct routetable *table = make_table(ROUTES);
	const struct authority place = { "api.a.test", 443 };
	struct field fields[COUNT];
	struct tokens tokens;
	struct verdict verdict;
	struct err err;

	setenv("EGRESS_PROXY_TOKEN_0", "t", 1);
	cr_assert_eq(tokens_take(&tokens, &err), 0);
	for (size_t i = 0; i < COUNT; i++)
		fields[i] = CASES[i].field;
	struct request request = { .is_https = true,
				   .is_http11 = true,
				   .method = SPAN("GET"),
				   .target = SPAN("/v1/"),
				   .connect = &place,
				   .sni = "API.a.test",
				   .fields = { fields, COUNT } };
	decide(&request, table, &tokens, &verdict);
	cr_assert(verdict.is_allowed, "%s", verdict.reason);
	cr_expect(verdict.wants_close);
	cr_expect(decision_has_credential(&request, &verdict));
	for (size_t i = 0; i < COUNT; i++)
		cr_expect_eq(decision_keeps_field(&request, &verdict, &fields[i]), CASES[i].is_kept,
			     "%s", fields[i].name.at);
	tokens_wipe(&tokens);
	decide(&request, table, &tokens, &verdict);
	cr_expect_str_eq(verdict.reason, "no_token");
	cr_expect_not(verdict.is_allowed);
	routetable_unref(table);
}
