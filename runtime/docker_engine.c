/* SPDX-License-Identifier: Apache-2.0
 * Docker or podman; see docker_engine.h. Runs in: launcher of the Docker backend. */
#include "runtime/docker_engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "runtime/docker_cli.h"

#define STEP "engine"

enum { ENGINE_MS = 15 * 1000 };

/* ---- the host's address on the internal network ---- */

/* From which version on a network can be made so, newest first. */
static const struct {
	unsigned major, minor;
	enum docker_gateway gateway;
} gateways[] = {
	{ 28, 0, DOCKER_GATEWAY_ISOLATED },
	{ 20, 10, DOCKER_GATEWAY_INHIBITED },
};

static const char *const gateway_options[][2] = {
	[DOCKER_GATEWAY_ISOLATED] = { "--opt=com.docker.network.bridge.gateway_mode_ipv4=isolated",
				      "--opt=com.docker.network.bridge.gateway_mode_ipv6="
				      "isolated" },
	[DOCKER_GATEWAY_INHIBITED] = { "--opt=com.docker.network.bridge.inhibit_ipv4=true", NULL },
	[DOCKER_GATEWAY_PODMANS] = { NULL, NULL },
	[DOCKER_GATEWAY_OPEN] = { NULL, NULL },
};

static enum docker_gateway gateway_of(const char *version)
{
	unsigned major = 0, minor = 0;

	if (sscanf(version, "%u.%u", &major, &minor) != 2)
		return DOCKER_GATEWAY_OPEN;
	for (size_t i = 0; i < sizeof(gateways) / sizeof(gateways[0]); i++)
		if (major > gateways[i].major ||
		    (major == gateways[i].major && minor >= gateways[i].minor))
			return gateways[i].gateway;
	return DOCKER_GATEWAY_OPEN;
}

int docker_engine_add_gateway(const struct docker_engine *engine, struct strlist *argv)
{
	/* Podman's resolver would be there, and forward the agent's questions. */
	TRY(strlist_add(argv, engine->is_podman ? "--disable-dns" : "--ipv6=false"));
	for (size_t i = 0; i < 2 && gateway_options[engine->gateway][i]; i++)
		TRY(strlist_add(argv, gateway_options[engine->gateway][i]));
	return 0;
}

/* ---- which one ---- */

static int ask(struct buf *out, struct err *err, const char *const *words)
{
	cleanup_with(strlist_clear) struct strlist argv = { 0 };

	for (; *words; words++)
		if (strlist_add(&argv, *words) < 0)
			return err_sys(err, ENOMEM, STEP);
	return docker_call(&(struct docker_call){ .step = STEP,
						  .argv = &argv,
						  .timeout_ms = ENGINE_MS,
						  .ends_on_signal = true,
						  .ret_out = out },
			   err);
}

static int ask_rootless(struct docker_engine *engine, struct err *err)
{
	static const char *const words[] = { "info", "--format", "{{.Host.Security.Rootless}}",
					     NULL };
	cleanup_with(buf_clear) struct buf out = { 0 };

	TRY(ask(&out, err, words));
	engine->is_rootless = out.data && str_starts(out.data, "true");
	if (engine->is_rootless)
		engine->gateway = DOCKER_GATEWAY_PODMANS;
	return 0;
}

/* {"Client": {"Version"}, "Server": {"Version", "Components": [{"Name": "Engine"}]}}; podman that needs no
 * service has a client alone. */
int docker_engine_ask(struct docker_engine *ret_engine, struct err *err)
{
	static const char *const words[] = { "version", "--format", "{{json .}}", NULL };
	cleanup_with(buf_clear) struct buf out = { 0 };
	cleanup_with(json_clear) json_t *said = NULL;
	const json_t *server;
	const char *version, *component;

	*ret_engine = (struct docker_engine){ 0 };
	TRY(ask(&out, err, words));
	said = json_loadb(out.data ? out.data : "", out.len, 0, NULL);
	server = json_object_get(said, "Server");
	version = json_string_value(json_object_get(server, "Version"));
	if (!version)
		version = json_string_value(
			json_object_get(json_object_get(said, "Client"), "Version"));
	if (!version)
		return err_set(err, EPROTO, STEP ": '%s version' printed no version",
			       docker_cli_name());
	component = json_string_value(
		json_object_get(json_array_get(json_object_get(server, "Components"), 0), "Name"));
	ret_engine->is_podman = !component;
	ret_engine->gateway = component && strcmp(component, "Engine") == 0 ? gateway_of(version)
									    : DOCKER_GATEWAY_OPEN;
	ret_engine->name = str_printf("%s %s",
				      !component			 ? "podman"
				      : strcmp(component, "Engine") == 0 ? "Docker Engine"
									 : component,
				      version);
	if (!ret_engine->name)
		return err_sys(err, ENOMEM, STEP);
	return ret_engine->is_podman ? ask_rootless(ret_engine, err) : 0;
}

void docker_engine_clear(struct docker_engine *engine)
{
	free(engine->name);
	*engine = (struct docker_engine){ 0 };
}

/* ---- in what they differ ---- */

const char *docker_engine_tmpfs_owner(const struct docker_engine *engine, unsigned uid,
				      unsigned gid, char buf[static 48])
{
	if (engine->is_podman) /* podman-create(1): the user that --user names */
		return "U";
	snprintf(buf, 48, "uid=%u,gid=%u", uid, gid);
	return buf;
}
