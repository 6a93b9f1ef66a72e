/* SPDX-License-Identifier: Apache-2.0
 *
 * The Docker backend's part of the plan; see docker_plan.h. The command lines are made in docker_create.c.
 * Runs in: launcher, before anything has changed.
 */
#include "runtime/docker_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "config/routes.h"
#include "runtime/docker_create.h"
#include "runtime/docker_names.h"
#include "runtime/host_id.h"
#include "runtime/plan_agent.h"
#include "runtime/plan_contract.h"

/* ---- names ---- */

/* The lock is what tells a live bottle from a dead one, on its own host; where its folder is gone, pid and
 * boot id do. docker_clean.c reads them. */
static int make_labels(struct plan *plan, const char *runtime_dir)
{
	struct docker_plan *d = &plan->docker;
	char host[HOST_ID_SIZE], boot_id[HOST_BOOT_ID_SIZE];

	host_id(host);
	host_boot_id(boot_id);
	TRY(strlist_addf(&d->labels, "bottle.slug=%s", d->slug));
	TRY(strlist_addf(&d->labels, "bottle.name=%s", plan->name));
	TRY(strlist_addf(&d->labels, "bottle.uid=%u", (unsigned)geteuid()));
	TRY(strlist_addf(&d->labels, "bottle.pid=%d", (int)getpid()));
	TRY(strlist_addf(&d->labels, "bottle.host=%s", host));
	TRY(strlist_addf(&d->labels, "bottle.boot-id=%s", boot_id));
	return strlist_addf(&d->labels, "bottle.lock=%s/%s/lock", runtime_dir, d->slug);
}

static int make_names(struct plan *plan, const char *runtime_dir)
{
	struct docker_plan *d = &plan->docker;

	d->slug = docker_names_slug(plan->name, plan->run_id);
	if (!d->slug)
		return -ENOMEM;
	d->internal_network = docker_names_of(DOCKER_INTERNAL_NETWORK, d->slug);
	d->egress_network = docker_names_of(DOCKER_EGRESS_NETWORK, d->slug);
	d->proxy_name = docker_names_of(DOCKER_PROXY_CONTAINER, d->slug);
	d->agent_name = docker_names_of(DOCKER_AGENT_CONTAINER, d->slug);
	d->folder = str_printf("%s/%s", runtime_dir, d->slug);
	if (!d->internal_network || !d->egress_network || !d->proxy_name || !d->agent_name ||
	    !d->folder)
		return -ENOMEM;
	return make_labels(plan, runtime_dir);
}

int docker_plan_network(const struct docker_plan *d, bool internal, struct strlist *ret_argv)
{
	TRY(strlist_add(ret_argv, "network"));
	TRY(strlist_add(ret_argv, "create"));
	for (size_t i = 0; i < d->labels.len; i++)
		TRY(strlist_addf(ret_argv, "--label=%s", d->labels.items[i]));
	if (internal) {
		TRY(strlist_add(ret_argv, "--internal"));
		/* An address of the host's, even of the link alone, would be a way. */
		TRY(docker_engine_add_gateway(&d->engine, ret_argv));
	}
	return strlist_add(ret_argv, internal ? d->internal_network : d->egress_network);
}

/* ---- what Docker cannot do ---- */

static bool is_loopback(const char *text)
{
	struct address ip;

	return address_parse(text, &ip) &&
	       ((ip.len == 4 && ip.bytes[0] == 127) ||
		(ip.len == 16 && memcmp(ip.bytes, (const uint8_t[16]){ [15] = 1 }, 16) == 0));
}

static int check_route(const struct route *r, struct err *err)
{
	if (r->address && r->address_port)
		return err_set(err, EINVAL,
			       "%s: address: another port than the one asked for is not possible "
			       "with --backend docker; leave the port out",
			       r->where);
	if (is_loopback(r->address ? r->address : r->host))
		return err_set(err, EINVAL,
			       "%s: %s is the host's loopback, which a container does not reach; "
			       "with --backend docker name an address that it does",
			       r->where, r->address ? r->address : r->host);
	if (str_starts(r->host, "*.") && (r->address || r->allow_private))
		return err_set(err, EINVAL,
			       "%s: address and allow_private are not possible for %s with "
			       "--backend docker; name the hosts",
			       r->where, r->host);
	return 0;
}

static int check_manifest(const struct manifest *m, struct err *err)
{
	if (!m->agent.image)
		return err_set(err, EINVAL,
			       "--backend docker: which image does the agent run in? Say "
			       "agent.image in the manifest, or --agent-image");
	for (size_t i = 0; i < m->route_count; i++)
		TRY(check_route(&m->routes[i], err));
	if (m->upstream.url &&
	    (is_loopback(m->upstream.host) || strcmp(m->upstream.host, "localhost") == 0))
		return err_set(err, EINVAL,
			       "%s: egress.upstream_proxy.url: %s is the host's loopback, which a "
			       "container does not reach",
			       m->upstream.where, m->upstream.host);
	return 0;
}

static int warn(struct plan *plan)
{
	const struct docker_plan *d = &plan->docker;

	if (d->engine.gateway == DOCKER_GATEWAY_OPEN)
		TRY(plan_warn(plan,
			      "%s cannot keep the host's address off the internal network: the "
			      "agent can reach what listens on all addresses of the host",
			      d->engine.name));
	if (!d->proxy_image.by_stdin)
		TRY(plan_warn(
			plan,
			"the image %s does not take its secrets on standard input (label "
			"bottle.secrets=stdin): Docker's storage holds the CA's key, and its "
			"record of the container the tokens, while the bottle runs; that container "
			"is not read-only",
			d->proxy_image.name));
	if (!d->proxy_image.knows_ready)
		TRY(plan_warn(plan,
			      "the image %s does not say when it is ready (label "
			      "bottle.ready-fd=1): it counts as ready when its port is open",
			      d->proxy_image.name));
	return plan_contract_warn(plan);
}

/* ---- all of it ---- */

static int plan_files(struct plan *plan, const struct run_options *options,
		      const struct plan_dirs *dirs, struct err *err)
{
	plan->host.uid = geteuid();
	plan->host.gid = getegid();
	TRY(plan_agent_home(plan, err));
	for (size_t i = 0; i < plan->manifest.agent.command.len; i++)
		if (strlist_add(&plan->agent.argv, plan->manifest.agent.command.items[i]) < 0)
			return err_sys(err, ENOMEM, "plan the agent");
	TRY(plan_agent_binds(plan, options->workdir, dirs, err));
	return plan_agent_env(plan) < 0 ? err_sys(err, ENOMEM, "plan the agent") : 0;
}

int docker_plan_make(struct plan *plan, const struct run_options *options,
		     const struct plan_dirs *dirs, struct err *err)
{
	struct docker_plan *d = &plan->docker;
	const struct manifest *m = &plan->manifest;
	const char *proxy = m->proxy_image ? m->proxy_image : PLAN_CONTRACT_IMAGE;

	TRY(check_manifest(m, err));
	TRY(plan_contract_read_cas(plan, err));
	TRY(routes_token_slots(m, &plan->token_refs));
	TRY(routes_render(m, &plan->routes_yaml, err));
	TRY(plan_files(plan, options, dirs, err));
	TRY(docker_create_check(plan, err));
	TRY(plan_choose_name(plan, options, err));
	TRY(docker_engine_ask(&d->engine, err));
	TRY(docker_image_look_proxy(proxy, &d->proxy_image, err));
	TRY(docker_image_look_agent(m->agent.image, &d->agent_image, err));
	d->is_tty = isatty(0) && isatty(1) && !plan->no_stdin;
	if (make_names(plan, dirs->runtime) < 0 || docker_create_proxy(plan) < 0 ||
	    docker_create_agent(plan) < 0 || warn(plan) < 0)
		return err_sys(err, ENOMEM, "make the plan");
	return 0;
}

void docker_plan_clear(struct plan *plan)
{
	struct docker_plan *d = &plan->docker;

	docker_image_clear(&d->proxy_image);
	docker_image_clear(&d->agent_image);
	strlist_clear(&d->labels);
	strlist_clear(&d->proxy_create);
	strlist_clear(&d->agent_create);
	strlist_clear(&d->agent_env);
	strlist_clear(&d->agent_env_lines);
	docker_engine_clear(&d->engine);
	free(d->slug);
	free(d->internal_network);
	free(d->egress_network);
	free(d->proxy_name);
	free(d->agent_name);
	free(d->folder);
	*d = (struct docker_plan){ 0 };
}
