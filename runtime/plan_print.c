/* SPDX-License-Identifier: Apache-2.0
 *
 * The plan for a person (`--dry-run`) or a program (`--json`). Both are made of one JSON value, so
 * they cannot tell different things. Names token variables, never a value: the plan has none.
 *
 * Runs in: launcher, before anything has changed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "runtime/backend.h"

static json_t *strings(const struct strlist *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->len; i++)
		json_array_append_new(array, json_string(list->items[i]));
	return array;
}

/* What an empty list does not narrow: null, where [] would say that nothing is allowed. */
static json_t *narrowed(const struct strlist *list)
{
	return list->len ? strings(list) : json_null();
}

/* Values of variables stay out: what the caller passes on may be as secret as a token. */
static json_t *names_of(const struct strlist *env)
{
	json_t *array = json_array();

	for (size_t i = 0; i < env->len; i++)
		json_array_append_new(array,
				      json_stringn(env->items[i], strcspn(env->items[i], "=")));
	return array;
}

static json_t *auth_of(const struct auth *auth)
{
	if (auth->kind == AUTH_NONE)
		return json_null();
	return json_pack("{s:s, s:s}", auth->kind == AUTH_SCHEME ? "scheme" : "header",
			 auth->kind == AUTH_SCHEME ? auth->scheme : auth->header, "token_ref",
			 auth->token_ref);
}

/* As a manifest has it: IP, IP:PORT or [IPV6]:PORT. */
static json_t *address_of(const struct route *r)
{
	if (!r->address || !r->address_port)
		return r->address ? json_string(r->address) : json_null();
	return json_sprintf(strchr(r->address, ':') ? "[%s]:%d" : "%s:%d", r->address,
			    (int)r->address_port);
}

static json_t *routes_of(const struct manifest *m)
{
	json_t *array = json_array();

	for (size_t i = 0; i < m->route_count; i++) {
		const struct route *r = &m->routes[i];
		json_t *ports = json_array();

		for (size_t j = 0; j < r->port_count; j++)
			json_array_append_new(ports, json_integer(r->ports[j]));
		json_array_append_new(array,
				      json_pack("{s:s, s:o, s:o, s:o, s:o, s:b, s:o, s:b}", "host",
						r->host, "ports", ports, "paths",
						narrowed(&r->path_allowlist), "methods",
						narrowed(&r->methods), "auth", auth_of(&r->auth),
						"git_push", r->git_push, "address", address_of(r),
						"allow_private", r->allow_private));
	}
	return array;
}

static json_t *files_of(const struct plan_role *role)
{
	static const char *const verbs[MOUNT_KIND_COUNT] = {
		[MOUNT_BIND] = "read-only",	 [MOUNT_TMPFS] = "tmpfs",
		[MOUNT_TEXT] = "text",		 [MOUNT_HANDED] = "handed",
		[MOUNT_MASK] = "masked",	 [MOUNT_ALIAS] = "read-only",
		[MOUNT_ROOT_TREE] = "read-only", [MOUNT_PROC] = "proc",
		[MOUNT_DEVPTS] = "devpts",
	};
	json_t *array = json_array();

	for (size_t i = 0; i < role->mounts.len; i++) {
		const struct mount_op *op = &role->mounts.ops[i];
		const char *verb = op->flags & MOUNT_WRITABLE ? "read-write"
				   : op->flags & MOUNT_SECRET ? "secret"
				   : op->flags & MOUNT_DEVICE ? "device"
							      : verbs[op->kind];

		if (verb)
			json_array_append_new(array, json_pack("{s:s, s:s}", "path",
							       op->at ? op->at : "/", "how", verb));
	}
	return array;
}

static json_t *limit_of(uint64_t value)
{
	return value ? json_integer((json_int_t)value) : json_string("no limit");
}

static json_t *limits_of(const struct limits_plan *plan)
{
	const struct limits *limits = &plan->limits;

	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "memory_bytes",
			 limit_of(limits->memory_bytes), "pids", limit_of(limits->pids),
			 "cpu_thousandths", limit_of(limits->cpu_milli), "open_files",
			 limit_of(plan->files_hard), "tmp_bytes", limit_of(limits->tmp_bytes));
}

static json_t *proxy_of(const struct plan *plan)
{
	char link[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &plan->link.egress_addr, link, sizeof(link));
	return json_pack("{s:s, s:s, s:b, s:i, s:s, s:i, s:o}", "image", plan->image.digest, "root",
			 plan->image.root_path, "unpacked", plan->image.lock_fd > 0, "uid",
			 (int)plan->image.uid, "address", link, "port",
			 (int)plan->manifest.proxy_port, "files", files_of(&plan->proxy));
}

static json_t *image_of(const struct docker_image *image)
{
	static const char *const ways[] = {
		[DOCKER_IMAGE_THERE] = "there",
		[DOCKER_IMAGE_LOAD] = "loaded from",
		[DOCKER_IMAGE_BUILD] = "built from",
		[DOCKER_IMAGE_PULL] = "pulled",
	};

	return json_pack("{s:s, s:s?, s:s, s:s?, s:s?}", "name", image->name, "id", image->id,
			 "how", ways[image->way], "source", image->source, "inputs", image->inputs);
}

/* What will be done, in order, as the CLI is told it. */
static json_t *docker_of(const struct plan *plan)
{
	const struct docker_plan *d = &plan->docker;
	static const char *const hosts[] = {
		[DOCKER_GATEWAY_ISOLATED] = "not reached: the bridge has no address",
		[DOCKER_GATEWAY_INHIBITED] = "not reached: the bridge has no address",
		[DOCKER_GATEWAY_PODMANS] = "not reached: the bridge is in podman's own network",
		[DOCKER_GATEWAY_OPEN] = "REACHED by its address on the bridge",
	};
	struct strlist internal = { 0 }, egress = { 0 };
	json_t *value = NULL;

	if (docker_plan_network(d, true, &internal) == 0 &&
	    docker_plan_network(d, false, &egress) == 0)
		value = json_pack(
			"{s:s, s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:i}", "engine",
			d->engine.name, "host", hosts[d->engine.gateway], "proxy_image",
			image_of(&d->proxy_image), "agent_image", image_of(&d->agent_image),
			"secrets",
			d->proxy_image.by_stdin
				? "on the proxy's standard input; Docker has none of them"
				: "by docker cp and in the environment: Docker's storage has them",
			"internal_network", strings(&internal), "egress_network", strings(&egress),
			"proxy_container", strings(&d->proxy_create), "agent_container",
			strings(&d->agent_create), "port", (int)plan->manifest.proxy_port);
	strlist_clear(&internal);
	strlist_clear(&egress);
	return value;
}

/* What both backends have. */
static json_t *common_of(const struct plan *plan)
{
	const struct manifest *m = &plan->manifest;

	return json_pack("{s:s, s:s?, s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:{s:s?, s:s?}, s:o}",
			 "name", plan->name, "manifest", m->path, "backend", plan->backend->name,
			 "command", strings(&plan->agent.argv), "work_folder", plan->work_folder,
			 "hostname", plan->hostname, "environment", names_of(&plan->agent.env),
			 "routes", routes_of(m), "tokens", strings(&plan->token_refs),
			 "upstream_proxy", "url", m->upstream.url, "ca", m->upstream.ca_path,
			 "warnings", strings(&plan->warnings));
}

static json_t *own_of(const struct plan *plan)
{
	if (plan->docker.slug)
		return json_pack("{s:o, s:o}", "files", files_of(&plan->agent), "docker",
				 docker_of(plan));
	return json_pack("{s:s, s:o, s:o, s:o, s:o}", "idmap",
			 plan->idmap == IDMAP_SUBID ? "subid" : "single", "files",
			 files_of(&plan->agent), "masked_sockets", strings(&plan->masked), "proxy",
			 proxy_of(plan), "limits", limits_of(&plan->limits));
}

static json_t *build(const struct plan *plan)
{
	json_t *value = common_of(plan);
	json_t *own = own_of(plan);

	if (!value || !own || json_object_update(value, own) < 0) {
		json_decref(value);
		value = NULL;
	}
	json_decref(own);
	return value;
}

static bool is_every(const char *key, const json_t *value)
{
	return json_is_null(value) && (strcmp(key, "paths") == 0 || strcmp(key, "methods") == 0);
}

static void print_value(const json_t *value, int indent, FILE *out)
{
	char escaped[8192];
	const char *key;
	json_t *item;
	size_t i;

	switch (json_typeof(value)) {
	case JSON_OBJECT:
		fputc('\n', out);
		json_object_foreach((json_t *)(uintptr_t)value, key, item)
		{
			fprintf(out, "%*s%s:", indent, "", key);
			if (is_every(key, item))
				fputs(" every\n", out);
			else
				print_value(item, indent + 2, out);
		}
		return;
	case JSON_ARRAY:
		if (!json_array_size(value)) {
			fputs(" none\n", out);
			return;
		}
		fputc('\n', out);
		json_array_foreach(value, i, item)
		{
			fprintf(out, "%*s-", indent, "");
			print_value(item, indent + 2, out);
		}
		return;
	case JSON_STRING:
		fprintf(out, " %s\n",
			str_escape(escaped, sizeof(escaped), json_string_value(value),
				   json_string_length(value)));
		return;
	case JSON_INTEGER:
		fprintf(out, " %lld\n", (long long)json_integer_value(value));
		return;
	default:
		fprintf(out, " %s\n",
			json_is_true(value)    ? "yes"
			: json_is_false(value) ? "no"
					       : "none");
	}
}

int plan_print(const struct plan *plan, bool as_json, FILE *out)
{
	json_t *value = build(plan);

	if (!value)
		return -ENOMEM;
	if (as_json) {
		json_dumpf(value, out, JSON_INDENT(2) | JSON_ENSURE_ASCII);
		fputc('\n', out);
	} else {
		fputs("plan (nothing was changed):", out);
		print_value(value, 2, out);
	}
	json_decref(value);
	return fflush(out) == 0 ? 0 : -errno;
}
