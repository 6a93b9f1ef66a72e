/* SPDX-License-Identifier: Apache-2.0
 *
 * The proxy's part of the plan: image, environment, root, routes.yaml, and what the gate lets it
 * dial. Runs in: launcher, before anything has changed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "ca/bundle.h"
#include "config/routes.h"
#include "runtime/native_image.h"
#include "runtime/plan.h"
#include "runtime/plan_contract.h"

/* The one that bottle's source makes besides. */
#define BUILT_IMAGE "mitmproxy"

enum {
	SCRATCH_BYTES = 64 * 1024 * 1024,
	SMALL_BYTES = 65536,
	DEVICE = MOUNT_DEVICE | MOUNT_MAKE,
	SECRET = MOUNT_SECRET | MOUNT_MAKE,
};

static int add_target(struct plan *plan, struct gate_target target)
{
	struct gate_target *grown = reallocarray(plan->targets, plan->target_count + 1,
						 sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	plan->targets = grown;
	plan->targets[plan->target_count++] = target;
	return 0;
}

static int by_port(const void *a, const void *b)
{
	return *(const uint16_t *)a - *(const uint16_t *)b;
}

static int collect_ports(struct plan *plan)
{
	plan->ports = calloc(plan->target_count + 1, sizeof(*plan->ports));
	if (!plan->ports)
		return -ENOMEM;
	for (size_t i = 0; i < plan->target_count; i++)
		plan->ports[i] = plan->targets[i].port;
	qsort(plan->ports, plan->target_count, sizeof(*plan->ports), by_port);
	for (size_t i = 0; i < plan->target_count; i++)
		if (!plan->port_count || plan->ports[plan->port_count - 1] != plan->ports[i])
			plan->ports[plan->port_count++] = plan->ports[i];
	return 0;
}

/* With an upstream proxy nothing but that proxy can be dialled, private or not: it was named. */
static int collect_targets(struct plan *plan)
{
	const struct manifest *m = &plan->manifest;

	if (m->upstream.url) {
		TRY(add_target(plan, (struct gate_target){ .host = m->upstream.host,
							   .port = m->upstream.port,
							   .allow_private = true }));
		return collect_ports(plan);
	}
	for (size_t i = 0; i < m->route_count; i++) {
		const struct route *r = &m->routes[i];

		for (size_t j = 0; j < r->port_count; j++)
			TRY(add_target(plan,
				       (struct gate_target){ .host = r->host,
							     .port = r->ports[j],
							     .allow_private = r->allow_private,
							     .address = r->address,
							     .address_port = r->address_port }));
	}
	return collect_ports(plan);
}

static void number_fds(struct plan *plan)
{
	struct proxy_fds *fds = &plan->proxy_fds;
	int next = 3;

	fds->listen = plan->image.knows_listen_fds ? next++ : -1;
	fds->audit = next++;
	fds->ready = next++;
	fds->gate = plan->image.knows_gate_fd ? next++ : -1;
}

/* The image's own variables first; of two with one name the contract's, which comes later, counts. */
static int proxy_env(struct plan *plan)
{
	static const char *const own[] = { "HTTP_PROXY", "HTTPS_PROXY",	  "NO_PROXY",
					   "ALL_PROXY",	 "EGRESS_PROXY_", "LISTEN_" };
	struct strlist *env = &plan->proxy.env;
	char listen[INET_ADDRSTRLEN];

	for (size_t i = 0; i < plan->image.env.len; i++) {
		const char *item = plan->image.env.items[i];
		bool ours = str_starts(item, "HOME=");

		for (size_t j = 0; j < sizeof(own) / sizeof(own[0]); j++)
			ours = ours || strncasecmp(item, own[j], strlen(own[j])) == 0;
		if (!ours)
			TRY(strlist_add(env, item));
	}
	inet_ntop(AF_INET, &plan->link.egress_addr, listen, sizeof(listen));
	TRY(strlist_add(env, "HOME=" PLAN_CONTRACT_HOME));
	TRY(strlist_addf(env, "EGRESS_PROXY_PORT=%u", plan->manifest.proxy_port));
	TRY(strlist_addf(env, "EGRESS_PROXY_LISTEN_HOST=%s", listen));
	TRY(strlist_addf(env, "EGRESS_PROXY_AUDIT_FD=%d", plan->proxy_fds.audit));
	TRY(strlist_addf(env, "EGRESS_PROXY_READY_FD=%d", plan->proxy_fds.ready));
	if (plan->proxy_fds.listen >= 0)
		TRY(strlist_add(env, "LISTEN_FDS=1"));
	if (plan->extra_ca.len)
		TRY(strlist_add(env, "EGRESS_PROXY_EXTRA_CA=" PLAN_CONTRACT_EXTRA_CA));
	return plan_contract_upstream_env(plan, env);
}

/* What every proxy's root has besides the image's tree, in this order. */
static const struct mount_op root_ops[] = {
	{ .kind = MOUNT_PROC, .at = "/proc" },
	{ .kind = MOUNT_MASK, .at = "/proc/keys", .flags = MOUNT_OPTIONAL },
	{ .kind = MOUNT_MASK, .at = "/proc/key-users", .flags = MOUNT_OPTIONAL },
	{ .kind = MOUNT_MASK, .at = "/proc/kcore", .flags = MOUNT_OPTIONAL },
	{ .kind = MOUNT_MASK, .at = "/proc/timer_list", .flags = MOUNT_OPTIONAL },
	{ .kind = MOUNT_MASK, .at = "/proc/sysrq-trigger", .flags = MOUNT_OPTIONAL },
	{ .kind = MOUNT_TMPFS,
	  .at = "/dev",
	  .mode = 0755,
	  .bytes = SMALL_BYTES,
	  .flags = MOUNT_NOEXEC },
	{ .kind = MOUNT_BIND, .at = "/dev/null", .source = "/dev/null", .flags = DEVICE },
	{ .kind = MOUNT_BIND, .at = "/dev/zero", .source = "/dev/zero", .flags = DEVICE },
	{ .kind = MOUNT_BIND, .at = "/dev/full", .source = "/dev/full", .flags = DEVICE },
	{ .kind = MOUNT_BIND, .at = "/dev/random", .source = "/dev/random", .flags = DEVICE },
	{ .kind = MOUNT_BIND, .at = "/dev/urandom", .source = "/dev/urandom", .flags = DEVICE },
	{ .kind = MOUNT_TMPFS,
	  .at = "/tmp",
	  .mode = 01777,
	  .bytes = SCRATCH_BYTES,
	  .flags = MOUNT_NOEXEC },
	{ .kind = MOUNT_TMPFS,
	  .at = "/run",
	  .mode = 0755,
	  .bytes = SCRATCH_BYTES,
	  .flags = MOUNT_NOEXEC },
	{ .kind = MOUNT_TMPFS,
	  .at = PLAN_CONTRACT_HOME,
	  .mode = 0700,
	  .bytes = SCRATCH_BYTES,
	  .flags = MOUNT_NOEXEC },
	{ .kind = MOUNT_TMPFS,
	  .at = "/etc/egress-proxy",
	  .mode = 0755,
	  .bytes = SMALL_BYTES,
	  .flags = MOUNT_NOEXEC },
	/* The gate's resolver: knows the routed names, each under an address of its own. */
	{ .kind = MOUNT_TEXT, .at = "/etc/resolv.conf", .source = "nameserver 127.0.0.1\n" },
	{ .kind = MOUNT_HANDED,
	  .at = PLAN_CONTRACT_CA,
	  .content = PLAN_CA_SECRET,
	  .flags = SECRET },
	{ .kind = MOUNT_HANDED,
	  .at = PLAN_CONTRACT_ROUTES,
	  .content = PLAN_ROUTES,
	  .flags = SECRET },
};

/* Where a route names localhost, the gate's resolver must be asked for it, as for any other name. */
static int mount_hosts(const struct plan *plan, struct mount_list *list)
{
	const char *text = "127.0.0.1 localhost\n::1 localhost\n";

	for (size_t i = 0; i < plan->manifest.route_count; i++)
		if (strcmp(plan->manifest.routes[i].host, "localhost") == 0)
			text = "# localhost is a route's\n";
	return mount_list_add(list, (struct mount_op){ .kind = MOUNT_TEXT,
						       .at = "/etc/hosts",
						       .source = (char *)(uintptr_t)text });
}

/* Label bottle.trust-store=host: the image brings no roots of its own and verifies upstreams by the
 * host's store. One that the host updates by rename stays as it was when the run began. */
static int mount_store(struct plan *plan, struct mount_list *list)
{
	const char *store = ca_host_bundle_path();

	if (!image_has_label(&plan->image, "bottle.trust-store", "host"))
		return 0;
	if (!store)
		return plan_warn(plan,
				 "this host has no store of certificates where one is known to "
				 "lie; the proxy trusts no upstream but by egress.extra_ca");
	return mount_list_add(list, (struct mount_op){ .kind = MOUNT_BIND,
						       .at = PLAN_CONTRACT_STORE,
						       .source = (char *)(uintptr_t)store });
}

static int proxy_mounts(struct plan *plan)
{
	static const char *const writable[] = { "/dev", "/tmp", "/run", PLAN_CONTRACT_HOME };
	struct mount_list *list = &plan->proxy.mounts;

	TRY(mount_list_add(list, (struct mount_op){ .kind = MOUNT_ROOT_TREE,
						    .source = plan->image.root_path }));
	for (size_t i = 0; i < sizeof(root_ops) / sizeof(root_ops[0]); i++)
		TRY(mount_list_add(list, root_ops[i]));
	TRY(mount_hosts(plan, list));
	TRY(mount_store(plan, list));
	if (plan->upstream_ca.len)
		TRY(mount_list_add(list, (struct mount_op){ .kind = MOUNT_HANDED,
							    .at = PLAN_CONTRACT_UPSTREAM_CA,
							    .content = PLAN_UPSTREAM_CA,
							    .flags = SECRET }));
	if (plan->extra_ca.len)
		TRY(mount_list_add(list, (struct mount_op){ .kind = MOUNT_HANDED,
							    .at = PLAN_CONTRACT_EXTRA_CA,
							    .content = PLAN_EXTRA_CA,
							    .flags = SECRET }));
	for (size_t i = 0; i < sizeof(writable) / sizeof(writable[0]); i++)
		TRY(strlist_add(&plan->proxy.writable, writable[i]));
	return 0;
}

/* What is only planned imports nothing. */
static int find_image(struct plan *plan, bool may_import, const struct plan_dirs *dirs,
		      struct err *err)
{
	const char *name = plan->manifest.proxy_image ? plan->manifest.proxy_image
						      : PLAN_CONTRACT_IMAGE;
	int rc;

	if (native_image_is_name(name))
		return native_image_find(dirs->data, may_import, &plan->image, err);
	rc = image_find(dirs->data, name, &plan->image, err);
	if (rc != -ENOENT || strcmp(name, BUILT_IMAGE) != 0)
		return rc;
	return err_set(
		err, ENOENT,
		"no image '%s': make and import it with `make image` in bottle's source, or make "
		"its archive with PREFIX/share/bottle/rootfs/build-image.sh and import that with "
		"`bottle image import ARCHIVE --tag %s`; the image that comes with bottle needs "
		"neither (BOTTLE_EGRESS_PROXY_IMAGE=native, or proxy.image)",
		name, name);
}

int plan_proxy(struct plan *plan, const struct run_options *options, const struct plan_dirs *dirs,
	       struct err *err)
{
	TRY(plan_contract_read_cas(plan, err));
	TRY(find_image(plan, !options->dry_run, dirs, err));
	number_fds(plan);
	TRY(routes_token_slots(&plan->manifest, &plan->token_refs));
	TRY(routes_render(&plan->manifest, &plan->routes_yaml, err));
	for (size_t i = 0; i < plan->image.argv.len; i++)
		if (strlist_add(&plan->proxy.argv, plan->image.argv.items[i]) < 0)
			return err_sys(err, ENOMEM, "plan the proxy");
	plan->proxy.workdir = strdup(plan->image.workdir);
	if (!plan->proxy.workdir || collect_targets(plan) < 0 || proxy_env(plan) < 0 ||
	    proxy_mounts(plan) < 0 || plan_contract_warn(plan) < 0)
		return err_sys(err, ENOMEM, "plan the proxy");
	return 0;
}
