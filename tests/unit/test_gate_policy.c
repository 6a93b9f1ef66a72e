/* SPDX-License-Identifier: Apache-2.0
 * Which (name, port), which address; the table of refusals; names and addresses. */
#include "netns/gate_policy.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "netns/gate_names.h"

#define G ADDRESS_GLOBAL
#define P ADDRESS_PRIVATE
#define M ADDRESS_METADATA
#define N ADDRESS_NEVER

static const struct {
	const char *ip;
	enum address_class want;
} verdicts[] = {
	/* IPv4: both edges of each range, and the neighbours. */
	{ "0.0.0.0", N },
	{ "0.255.255.255", N },
	{ "1.0.0.0", G },
	{ "1.1.1.1", G },
	{ "9.255.255.255", G },
	{ "10.0.0.0", P },
	{ "10.255.255.255", P },
	{ "11.0.0.0", G },
	{ "100.63.255.255", G },
	{ "100.64.0.0", P },
	{ "100.96.0.96", M },
	{ "100.100.100.199", P },
	{ "100.100.100.200", M },
	{ "100.127.255.255", P },
	{ "100.128.0.0", G },
	{ "126.255.255.255", G },
	{ "127.0.0.1", P },
	{ "127.255.255.254", P },
	{ "128.0.0.0", G },
	{ "168.63.129.15", G },
	{ "168.63.129.16", M },
	{ "169.253.255.255", G },
	{ "169.254.0.1", P },
	{ "169.254.0.23", M },
	{ "169.254.42.42", M },
	{ "169.254.169.123", M },
	{ "169.254.169.254", M },
	{ "169.254.170.2", M },
	{ "169.254.170.23", M },
	{ "169.254.171.1", P },
	{ "169.255.0.0", G },
	{ "172.15.255.255", G },
	{ "172.16.0.0", P },
	{ "172.31.255.255", P },
	{ "172.32.0.0", G },
	{ "192.0.0.1", P },
	{ "192.0.0.8", P },
	{ "192.0.0.9", G },
	{ "192.0.0.10", G },
	{ "192.0.0.170", P },
	{ "192.0.0.192", M },
	{ "192.0.1.0", G },
	{ "192.0.2.1", P },
	{ "192.0.3.0", G },
	{ "192.31.196.1", G },
	{ "192.52.193.1", G },
	{ "192.88.99.1", P },
	{ "192.167.255.255", G },
	{ "192.168.0.0", P },
	{ "192.168.255.255", P },
	{ "192.169.0.0", G },
	{ "192.175.48.1", G },
	{ "198.17.255.255", G },
	{ "198.18.0.0", P },
	{ "198.19.255.255", P },
	{ "198.20.0.0", G },
	{ "198.51.100.7", P },
	{ "203.0.113.7", P },
	{ "223.255.255.255", G },
	{ "224.0.0.1", N },
	{ "239.255.255.255", N },
	{ "240.0.0.0", P },
	{ "255.255.255.254", P },
	{ "255.255.255.255", N },
	/* IPv6. */
	{ "::", N },
	{ "::1", P },
	{ "::2", N }, /* IPv4-compatible 0.0.0.2 */
	{ "100::1", P },
	{ "200::1", P },
	{ "1fff:ffff::1", P },
	{ "2000::1", G },
	{ "2001::1", N }, /* Teredo: 0.0.0.0 as its server */
	{ "2001:1::", P },
	{ "2001:1::1", G },
	{ "2001:1::2", G },
	{ "2001:1::3", G },
	{ "2001:1::4", P },
	{ "2001:2::1", P },
	{ "2001:2:1::1", P },
	{ "2001:3::1", G },
	{ "2001:4:112::1", G },
	{ "2001:4:113::1", P },
	{ "2001:10::1", P },
	{ "2001:20::1", G },
	{ "2001:2f::1", G },
	{ "2001:30::1", G },
	{ "2001:40::1", P },
	{ "2001:1ff:ffff::1", P },
	{ "2001:200::1", G },
	{ "2001:4860:4860::8888", G },
	{ "2001:db7:ffff::1", G },
	{ "2001:db8::1", P },
	{ "2001:db9::1", G },
	{ "2620:4f:8000::1", G },
	{ "2a00:1450:4001::200e", G },
	{ "3ffe::1", G },
	{ "3fff::1", P },
	{ "3fff:fff::1", P },
	{ "3fff:1000::1", G },
	{ "4000::1", P },
	{ "5f00::1", P },
	{ "fbff::1", P },
	{ "fc00::1", P },
	{ "fd12:3456::1", P },
	{ "fd00:ec2::254", M },
	{ "fd00:ec2::23", M },
	{ "fd20:ce::254", M },
	{ "fd00:c1::a9fe:a9fe", M },
	{ "fd00:42::42", M },
	{ "fd00:42::43", P },
	{ "fe80::1", P },
	{ "fe80::a9fe:a9fe", M },
	{ "fec0::1", P },
	{ "ff02::1", N },
	{ "ff0e::1", N },
	/* IPv4 inside IPv6: as bad as the worse of the two. */
	{ "::ffff:8.8.8.8", G },
	{ "::ffff:127.0.0.1", P },
	{ "::ffff:10.0.0.1", P },
	{ "::ffff:169.254.169.254", M },
	{ "::ffff:0.0.0.0", N },
	{ "::127.0.0.1", P },
	{ "::169.254.169.254", M },
	{ "::8.8.8.8", P },
	{ "::ffff:0:169.254.169.254", M },
	{ "::ffff:0:8.8.8.8", P },
	{ "64:ff9b::8.8.8.8", G },
	{ "64:ff9b::10.0.0.1", P },
	{ "64:ff9b::127.0.0.1", P },
	{ "64:ff9b::168.63.129.16", M },
	{ "64:ff9b::169.254.169.254", M },
	{ "64:ff9b::0.0.0.0", N },
	{ "64:ff9b::1:808:808", P },
	{ "64:ff9b:1::8.8.8.8", P },	   /* not 0.0.0.0, as it would read cut at /48 */
	{ "64:ff9b:1:a9fe:a9:fe00::", M }, /* /48 */
	{ "64:ff9b:1:fffe:fe:a9fe:a9fe:a9fe", M },
	{ "2002:808:808::1", P },
	{ "2002:a9fe:a9fe::1", M },
	{ "2002:7f00:1::1", P },
	{ "2002:e000:1::1", N },
	{ "2001:0:4136:e378:8000:63bf:3fff:fdd2", P },
	{ "2001:0:a9fe:a9fe:8000:63bf:3fff:fdd2", M }, /* Teredo server */
	{ "2001:0:4136:e378:8000:63bf:5601:5601", M }, /* client 169.254.169.254, inverted */
	{ "2a00:1::5efe:8.8.8.8", G },		       /* ISATAP */
	{ "2a00:1::5efe:10.0.0.1", P },
	{ "2a00:1::200:5efe:169.254.169.254", M },
	{ "2a00:1::300:5efe:10.0.0.1", G }, /* no ISATAP */
};

static struct address ip(const char *text)
{
	struct address parsed = { 0 };

	cr_assert(address_parse(text, &parsed), "%s", text);
	return parsed;
}

Test(gate_policy, every_special_range_has_its_verdict)
{
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		struct address a = ip(verdicts[i].ip);
		const char *range = NULL;

		cr_expect_eq(address_classify(&a, &range), verdicts[i].want, "%s: %s",
			     verdicts[i].ip, range);
		cr_expect_not_null(range);
	}
}

Test(gate_policy, what_opens_what)
{
	/* rows: class; columns: nothing, allow_private, address; each also as an own address */
	static const struct {
		const char *ip;
		bool is_own, allow_private, named;
		const char *want;
	} cases[] = {
		{ "8.8.8.8", 0, 0, 0, NULL },
		{ "8.8.8.8", 1, 0, 0, "own_address" },
		{ "8.8.8.8", 1, 1, 0, NULL },
		{ "8.8.8.8", 1, 0, 1, NULL },
		{ "10.0.0.1", 0, 0, 0, "private_address" },
		{ "10.0.0.1", 0, 1, 0, NULL },
		{ "10.0.0.1", 0, 0, 1, NULL },
		{ "127.0.0.1", 1, 0, 0, "private_address" },
		{ "127.0.0.1", 1, 1, 0, NULL },
		{ "169.254.169.254", 0, 0, 0, "metadata_address" },
		{ "169.254.169.254", 0, 1, 0, "metadata_address" },
		{ "169.254.169.254", 0, 0, 1, NULL },
		{ "168.63.129.16", 0, 1, 0, "metadata_address" },
		{ "fd00:ec2::254", 0, 1, 0, "metadata_address" },
		{ "0.0.0.0", 0, 1, 1, "never_dialled" },
		{ "224.0.0.1", 0, 1, 1, "never_dialled" },
		{ "255.255.255.255", 0, 1, 1, "never_dialled" },
		{ "::", 0, 1, 1, "never_dialled" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct address a = ip(cases[i].ip);
		const char *range = NULL;
		const char *got = address_refusal(&a, cases[i].is_own, cases[i].allow_private,
						  cases[i].named, &range);

		cr_expect_str_eq(got ? got : "-", cases[i].want ? cases[i].want : "-", "row %zu",
				 i);
	}
}

Test(gate_policy, no_text_but_a_literal_is_an_address)
{
	static const char *const bad[] = {
		"",	  "1.2.3",    "1.2.3.4.5", "0x7f.1",	 "127.1", "1.2.3.256", "[::1]",
		"::1%lo", " 1.1.1.1", "1.1.1.1.",  "2130706433", ":::",	  "1.1.1.1/8"
	};
	struct address a;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(address_parse(bad[i], &a), "%s", bad[i]);
}

static const struct gate_target targets[] = {
	{ .host = "API.example.com.", .port = 443 },
	{ .host = "api.example.com", .port = 8443 },
	{ .host = "*.example.com", .port = 80 },
	{ .host = "*.Deep.example.com", .port = 443, .allow_private = true },
	{ .host = "192.0.2.1", .port = 443 },
	{ .host = "2001:0DB8:0:0::1", .port = 443 },
	{ .host = "*.1", .port = 443 },
	{ .host = "fixed.test", .port = 443, .address = "::ffff:10.0.0.1" },
};

Test(gate_policy, the_pair_decides)
{
	static const struct {
		const char *name;
		uint16_t port;
		const char *want;
	} cases[] = {
		{ "api.example.com", 443, "api.example.com" },
		{ "api.example.com", 8443, "api.example.com" },
		{ "api.example.com", 80, NULL }, /* the wildcard's port is not the exact name's */
		{ "api.example.com", 444, NULL },
		{ "x.example.com", 80, "*.example.com" },
		{ "x.y.example.com", 80, "*.example.com" },
		{ "example.com", 80, NULL }, /* never the apex */
		{ ".example.com", 80, NULL },
		{ "evilexample.com", 80, NULL },
		{ "x.example.com.evil.test", 80, NULL },
		{ "a.deep.example.com", 443, "*.deep.example.com" },
		{ "a.deep.example.com", 80, NULL }, /* the longest suffix decides */
		{ "deep.example.com", 80, "*.example.com" },
		{ "192.0.2.1", 443, "192.0.2.1" },
		{ "2001:db8::1", 443, "2001:db8::1" },
		{ "10.0.0.1", 443, NULL }, /* "*.1" is no pattern for addresses */
		{ "*.example.com", 80, "*.example.com" },
		{ "", 443, NULL },
	};
	struct gate_policy policy;
	struct err err;

	cr_assert_eq(gate_policy_init(&policy, targets, 8, &err), 0, "%s", err.text);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct gate_target *t = gate_policy_find(&policy, cases[i].name,
							       cases[i].port);

		cr_expect_str_eq(t ? t->host : "-", cases[i].want ? cases[i].want : "-", "%s:%u",
				 cases[i].name, cases[i].port);
		cr_expect(!t || t->port == cases[i].port);
	}
	cr_expect_str_eq(gate_policy_find(&policy, "fixed.test", 443)->address, "10.0.0.1");
	gate_policy_clear(&policy);
}

Test(gate_policy, a_bad_table_is_refused)
{
	static const struct gate_target bad[] = {
		{ .host = "", .port = 443 },
		{ .host = ".", .port = 443 },
		{ .host = "a.test", .port = 0 },
		{ .host = "a.test", .port = 1, .address = "b.test" },
		{ .host = "a.test", .port = 1, .address = "" },
	};
	struct gate_policy policy;
	struct err err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_eq(gate_policy_init(&policy, &bad[i], 1, &err), -EINVAL, "row %zu", i);
}

Test(gate_policy, an_address_is_never_given_to_a_second_name)
{
	struct gate_names names;
	uint32_t first, address, last = 0;
	struct err err;
	char name[32];

	cr_assert_eq(gate_names_init(&names, GATE_SYNTHETIC_BASE, &err), 0);
	cr_assert_eq(gate_names_address(&names, "first.test", &first), 0);
	cr_expect_eq(first, GATE_SYNTHETIC_BASE + 1);
	for (int i = 1; i < GATE_NAMES_MAX; i++) {
		snprintf(name, sizeof(name), "n%d.wild.test", i);
		cr_assert_eq(gate_names_address(&names, name, &address), 0);
		cr_assert(address != first && address > last);
		cr_assert(gate_names_in_range(&names, address));
		cr_assert_str_eq(gate_names_at(&names, address), name);
		last = address;
	}
	cr_expect_eq(gate_names_address(&names, "one.too.many", &address), -ENOSPC);
	cr_expect_eq(gate_names_address(&names, "first.test", &address), 0);
	cr_expect_eq(address, first);
	cr_expect_null(gate_names_at(&names, GATE_SYNTHETIC_BASE));
	cr_expect_null(gate_names_at(&names, last + 1));
	cr_expect_null(gate_names_at(&names, 0));
	cr_expect_null(gate_names_at(&names, UINT32_MAX));
	cr_expect(gate_names_in_range(&names, 0xc613ffffU));
	cr_expect_not(gate_names_in_range(&names, 0xc6140000U));
	cr_expect_not(gate_names_in_range(&names, 0xc611ffffU));
	gate_names_clear(&names);
}
