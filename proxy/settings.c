/* SPDX-License-Identifier: Apache-2.0
 *
 * The environment as values; see settings.h. Runs in: the proxy, once, before anything is opened. Holds no
 * secret: the tokens left the environment before. A variable that is empty counts as not set. What is
 * not understood ends the start with a sentence that names the variable.
 */
#include "proxy/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "proxy/authority.h"

#define HOME "/home/mitmproxy/.mitmproxy"

enum { FD_MAX = 1 << 20, LISTEN_FDS_START = 3 }; /* sd_listen_fds(3) */

const struct settings *proxy_settings;
const struct tokens *proxy_tokens;

static const char *variable(const char *name)
{
	const char *text = getenv(name);

	return text && *text ? text : NULL;
}

static const char *variable_or(const char *name, const char *otherwise)
{
	const char *text = variable(name);

	return text ? text : otherwise;
}

static int read_number(const char *name, unsigned min, unsigned max, int otherwise, int *ret,
		       struct err *err)
{
	const char *text = variable(name);
	unsigned long long value;

	*ret = otherwise;
	if (!text)
		return 0;
	if (strlen(text) > 10 || str_to_u64(text, min, max, &value) < 0)
		return err_set(err, EINVAL, "%s is no number between %u and %u", name, min, max);
	*ret = (int)value;
	return 0;
}

/* ---- descriptors ---- */

static int option_of(int fd, int option)
{
	socklen_t len = sizeof(int);
	int value = 0;

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0 ? -errno : value;
}

/* Marks it close-on-exec: what is given to us is not for a child. */
static int read_fd(const char *name, int otherwise, int *ret, struct err *err)
{
	TRY(read_number(name, 1, FD_MAX, otherwise, ret, err));
	if (*ret >= 0 && fcntl(*ret, F_SETFD, FD_CLOEXEC) < 0)
		return err_sys(err, errno, "%s is no open descriptor", name);
	return 0;
}

static int read_gate(struct settings *s, struct err *err)
{
	const char *way = variable("EGRESS_PROXY_GATE");

	if (way && strcmp(way, "relay") != 0)
		return err_set(err, EINVAL, "EGRESS_PROXY_GATE is not relay");
	s->gate_relays = way != NULL;
	TRY(read_fd("EGRESS_PROXY_GATE_FD", -1, &s->gate_fd, err));
	if (s->gate_fd >= 0 && option_of(s->gate_fd, SO_TYPE) != SOCK_SEQPACKET)
		return err_set(err, EINVAL, "EGRESS_PROXY_GATE_FD is no SOCK_SEQPACKET socket");
	return 0;
}

/* sd_listen_fds(3): variables that are meant for another process are passed over. */
static int read_listen_fd(struct settings *s, struct err *err)
{
	const char *count = variable("LISTEN_FDS");
	const char *pid = variable("LISTEN_PID");
	unsigned long long value;

	s->listen_fd = -1;
	if (!count)
		return 0;
	if (pid && (str_to_u64(pid, 1, INT32_MAX, &value) < 0 || (pid_t)value != getpid()))
		return 0;
	if (strcmp(count, "1") != 0)
		return err_set(err, EINVAL, "LISTEN_FDS is not 1");
	if (option_of(LISTEN_FDS_START, SO_TYPE) != SOCK_STREAM ||
	    option_of(LISTEN_FDS_START, SO_ACCEPTCONN) != 1)
		return err_set(err, EINVAL, "LISTEN_FDS: descriptor 3 is no listening socket");
	if (fcntl(LISTEN_FDS_START, F_SETFD, FD_CLOEXEC) < 0)
		return err_sys(err, errno, "LISTEN_FDS: descriptor 3");
	s->listen_fd = LISTEN_FDS_START;
	return 0;
}

/* ---- lists ---- */

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* One item of a list, without blanks around it and dots before it, as it is compared with hosts. */
static int add_host(const char *variable_name, struct span item, bool takes_star,
		    struct strlist *list, struct err *err)
{
	char host[HOST_BYTES], shown[128];

	for (; item.len && is_blank(item.at[0]); item.at++)
		item.len--;
	while (item.len && is_blank(item.at[item.len - 1]))
		item.len--;
	for (; item.len && item.at[0] == '.'; item.at++)
		item.len--;
	if (!item.len)
		return 0;
	if (takes_star && item.len == 1 && item.at[0] == '*')
		memcpy(host, "*", 2);
	else if (authority_canonical_host(item, host) < 0)
		return err_set(err, EINVAL, "%s: '%s' is no host", variable_name,
			       str_escape(shown, sizeof(shown), item.at, item.len));
	return strlist_add(list, host) < 0 ? err_sys(err, ENOMEM, "%s", variable_name) : 0;
}

static int read_hosts(const char *name, bool takes_star, struct strlist *list, struct err *err)
{
	const char *at = variable_or(name, "");

	for (;;) {
		size_t len = strcspn(at, ",");

		TRY(add_host(name, (struct span){ at, len }, takes_star, list, err));
		if (!at[len])
			return 0;
		at += len + 1;
	}
}

static int read_paths(const char *name, struct strlist *list, struct err *err)
{
	const char *at = variable_or(name, "");

	while (*at) {
		size_t len = strcspn(at, ":");

		if (len && strlist_addf(list, "%.*s", (int)len, at) < 0)
			return err_sys(err, ENOMEM, "%s", name);
		at += len + (at[len] == ':');
	}
	return 0;
}

/* ---- the upstream proxy ---- */

/* One upstream proxy is known, so HTTPS_PROXY and HTTP_PROXY must not differ. */
static int upstream_url(const char **ret_url, struct err *err)
{
	const char *https = variable("HTTPS_PROXY");
	const char *http = variable("HTTP_PROXY");

	if (https && http && strcmp(https, http) != 0)
		return err_set(err, EINVAL,
			       "HTTPS_PROXY and HTTP_PROXY name two proxies; one is supported");
	*ret_url = https ? https : http;
	return 0;
}

static int parse_url(const char *url, struct parent_proxy *upstream, struct err *err)
{
	static const char https[] = "https://", http[] = "http://";
	const char *problem, *at;
	size_t len;

	upstream->is_https = str_starts(url, https);
	at = url;
	if (upstream->is_https || str_starts(url, http))
		at += upstream->is_https ? sizeof(https) - 1 : sizeof(http) - 1;
	len = strcspn(at, "/?#");
	if (at == url || !len || memchr(at, '@', len) || (at[len] && strcmp(at + len, "/") != 0))
		return err_set(err, EINVAL,
			       "HTTPS_PROXY is not http(s)://host[:port] without user information");
	if (authority_parse_or_say((struct span){ at, len }, &upstream->place, &problem) < 0)
		return err_set(err, EINVAL, "HTTPS_PROXY: %s", problem);
	if (!upstream->place.port)
		upstream->place.port = upstream->is_https ? 443 : 80;
	return 0;
}

static int read_upstream_token(const struct tokens *tokens, struct parent_proxy *upstream,
			       struct err *err)
{
	const char *scheme = variable_or("EGRESS_PROXY_UPSTREAM_SCHEME", "Basic");

	if (!upstream->token_env)
		return 0;
	if (strcmp(scheme, "Basic") != 0 && strcmp(scheme, "Bearer") != 0 &&
	    strcmp(scheme, "token") != 0)
		return err_set(err, EINVAL,
			       "EGRESS_PROXY_UPSTREAM_SCHEME is not Basic, Bearer or token");
	/* Not echoed: a token put there by mistake would be. */
	if (!tokens_find(tokens, upstream->token_env).len)
		return err_set(err, EINVAL,
			       "EGRESS_PROXY_UPSTREAM_TOKEN names no token that has a value");
	upstream->token_scheme = scheme;
	return 0;
}

static int read_upstream(const struct tokens *tokens, struct settings *s, struct err *err)
{
	struct parent_proxy *upstream = &s->upstream;
	const char *url = NULL;

	TRY(upstream_url(&url, err));
	upstream->ca = variable("EGRESS_PROXY_UPSTREAM_CA");
	upstream->token_env = variable("EGRESS_PROXY_UPSTREAM_TOKEN");
	s->has_upstream = url != NULL;
	if (!url && (upstream->ca || upstream->token_env))
		return err_set(err, EINVAL, "EGRESS_PROXY_UPSTREAM_… without HTTPS_PROXY");
	if (!url)
		return 0;
	TRY(parse_url(url, upstream, err));
	TRY(read_upstream_token(tokens, upstream, err));
	return read_hosts("NO_PROXY", true, &upstream->no_proxy, err);
}

bool settings_goes_upstream(const struct settings *settings, const char *host)
{
	const struct strlist *names = &settings->upstream.no_proxy;
	size_t host_len = strlen(host);

	if (!settings->has_upstream)
		return false;
	for (size_t i = 0; i < names->len; i++) {
		const char *name = names->items[i];
		size_t len = strlen(name);

		if (strcmp(name, "*") == 0 || strcmp(name, host) == 0)
			return false;
		if (host_len > len && host[host_len - len - 1] == '.' && str_ends(host, name))
			return false;
	}
	return true;
}

/* ---- all of it ---- */

static int read_all(const struct tokens *tokens, struct settings *s, struct err *err)
{
	int port;

	s->routes_path = variable_or("EGRESS_PROXY_ROUTES", "/etc/egress-proxy/routes.yaml");
	s->ca_path = variable_or("EGRESS_PROXY_CA", HOME "/mitmproxy-ca.pem");
	s->trust_store = variable_or("EGRESS_PROXY_TRUST_STORE",
				     "/etc/ssl/certs/ca-certificates.crt");
	s->listen_host = variable("EGRESS_PROXY_LISTEN_HOST");
	TRY(read_number("EGRESS_PROXY_PORT", 1, UINT16_MAX, 9099, &port, err));
	s->port = (uint16_t)port;
	TRY(read_fd("EGRESS_PROXY_AUDIT_FD", STDOUT_FILENO, &s->audit_fd, err));
	TRY(read_fd("EGRESS_PROXY_READY_FD", -1, &s->ready_fd, err));
	TRY(read_gate(s, err));
	TRY(read_listen_fd(s, err));
	TRY(read_paths("EGRESS_PROXY_EXTRA_CA", &s->extra_ca, err));
	TRY(read_hosts("EGRESS_PROXY_ALLOW_PRIVATE", false, &s->allow_private, err));
	return read_upstream(tokens, s, err);
}

int settings_read(const struct tokens *tokens, struct settings *ret_settings, struct err *err)
{
	cleanup_with(settings_clear) struct settings s = { 0 };

	TRY(read_all(tokens, &s, err));
	*ret_settings = s;
	s = (struct settings){ 0 };
	return 0;
}

void settings_clear(struct settings *settings)
{
	strlist_clear(&settings->extra_ca);
	strlist_clear(&settings->allow_private);
	strlist_clear(&settings->upstream.no_proxy);
}
