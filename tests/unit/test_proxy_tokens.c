/* SPDX-License-Identifier: Apache-2.0
 * The tokens leave the environment, and leave nothing there. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/tokens.h"

/* An environment of our own, whose bytes can be looked at afterwards. */
static char first[] = "EGRESS_PROXY_TOKEN_7=secret-7";
static char again[] = "EGRESS_PROXY_TOKEN_7=secret-again";
static char empty[] = "EGRESS_PROXY_TOKEN_3=";
static char zero[] = "EGRESS_PROXY_TOKEN_0=a:b";
static char padded[] = "EGRESS_PROXY_TOKEN_00=kept";
static char home[] = "HOME=/home/someone";
static char bad[] = "EGRESS_PROXY_TOKEN_1=line\nbreak";
static char high[] = "EGRESS_PROXY_TOKEN_1=caf\xc3\xa9";
static char far[] = "EGRESS_PROXY_TOKEN_1234567=far";

static struct span find(const struct tokens *tokens, const char *env, const char *want)
{
	struct span value = tokens_find(tokens, env);

	cr_expect_eq(value.len, strlen(want), "%s", env);
	cr_expect(!value.len || !memcmp(value.at, want, value.len), "%s", env);
	return value;
}

static void expect_wiped(const char *entry, size_t size)
{
	const char *value = strchr(entry, '=') + 1;

	for (const char *at = value; at < entry + size; at++)
		cr_expect_eq(*at, '\0', "%s", entry);
}

Test(proxy_tokens, are_taken_and_wiped)
{
	char *entries[] = { first, home, zero, empty, padded, again, NULL };
	struct tokens tokens;
	struct err err = { "" };

	environ = entries;
	cr_assert_eq(tokens_take(&tokens, &err), 0, "%s", err.text);
	cr_expect_eq(tokens.count, 2);
	find(&tokens, "EGRESS_PROXY_TOKEN_7", "secret-7");
	find(&tokens, "EGRESS_PROXY_TOKEN_0", "a:b");
	find(&tokens, "EGRESS_PROXY_TOKEN_3", "");
	find(&tokens, "EGRESS_PROXY_TOKEN_00", "");
	find(&tokens, "HOME", "");
	expect_wiped(first, sizeof(first));
	expect_wiped(again, sizeof(again));
	expect_wiped(zero, sizeof(zero));
	cr_expect_eq(environ[0], home);
	cr_expect_eq(environ[1], padded);
	cr_expect_null(environ[2]);
	tokens_wipe(&tokens);
	find(&tokens, "EGRESS_PROXY_TOKEN_7", "");
}

static void expect_refused(char *entry, size_t size, const char *sentence)
{
	char *entries[] = { first, entry, zero, NULL };
	struct tokens tokens;
	struct err err = { "" };

	environ = entries;
	cr_expect_eq(tokens_take(&tokens, &err), -EINVAL);
	cr_expect_str_eq(err.text, sentence);
	cr_expect_eq(tokens.count, 0);
	expect_wiped(entry, size);
	expect_wiped(zero, sizeof(zero));
	cr_expect_null(environ[0]);
}

Test(proxy_tokens, that_no_field_can_carry_are_refused_and_wiped)
{
	expect_refused(bad, sizeof(bad), "EGRESS_PROXY_TOKEN_1 holds a CR, LF or NUL");
	expect_refused(high, sizeof(high),
		       "EGRESS_PROXY_TOKEN_1 holds a byte that no header field may have");
	expect_refused(far, sizeof(far), "EGRESS_PROXY_TOKEN_1234567: no route can name this slot");
}

static void expect_credential(const char *token, const char *scheme, const char *want)
{
	struct span text = { token, strlen(token) };
	char out[128];
	int len = tokens_write_credential(text, scheme, out, sizeof(out));

	cr_assert_eq(len, (int)strlen(want), "%s", token);
	cr_expect_eq(memcmp(out, want, (size_t)len), 0, "%s: %.*s", token, len, out);
	cr_expect_leq((size_t)len, tokens_credential_bound(text));
	cr_expect_eq(tokens_write_credential(text, scheme, out, (size_t)len - 1), -ENOSPC);
}

Test(proxy_tokens, are_written_as_the_scheme_wants_them)
{
	expect_credential("t0ken", NULL, "t0ken");
	expect_credential("t0ken", "Bearer", "Bearer t0ken");
	expect_credential("t0ken", "token", "token t0ken");
	expect_credential("user:pass", "Basic", "Basic dXNlcjpwYXNz");
	expect_credential("dXNlcjpwYXNz", "Basic", "Basic dXNlcjpwYXNz");
	expect_credential("t0ken", "Basic", "Basic eC1hY2Nlc3MtdG9rZW46dDBrZW4=");
	expect_credential("AAAA", "Basic", "Basic eC1hY2Nlc3MtdG9rZW46QUFBQQ==");
}
