/* SPDX-License-Identifier: Apache-2.0
 *
 * What only the whole manifest can show; see manifest_check in manifest.h. Runs in: launcher, after
 * file, options and overrides were put together.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"
#include "config/manifest.h"

static bool has_port(const struct route *route, uint16_t port)
{
	for (size_t i = 0; i < route->port_count; i++)
		if (route->ports[i] == port)
			return true;
	return false;
}

static int check_has_routes(const struct manifest *m, struct err *err)
{
	if (m->route_count)
		return 0;
	if (!m->path)
		return err_set(
			err, EINVAL,
			"no routes, so nothing could be reached; add --allow HOST, or name a "
			"manifest with -f");
	return err_set(
		err, EINVAL,
		"%s: egress.routes: no routes, so nothing could be reached; add one, such as "
		"'- host: api.example.com'",
		m->path);
}

/* "bottle.yaml:12:5: egress.routes[1]: sentence", or "--allow a.example: sentence". A route of the
 * file has the index that it has in the file: options come after it. */
static int fail_route(const struct manifest *m, size_t index, struct err *err, const char *fmt, ...)
	PRINTF_LIKE(4, 5);

static int fail_route(const struct manifest *m, size_t index, struct err *err, const char *fmt, ...)
{
	const char *where = m->routes[index].where;
	char sentence[ERR_TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	if (str_starts(where, "--"))
		return err_set(err, EINVAL, "%s: %s", where, sentence);
	return err_set(err, EINVAL, "%s: egress.routes[%zu]: %s", where, index, sentence);
}

static int check_pair(const struct manifest *m, size_t first, size_t second, struct err *err)
{
	const struct route *a = &m->routes[first], *b = &m->routes[second];

	if (strcmp(a->host, b->host) != 0)
		return 0;
	for (size_t i = 0; i < b->port_count; i++)
		if (has_port(a, b->ports[i]))
			return fail_route(
				m, second, err,
				"'%s' with port %u is already on the route at %s; make one "
				"route of both",
				b->host, b->ports[i], a->where);
	return 0;
}

/* Quadratic in routes, of which there are at most 1024 and a few from options. */
static int check_pairs(const struct manifest *m, struct err *err)
{
	for (size_t i = 1; i < m->route_count; i++)
		for (size_t j = 0; j < i; j++)
			TRY(check_pair(m, j, i, err));
	return 0;
}

static int check_proxy_port(const struct manifest *m, struct err *err)
{
	for (size_t i = 0; i < m->route_count; i++)
		if (has_port(&m->routes[i], m->proxy_port))
			return fail_route(
				m, i, err,
				"port %u is the proxy's own; give proxy.port another value",
				m->proxy_port);
	if (m->upstream.url && m->upstream.port == m->proxy_port)
		return err_set(err, EINVAL,
			       "%s: egress.upstream_proxy.url: port %u is the proxy's own; give "
			       "proxy.port another value",
			       m->upstream.where, m->proxy_port);
	return 0;
}

/* The gate's listeners, one for each port and one for DNS, are handed over in one message. An upstream
 * proxy takes the place of them all. */
static int check_port_count(const struct manifest *m, struct err *err)
{
	uint8_t seen[65536 / 8] = { 0 };
	unsigned count = 0;

	for (size_t i = 0; i < m->route_count && !m->upstream.url; i++)
		for (size_t j = 0; j < m->routes[i].port_count; j++) {
			uint16_t port = m->routes[i].ports[j];
			uint8_t bit = (uint8_t)(1U << port % 8);

			count += !(seen[port / 8] & bit);
			seen[port / 8] |= bit;
			if (count > FD_PASS_MAX - 1)
				return fail_route(
					m, i, err,
					"with port %u the routes name more than %d different "
					"ports, which is all that one bottle can have",
					port, FD_PASS_MAX - 1);
		}
	return 0;
}

static bool env_has(const struct strlist *env, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < env->len; i++)
		if (strncmp(env->items[i], name, len) == 0 && env->items[i][len] == '=')
			return true;
	return false;
}

/* By name, in pass_env alone: in env stands a value, which may be what a client wants to start with and the
 * proxy replaces. Whether it is the token itself shows once that is known (runtime/token_check.c). */
static bool is_passed(const struct manifest *m, const struct auth *auth)
{
	return auth->kind != AUTH_NONE && strlist_has(&m->agent.pass_env, auth->token_ref);
}

static int check_tokens(const struct manifest *m, struct err *err)
{
	static const char sentence[] =
		"token_ref '%s' is also in agent.pass_env, so the agent would have the token "
		"itself; take it out there (a client that wants it set: a placeholder in "
		"agent.env)";

	for (size_t i = 0; i < m->route_count; i++)
		if (is_passed(m, &m->routes[i].auth))
			return fail_route(m, i, err, sentence, m->routes[i].auth.token_ref);
	if (!is_passed(m, &m->upstream.auth))
		return 0;
	(void)err_set(err, EINVAL, sentence, m->upstream.auth.token_ref);
	return err_context(err, -EINVAL, "%s: egress.upstream_proxy.auth", m->upstream.where);
}

static int check_env(const struct manifest *m, struct err *err)
{
	for (size_t i = 0; i < m->agent.pass_env.len; i++)
		if (env_has(&m->agent.env, m->agent.pass_env.items[i]))
			return err_set(err, EINVAL,
				       "%s: agent.pass_env[%zu]: '%s' has a value in agent.env "
				       "already; keep one of the two",
				       m->path, i, m->agent.pass_env.items[i]);
	return 0;
}

int manifest_check(const struct manifest *m, struct err *err)
{
	TRY(check_has_routes(m, err));
	TRY(check_pairs(m, err));
	TRY(check_proxy_port(m, err));
	TRY(check_port_count(m, err));
	TRY(check_env(m, err));
	return check_tokens(m, err);
}
