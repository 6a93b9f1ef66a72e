/* SPDX-License-Identifier: Apache-2.0
 * The environment of the proxy: defaults, every variable, and what is refused with which words. */
#include "proxy/settings.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "tests/lib/in_child.h"

static struct tokens tokens = { .items = { { .slot = 1, .value = SPAN("u:p") } }, .count = 1 };
static struct settings settings;
static struct err err;

static void begin(void)
{
	clearenv();
}

static void set(const char *name, const char *value)
{
	cr_assert_eq(setenv(name, value, 1), 0);
}

static void read_well(void)
{
	cr_assert_eq(settings_read(&tokens, &settings, &err), 0, "%s", err.text);
}

TestSuite(proxy_settings, .init = begin);

Test(proxy_settings, nothing_set)
{
	read_well();
	cr_assert_str_eq(settings.routes_path, "/etc/egress-proxy/routes.yaml");
	cr_assert_str_eq(settings.ca_path, "/home/mitmproxy/.mitmproxy/mitmproxy-ca.pem");
	cr_assert_str_eq(settings.trust_store, "/etc/ssl/certs/ca-certificates.crt");
	cr_assert_null(settings.listen_host);
	cr_assert_eq(settings.port, 9099);
	cr_assert_eq(settings.audit_fd, 1);
	cr_assert_eq(settings.ready_fd, -1);
	cr_assert_eq(settings.gate_fd, -1);
	cr_assert_eq(settings.listen_fd, -1);
	cr_assert(!settings.gate_relays && !settings.has_upstream);
	cr_assert_eq(settings.extra_ca.len + settings.allow_private.len, 0);
	cr_assert(!settings_goes_upstream(&settings, "a.test"));
}

Test(proxy_settings, empty_is_not_set)
{
	static const char *const names[] = { "EGRESS_PROXY_ROUTES",
					     "EGRESS_PROXY_PORT",
					     "EGRESS_PROXY_GATE",
					     "EGRESS_PROXY_GATE_FD",
					     "HTTPS_PROXY",
					     "EGRESS_PROXY_UPSTREAM_CA",
					     "LISTEN_FDS",
					     "EGRESS_PROXY_EXTRA_CA",
					     "NO_PROXY",
					     "EGRESS_PROXY_ALLOW_PRIVATE" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		set(names[i], "");
	read_well();
	cr_assert_str_eq(settings.routes_path, "/etc/egress-proxy/routes.yaml");
	cr_assert_eq(settings.port, 9099);
	cr_assert(!settings.has_upstream && !settings.gate_relays);
}

Test(proxy_settings, lists)
{
	set("EGRESS_PROXY_EXTRA_CA", ":/a::/b:");
	set("EGRESS_PROXY_ALLOW_PRIVATE", " A.test , ,[::1], 127.0.0.1");
	read_well();
	cr_assert_eq(settings.extra_ca.len, 2);
	cr_assert_str_eq(settings.extra_ca.items[1], "/b");
	cr_assert_eq(settings.allow_private.len, 3);
	cr_assert_str_eq(settings.allow_private.items[0], "a.test");
	cr_assert_str_eq(settings.allow_private.items[1], "::1");
}

Test(proxy_settings, upstream)
{
	set("HTTPS_PROXY", "http://Proxy.test:3128/");
	set("HTTP_PROXY", "http://Proxy.test:3128/");
	set("NO_PROXY", "localhost,127.0.0.1,.corp.test");
	set("EGRESS_PROXY_UPSTREAM_TOKEN", "EGRESS_PROXY_TOKEN_1");
	set("EGRESS_PROXY_UPSTREAM_CA", "/ca.pem");
	read_well();
	cr_assert(settings.has_upstream && !settings.upstream.is_https);
	cr_assert_str_eq(settings.upstream.place.host, "proxy.test");
	cr_assert_eq(settings.upstream.place.port, 3128);
	cr_assert_str_eq(settings.upstream.token_scheme, "Basic");
	cr_assert_str_eq(settings.upstream.ca, "/ca.pem");
	cr_assert(!settings_goes_upstream(&settings, "x.corp.test"));
	cr_assert(!settings_goes_upstream(&settings, "corp.test"));
	cr_assert(!settings_goes_upstream(&settings, "127.0.0.1"));
	cr_assert(settings_goes_upstream(&settings, "xcorp.test"));
	cr_assert(settings_goes_upstream(&settings, "test"));
}

Test(proxy_settings, upstream_defaults)
{
	set("HTTP_PROXY", "https://[2001:db8::1]");
	set("NO_PROXY", "a.test,*");
	read_well();
	cr_assert(settings.upstream.is_https);
	cr_assert_str_eq(settings.upstream.place.host, "2001:db8::1");
	cr_assert_eq(settings.upstream.place.port, 443);
	cr_assert_null(settings.upstream.token_env);
	cr_assert(!settings_goes_upstream(&settings, "b.test"));
}

static const struct {
	const char *name, *value, *other, *other_value, *says;
} refused[] = {
	{ "EGRESS_PROXY_PORT", "0", 0, 0, "EGRESS_PROXY_PORT is no number between 1 and 65535" },
	{ "EGRESS_PROXY_PORT", "9099 ", 0, 0, "between 1 and 65535" },
	{ "EGRESS_PROXY_PORT", "65536", 0, 0, "between 1 and 65535" },
	{ "EGRESS_PROXY_PORT", "00000009099", 0, 0, "between 1 and 65535" },
	{ "EGRESS_PROXY_AUDIT_FD", "0", 0, 0, "EGRESS_PROXY_AUDIT_FD" },
	{ "EGRESS_PROXY_AUDIT_FD", "777", 0, 0, "EGRESS_PROXY_AUDIT_FD is no open descriptor" },
	{ "EGRESS_PROXY_READY_FD", "777", 0, 0, "EGRESS_PROXY_READY_FD is no open descriptor" },
	{ "EGRESS_PROXY_GATE", "open", 0, 0, "EGRESS_PROXY_GATE is not relay" },
	{ "EGRESS_PROXY_GATE_FD", "2", 0, 0, "SOCK_SEQPACKET" },
	{ "LISTEN_FDS", "2", 0, 0, "LISTEN_FDS is not 1" },
	{ "EGRESS_PROXY_ALLOW_PRIVATE", "*", 0, 0, "EGRESS_PROXY_ALLOW_PRIVATE: '*' is no host" },
	{ "HTTPS_PROXY", "http://u:p@proxy.test", 0, 0, "without user information" },
	{ "HTTPS_PROXY", "socks5://proxy.test", 0, 0, "is not http(s)://" },
	{ "HTTPS_PROXY", "proxy.test", 0, 0, "is not http(s)://" },
	{ "HTTPS_PROXY", "http://", 0, 0, "is not http(s)://" },
	{ "HTTPS_PROXY", "http://a.test/x", 0, 0, "is not http(s)://" },
	{ "HTTPS_PROXY", "http://a.test?x", 0, 0, "is not http(s)://" },
	{ "HTTPS_PROXY", "http://a.test:0", 0, 0, "HTTPS_PROXY: no port between" },
	{ "HTTPS_PROXY", "http://a.test", "HTTP_PROXY", "http://b.test", "name two proxies" },
	{ "HTTPS_PROXY", "http://a.test", "NO_PROXY", "a b", "NO_PROXY: 'a b' is no host" },
	{ "HTTPS_PROXY", "http://a.test", "EGRESS_PROXY_UPSTREAM_TOKEN", "EGRESS_PROXY_TOKEN_5",
	  "names no token" },
	{ "EGRESS_PROXY_UPSTREAM_CA", "/x", 0, 0, "without HTTPS_PROXY" },
	{ "EGRESS_PROXY_UPSTREAM_TOKEN", "EGRESS_PROXY_TOKEN_1", 0, 0, "without HTTPS_PROXY" },
};

Test(proxy_settings, refused)
{
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		clearenv();
		set(refused[i].name, refused[i].value);
		if (refused[i].other)
			set(refused[i].other, refused[i].other_value);
		cr_expect_lt(settings_read(&tokens, &settings, &err), 0, "%s=%s", refused[i].name,
			     refused[i].value);
		cr_expect_not_null(strstr(err.text, refused[i].says), "%s", err.text);
	}
}

Test(proxy_settings, a_scheme_is_one_of_three)
{
	set("HTTPS_PROXY", "http://a.test");
	set("EGRESS_PROXY_UPSTREAM_TOKEN", "EGRESS_PROXY_TOKEN_1");
	set("EGRESS_PROXY_UPSTREAM_SCHEME", "Digest");
	cr_assert_lt(settings_read(&tokens, &settings, &err), 0);
	set("EGRESS_PROXY_UPSTREAM_SCHEME", "token");
	read_well();
	cr_assert_str_eq(settings.upstream.token_scheme, "token");
}

/* ---- descriptors: in a child, which may overwrite its 3 ---- */

static int listens_on_3(void *arg)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int gate[2];
	char number[16];

	(void)arg;
	CHILD_CHECK(dup2(fd, 3) == 3);
	setenv("LISTEN_FDS", "1", 1);
	CHILD_CHECK(settings_read(&tokens, &settings, &err) < 0); /* not listening yet */
	CHILD_CHECK(strstr(err.text, "no listening socket"));
	CHILD_CHECK(listen(3, 1) == 0);
	CHILD_CHECK(settings_read(&tokens, &settings, &err) == 0 && settings.listen_fd == 3);
	CHILD_CHECK(fcntl(3, F_GETFD) == FD_CLOEXEC);
	setenv("LISTEN_PID", "1", 1); /* meant for another */
	CHILD_CHECK(settings_read(&tokens, &settings, &err) == 0 && settings.listen_fd == -1);
	snprintf(number, sizeof(number), "%d", getpid());
	setenv("LISTEN_PID", number, 1);
	CHILD_CHECK(settings_read(&tokens, &settings, &err) == 0 && settings.listen_fd == 3);
	CHILD_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, gate) == 0);
	snprintf(number, sizeof(number), "%d", gate[0]);
	setenv("EGRESS_PROXY_GATE_FD", number, 1);
	CHILD_CHECK(settings_read(&tokens, &settings, &err) == 0 && settings.gate_fd == gate[0]);
	CHILD_CHECK(fcntl(gate[0], F_GETFD) == FD_CLOEXEC);
	return 0;
}

Test(proxy_settings, descriptors)
{
	cr_assert_eq(in_child(listens_on_3, NULL), 0);
}
