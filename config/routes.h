/* SPDX-License-Identifier: Apache-2.0
 *
 * routes.yaml: what the proxy reads at /etc/egress-proxy/routes.yaml. Rendered from the manifest by
 * the launcher, strictly parsed by the proxy. Names token slots (EGRESS_PROXY_TOKEN_0 …), no
 * values.
 */
#ifndef CONFIG_ROUTES_H
#define CONFIG_ROUTES_H

#include "config/manifest.h"

/* The distinct token_refs in order of declaration (routes, then the upstream proxy): slot i is
 * EGRESS_PROXY_TOKEN_<i>. Appends borrowed-then-copied names to *ret_refs. */
int routes_token_slots(const struct manifest *m, struct strlist *ret_refs) MUST_CHECK;

/* Renders routes.yaml. */
int routes_render(const struct manifest *m, struct buf *ret_yaml, struct err *err) MUST_CHECK;

struct proxy_route {
	char *host;
	uint16_t *ports;
	size_t port_count;
	struct strlist path_allowlist;
	struct strlist methods;
	char *auth_scheme; /* or NULL */
	char *auth_header; /* or NULL; with auth_scheme it is "authorization" */
	char *token_env;   /* EGRESS_PROXY_TOKEN_<i>, or NULL */
	bool git_push;
};

struct proxy_routes {
	struct proxy_route *items;
	size_t count;
};

/* Sets *ret_routes only on success, so that a reload that fails leaves the old table in force. */
int routes_parse(struct proxy_routes *ret_routes, const char *name, const char *text, size_t len,
		 struct err *err) MUST_CHECK;
void routes_clear(struct proxy_routes *routes);

#endif
