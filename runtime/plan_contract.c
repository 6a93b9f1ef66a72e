/* SPDX-License-Identifier: Apache-2.0
 * The proxy image's contract; see plan_contract.h. Runs in: launcher, before anything has changed. */
#include "runtime/plan_contract.h"

#include <errno.h>
#include <string.h>

#include "runtime/manifest_load.h"

int plan_contract_read_cas(struct plan *plan, struct err *err)
{
	const struct manifest *m = &plan->manifest;
	char hex[SHA256_HEX_BYTES];

	for (size_t i = 0; i < m->extra_ca.len; i++) {
		TRY(manifest_read_ca(m, i, &plan->extra_ca, hex, err));
		buf_puts(&plan->extra_ca, "\n");
	}
	if (m->upstream.ca_path)
		TRY(manifest_read_ca(m, m->extra_ca.len, &plan->upstream_ca, hex, err));
	return plan->extra_ca.failed ? err_sys(err, ENOMEM, "read the extra CAs") : 0;
}

int plan_contract_upstream_env(const struct plan *plan, struct strlist *env)
{
	const struct upstream_proxy *up = &plan->manifest.upstream;

	if (!up->url)
		return 0;
	TRY(strlist_addf(env, "HTTPS_PROXY=%s", up->url));
	TRY(strlist_addf(env, "HTTP_PROXY=%s", up->url));
	TRY(strlist_add(env, "NO_PROXY=localhost,127.0.0.1"));
	if (up->ca_path)
		TRY(strlist_add(env, "EGRESS_PROXY_UPSTREAM_CA=" PLAN_CONTRACT_UPSTREAM_CA));
	if (up->auth.kind != AUTH_SCHEME)
		return 0;
	TRY(strlist_addf(env, "EGRESS_PROXY_UPSTREAM_SCHEME=%s", up->auth.scheme));
	for (size_t i = 0; i < plan->token_refs.len; i++)
		if (strcmp(plan->token_refs.items[i], up->auth.token_ref) == 0)
			return strlist_addf(
				env, "EGRESS_PROXY_UPSTREAM_TOKEN=EGRESS_PROXY_TOKEN_%zu", i);
	return -ENOKEY;
}

/* The agent's NO_PROXY has these names: most programs connect to the agent's own loopback. */
int plan_contract_warn(struct plan *plan)
{
	static const char *const local[] = { "localhost", "127.0.0.1", "::1" };
	const struct manifest *m = &plan->manifest;

	for (size_t i = 0; i < m->route_count; i++)
		for (size_t j = 0; j < sizeof(local) / sizeof(local[0]); j++)
			if (strcmp(m->routes[i].host, local[j]) == 0)
				return plan_warn(plan,
						 "%s: programs inside do not ask a proxy for %s; "
						 "give the service a name: `host: db.internal` "
						 "with `address: 127.0.0.1:%u`",
						 m->routes[i].where, local[j],
						 m->routes[i].ports[0]);
	return 0;
}
