/* SPDX-License-Identifier: Apache-2.0
 * --allow, --auth and the overrides by environment; see manifest.h. Runs in: launcher. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "config/check.h"
#include "config/manifest.h"
#include "config/manifest_parts.h"

static int no_memory(struct err *err)
{
	return err_sys(err, ENOMEM, "options");
}

/* host[:port][/path], cut up in place; port and path are NULL when they are not there. */
struct allow {
	char *host;
	char *port;
	const char *path; /* borrowed from the option */
};

static int split_allow(char *copy, const char *spec, struct allow *allow, struct err *err)
{
	size_t len = *copy == '[' ? strcspn(copy, "]") : strcspn(copy, ":/");
	char *rest = copy + len;

	if (strstr(copy, "://"))
		return err_set(err, EINVAL, "is a URL; write HOST[:PORT][/PATH]");
	if (*copy == '[') {
		if (!*rest || !strchr("/:", rest[1]))
			return err_set(err, EINVAL, "write an IPv6 address as [ADDRESS]:PORT");
		*rest++ = '\0';
		copy++;
	}
	allow->host = copy;
	allow->path = *rest && strchr(rest, '/') ? spec + strcspn(spec, "/") : NULL;
	rest[strcspn(rest, "/")] = '\0';
	allow->port = *rest == ':' ? rest + 1 : NULL;
	*rest = '\0';
	if (allow->port && strchr(allow->port, ':'))
		return err_set(err, EINVAL, "write an IPv6 address in brackets: [ADDRESS]:PORT");
	return 0;
}

/* A user and password before the host: a text that no sentence may show. A path may have an '@'. */
static bool has_userinfo(const char *spec)
{
	const char *scheme_end = strstr(spec, "://");
	const char *at = strchr(spec, '@');

	return at && (scheme_end || at < spec + strcspn(spec, "/"));
}

static struct route *find_route(struct manifest *m, const char *host, uint16_t port)
{
	for (size_t i = 0; i < m->route_count; i++)
		for (size_t j = 0; j < m->routes[i].port_count; j++)
			if (m->routes[i].ports[j] == port && strcmp(m->routes[i].host, host) == 0)
				return &m->routes[i];
	return NULL;
}

/* Widens a route that is there. One with further ports is left alone: it would be widened there as
 * well, which was not asked for. */
static int widen_route(struct route *route, const char *path, struct err *err)
{
	if (!route->path_allowlist.len || (path && strlist_has(&route->path_allowlist, path)))
		return 0;
	if (route->port_count > 1)
		return err_set(err, EINVAL,
			       "the route at %s has this host on other ports too, which would be "
			       "widened as well; change it there",
			       route->where);
	if (!path) {
		strlist_clear(&route->path_allowlist);
		return 0;
	}
	return strlist_add(&route->path_allowlist, path) < 0 ? no_memory(err) : 0;
}

static int add_allow(struct manifest *m, const char *spec, struct err *err)
{
	cleanup_with(manifest_route_clear) struct route route = { 0 };
	cleanup_free char *copy = strdup(spec);
	struct route *present;
	struct allow allow = { 0 };
	uint16_t port = 0;

	if (!copy)
		return no_memory(err);
	if (has_userinfo(spec))
		return err_set(err, EINVAL,
			       "a host has no user and password before it (not shown); write "
			       "HOST[:PORT][/PATH]");
	TRY(split_allow(copy, spec, &allow, err));
	TRY(check_host(allow.host, &route.host, &route.is_literal, err));
	if (allow.port && strchr(spec, '@') && check_port(allow.port, &port, NULL) < 0)
		return err_set(err, EINVAL, "no port stands after the ':' (the text is not shown)");
	if (allow.port)
		TRY(check_port(allow.port, &port, err));
	if (allow.path)
		TRY(check_url_path(allow.path, err));
	if (manifest_default_port(&route, port) < 0)
		return no_memory(err);
	present = find_route(m, route.host, route.ports[0]);
	if (present)
		return widen_route(present, allow.path, err);
	if (allow.path && strlist_add(&route.path_allowlist, allow.path) < 0)
		return no_memory(err);
	route.where = str_printf("--allow %s", quote(spec).text);
	if (!route.where || manifest_take_route(m, &route) < 0)
		return no_memory(err);
	return 0;
}

int manifest_add_allow(struct manifest *m, const char *spec, struct err *err)
{
	int rc = add_allow(m, spec, err);

	if (rc < 0 && strchr(spec, '@'))
		return err_context(err, rc, "--allow");
	return rc < 0 ? err_context(err, rc, "--allow %s", quote(spec).text) : 0;
}

/* "SCHEME:ENV_NAME" or "header-name:ENV_NAME", split into two texts. */
static int parse_auth(char *text, struct auth *auth, struct err *err)
{
	static const char shape[] = "write HOST=SCHEME:VARIABLE or HOST=HEADER:VARIABLE, such as "
				    "api.example.com=Bearer:API_TOKEN";
	static const char *const schemes[] = { "bearer", "token", "basic", NULL };
	char *colon = strchr(text, ':');

	if (!colon || colon == text)
		return err_set(err, EINVAL, "%s", shape);
	*colon = '\0';
	TRY(check_token_ref(colon + 1, err));
	TRY(check_header(text, &auth->header, err));
	auth->kind = AUTH_HEADER;
	for (size_t i = 0; schemes[i]; i++) {
		if (strcmp(auth->header, schemes[i]) != 0)
			continue;
		TRY(check_scheme(text, err));
		free(take_ptr(auth->header));
		auth->scheme = strdup(text);
		auth->kind = AUTH_SCHEME;
		break;
	}
	auth->token_ref = strdup(colon + 1);
	return auth->token_ref && (auth->header || auth->scheme) ? 0 : no_memory(err);
}

static int copy_auth(struct auth *to, const struct auth *from, struct err *err)
{
	to->scheme = from->scheme ? strdup(from->scheme) : NULL;
	to->header = from->header ? strdup(from->header) : NULL;
	to->token_ref = strdup(from->token_ref);
	to->kind = from->kind;
	return to->token_ref && (to->scheme || to->header) ? 0 : no_memory(err);
}

static void auth_free(struct auth *auth)
{
	free(auth->scheme);
	free(auth->header);
	free(auth->token_ref);
}

static int give_auth(struct manifest *m, const char *host, const struct auth *auth, struct err *err)
{
	bool found = false;

	for (size_t i = 0; i < m->route_count; i++) {
		struct route *route = &m->routes[i];

		if (strcmp(route->host, host) != 0)
			continue;
		if (route->auth.kind != AUTH_NONE)
			return err_set(err, EINVAL, "the route at %s has an auth already; keep one",
				       route->where);
		TRY(copy_auth(&route->auth, auth, err));
		found = true;
	}
	if (!found)
		return err_set(err, EINVAL, "no route leads to '%s'; add --allow %s",
			       quote(host).text, quote(host).text);
	return 0;
}

static int add_auth(struct manifest *m, char *spec, struct err *err)
{
	cleanup_with(auth_free) struct auth auth = { 0 };
	cleanup_free char *host = NULL;
	char *equals = strchr(spec, '=');
	char *name = spec;
	size_t len;
	bool is_literal;

	if (!equals)
		return err_set(
			err, EINVAL,
			"write HOST=SCHEME:VARIABLE, such as api.example.com=Bearer:API_TOKEN");
	*equals = '\0';
	len = strlen(name);
	if (len > 1 && name[0] == '[' && name[len - 1] == ']') {
		name[len - 1] = '\0';
		name++;
	}
	TRY(check_host(name, &host, &is_literal, err));
	TRY(parse_auth(equals + 1, &auth, err));
	return give_auth(m, host, &auth, err);
}

int manifest_add_auth(struct manifest *m, const char *spec, struct err *err)
{
	cleanup_free char *copy = strdup(spec);
	struct quoted shown = quote(spec);
	int rc;

	if (!copy)
		return no_memory(err);
	rc = add_auth(m, copy, err);
	if (rc == 0)
		return 0;
	/* At most the host is shown: the rest may be the token itself, by mistake. */
	if (!strchr(spec, '=') || strchr(spec, '@'))
		return err_context(err, rc, "--auth");
	shown.text[strcspn(shown.text, "=")] = '\0';
	return err_context(err, rc, "--auth %s", shown.text);
}

static int override_image(struct manifest *m, const char *image, struct err *err)
{
	char *copy;

	TRY(check_image(image, err));
	copy = strdup(image);
	if (!copy)
		return no_memory(err);
	free(m->proxy_image);
	m->proxy_image = copy;
	return 0;
}

static int override_port(struct manifest *m, const char *port, struct err *err)
{
	unsigned long long number;

	if (str_to_u64(port, 1024, 65535, &number) < 0 || *port == '0')
		return err_set(err, EINVAL, "must be 1024 to 65535, not '%s'", quote(port).text);
	m->proxy_port = (uint16_t)number;
	return 0;
}

int manifest_apply_overrides(struct manifest *m, const char *image, const char *port,
			     struct err *err)
{
	int rc;

	if (image && *image) {
		rc = override_image(m, image, err);
		if (rc < 0)
			return err_context(err, rc, "BOTTLE_EGRESS_PROXY_IMAGE");
	}
	if (port && *port) {
		rc = override_port(m, port, err);
		if (rc < 0)
			return err_context(err, rc, "BOTTLE_EGRESS_PROXY_PORT");
	}
	return 0;
}
