/* SPDX-License-Identifier: Apache-2.0
 * Names and ports in their one form, and the answers that speak of them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "proxy/answer.h"
#include "proxy/authority.h"

Test(proxy_authority, has_one_form)
{
	static const struct {
		const char *raw, *host;
		uint16_t port;
		const char *in_https;
	} CASES[] = {
		{ "Example.COM", "example.com", 0, "example.com" },
		{ "a_b.test:443", "a_b.test", 443, "a_b.test" },
		{ "a.test:80", "a.test", 80, "a.test:80" },
		{ "127.0.0.1:65535", "127.0.0.1", 65535, "127.0.0.1:65535" },
		{ "[2001:DB8:0:0:1:0:0:1]:8443", "2001:db8::1:0:0:1", 8443,
		  "[2001:db8::1:0:0:1]:8443" },
		{ "[::]", "::", 0, "[::]" },
		{ "[1:0:0:2:0:0:0:0]", "1:0:0:2::", 0, "[1:0:0:2::]" },
		{ "[0:1:2:3:4:5:6:7]", "0:1:2:3:4:5:6:7", 0, "[0:1:2:3:4:5:6:7]" },
		{ "[::ffff:1.2.3.4]", "::ffff:102:304", 0, "[::ffff:102:304]" },
	};
	char shown[AUTHORITY_BYTES];

	for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
		struct authority got;
		const char *problem = "";
		struct span raw = { CASES[i].raw, strlen(CASES[i].raw) };
		cr_assert_eq(authority_parse_or_say(raw, &got, &problem), 0, "%s: %s", CASES[i].raw,
			     problem);
		cr_expect_str_eq(got.host, CASES[i].host);
		cr_expect_eq(got.port, CASES[i].port);
		size_t len = authority_render(&got, true, shown, sizeof(shown));
		cr_expect_str_eq(shown, CASES[i].in_https);
		cr_expect_eq(len, strlen(shown));
	}
}

Test(proxy_authority, refuses_what_has_two_readings)
{
	static const struct span CASES[] = {
		SPAN(""),	    SPAN(":80"),	  SPAN("a.test."),
		SPAN("a..test"),    SPAN("-a.test"),	  SPAN("a-.test"),
		SPAN("127.1"),	    SPAN("0x7f.0.0.1"),	  SPAN("0x7f"),
		SPAN("010.0.0.1"),  SPAN("1.2.3.256"),	  SPAN("a.test.0X"),
		SPAN("u@a.test"),   SPAN("a.test:"),	  SPAN("a.test:0"),
		SPAN("a.test:080"), SPAN("a.test:65536"), SPAN("a.test:1 "),
		SPAN("[::1"),	    SPAN("[::1]x"),	  SPAN("[::1%25lo]"),
		SPAN("[1.2.3.4]"),  SPAN("[::1]:0"),	  SPAN("a\0.test"),
		SPAN("[::1\0]"),    SPAN("1.2.3.4\0"),	  SPAN("\xc3\xa9.test"),
		SPAN("::1"),
	};
	char name[HOST_BYTES], long_label[64 + 1];

	for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
		struct authority got = { "as it was", 1 };
		const char *problem = "";
		cr_expect_eq(authority_parse_or_say(CASES[i], &got, &problem), -EINVAL, "%s",
			     CASES[i].at);
		cr_expect_str_eq(got.host, "as it was");
		cr_expect(problem[0], "%s", CASES[i].at);
	}
	memset(long_label, 'a', 64);
	cr_expect_eq(authority_canonical_host((struct span){ long_label, 63 }, name), 0);
	cr_expect_eq(authority_canonical_host((struct span){ long_label, 64 }, name), -EINVAL);
	cr_expect_eq(authority_canonical_host(SPAN("::1"), name), 0, "without brackets");
}

Test(proxy_answer, says_what_to_do_in_ascii)
{
	cleanup_with(buf_clear) struct buf body = { 0 };
	const struct authority place = { "a.test", 8443 };

	answer_body(&body, 403, "port_not_allowed", "port 8443 of this host is on no route", &place,
		    SPAN("/\"\\\n\xe9\0"), NULL);
	cr_expect_str_eq(body.data,
			 "{\"error\": \"egress_denied\", \"reason\": \"port_not_allowed\", "
			 "\"host\": \"a.test\", \"path\": \"/\\\"\\\\\\n\\u00e9\\u0000\", "
			 "\"hint\": \"add 8443 to `ports` of the route for a.test\", "
			 "\"detail\": \"port 8443 of this host is on no route\"}\n");
}

Test(proxy_answer, writes_null_for_what_is_not_known)
{
	cleanup_with(buf_clear) struct buf body = { 0 };

	answer_body(&body, 400, "bad_request_line", "no request line", NULL, (struct span){ 0 },
		    NULL);
	cr_expect_str_eq(
		body.data,
		"{\"error\": \"bad_request\", \"reason\": \"bad_request_line\", \"host\": null, "
		"\"path\": null, \"hint\": \"no request line\", "
		"\"detail\": \"no request line\"}\n");
}
