/* SPDX-License-Identifier: Apache-2.0
 * The plan of one run; see plan.h. Runs in: launcher, before anything has changed. */
#include "runtime/plan.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "config/check.h"
#include "runtime/backend.h"

int plan_warn(struct plan *plan, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = strlist_vaddf(&plan->warnings, fmt, ap);
	va_end(ap);
	return rc;
}

/* Folders beside the bottles' own: `trust` in the state folder, `images` in the data folder, which may be
 * the same one. (A name has no dot, so those that begin with one need no line here.) */
static bool is_taken(const char *name)
{
	return strcmp(name, "trust") == 0 || strcmp(name, "images") == 0;
}

/* The manifest's name, else one made of the work folder's: a log under a name that says whose. */
static int choose_name(struct plan *plan, const struct run_options *options, struct err *err)
{
	const char *folder = plan->work_folder;
	const char *base = strrchr(folder, '/');
	char name[42] = "bottle";
	size_t len = 0;

	if (options->name || plan->manifest.name) {
		const char *given = options->name ? options->name : plan->manifest.name;

		if (!state_is_name(given))
			return err_set(err, EINVAL, "--name %s: a name is [a-z0-9][a-z0-9-]{0,40}",
				       given);
		if (is_taken(given))
			return err_set(err, EINVAL,
				       "--name %s: bottle keeps something else under that name; "
				       "choose another",
				       given);
		plan->name = strdup(given);
		return plan->name ? 0 : err_sys(err, ENOMEM, "make the plan");
	}
	for (const char *c = base ? base + 1 : folder; *c && len + 1 < sizeof(name); c++) {
		char lower = (char)tolower((unsigned char)*c);

		if (isalnum((unsigned char)lower) && (unsigned char)lower < 0x80)
			name[len++] = lower;
		else if (len && name[len - 1] != '-')
			name[len++] = '-';
	}
	if (len)
		name[len] = '\0';
	plan->name = str_printf("%s%s", is_taken(name) ? "bottle-" : "", name);
	return plan->name ? 0 : err_sys(err, ENOMEM, "make the plan");
}

int plan_choose_name(struct plan *plan, const struct run_options *options, struct err *err)
{
	TRY(choose_name(plan, options, err));
	plan->hostname = strdup(plan->manifest.agent.hostname ? plan->manifest.agent.hostname
							      : plan->name);
	return plan->hostname ? 0 : err_sys(err, ENOMEM, "make the plan");
}

/* As in the manifest. `item` is NAME or NAME=VALUE, and only the name is shown. */
static int check_variable(const char *option, const char *item, struct err *err)
{
	cleanup_free char *name = strndup(item, strcspn(item, "="));
	int rc;

	if (!name)
		return err_sys(err, ENOMEM, "--%s", option);
	rc = check_agent_env_name(name, err);
	return rc < 0 ? err_context(err, rc, "--%s", option) : 0;
}

static int add_env(struct manifest *m, const struct run_options *o, struct err *err)
{
	for (size_t i = 0; i < o->env.len; i++) {
		const char *item = o->env.items[i];

		if (!strchr(item, '='))
			return err_set(err, EINVAL, "--env %s: must be NAME=VALUE", item);
		TRY(check_variable("env", item, err));
		TRY(strlist_add(&m->agent.env, item));
	}
	for (size_t i = 0; i < o->pass_env.len; i++) {
		const char *item = o->pass_env.items[i];

		if (strchr(item, '='))
			return err_set(err, EINVAL,
				       "--pass-env %.*s: takes a name alone; --env NAME=VALUE "
				       "sets a value",
				       (int)strcspn(item, "="), item);
		TRY(check_variable("pass-env", item, err));
		TRY(strlist_add(&m->agent.pass_env, item));
	}
	return 0;
}

/* From the current folder, as --workdir; a manifest's are absolute. */
static int add_paths(struct strlist *list, const struct strlist *given, struct err *err)
{
	for (size_t i = 0; i < given->len; i++) {
		const char *path = given->items[i];
		cleanup_free char *here = *path == '/' ? NULL : realpath(".", NULL);

		if (*path != '/' && !here)
			return err_sys(err, errno, "the current folder, for %s", path);
		TRY(here ? strlist_addf(list, "%s/%s", here, path) : strlist_add(list, path));
	}
	return 0;
}

static int apply_options(struct plan *plan, const struct run_options *o, struct err *err)
{
	struct manifest *m = &plan->manifest;

	for (size_t i = 0; i < o->allow.len; i++)
		TRY(manifest_add_allow(m, o->allow.items[i], err));
	for (size_t i = 0; i < o->auth.len; i++)
		TRY(manifest_add_auth(m, o->auth.items[i], err));
	TRY(add_env(m, o, err));
	plan->read_only_options = o->read_only.len;
	plan->read_write_options = o->read_write.len;
	TRY(add_paths(&m->agent.read_only, &o->read_only, err));
	TRY(add_paths(&m->agent.read_write, &o->read_write, err));
	if (o->idmap && strcmp(o->idmap, "single") == 0)
		m->idmap = IDMAP_SINGLE;
	else if (o->idmap && strcmp(o->idmap, "subid") == 0)
		m->idmap = IDMAP_SUBID;
	else if (o->idmap && strcmp(o->idmap, "auto") == 0)
		m->idmap = IDMAP_AUTO;
	else if (o->idmap)
		return err_set(err, EINVAL, "--idmap %s: must be auto, single or subid", o->idmap);
	if (o->agent_image) {
		free(m->agent.image);
		m->agent.image = strdup(o->agent_image);
		if (!m->agent.image)
			return err_sys(err, ENOMEM, "make the plan");
	}
	for (char **word = o->command; word && *word; word++) {
		if (word == o->command)
			strlist_clear(&m->agent.command);
		TRY(strlist_add(&m->agent.command, *word));
	}
	if (!m->agent.command.len && !o->dry_run)
		return err_set(err, EINVAL,
			       "no command: give one after '--', or agent.command in the manifest");
	if (m->agent.command.len && !*m->agent.command.items[0])
		return err_set(err, EINVAL,
			       "the command's first word is empty; give a program's name or path");
	return 0;
}

const char *plan_token_where(const struct plan *plan, const char *token_ref)
{
	const struct manifest *m = &plan->manifest;

	for (size_t i = 0; i < m->route_count; i++)
		if (m->routes[i].auth.kind != AUTH_NONE &&
		    strcmp(m->routes[i].auth.token_ref, token_ref) == 0)
			return m->routes[i].where;
	return m->upstream.where;
}

int plan_make(struct plan *plan, const struct backend *backend, struct manifest *manifest,
	      const struct run_options *options, const struct plan_dirs *dirs, struct err *err)
{
	*plan = (struct plan){ .manifest = *manifest, .backend = backend };
	manifest_init(manifest);
	plan->fail_on_denied = options->fail_on_denied;
	plan->timings = options->timings;
	plan->quiet = options->quiet;
	plan->no_stdin = options->no_stdin;
	plan->ca_key = options->ca_rsa ? CA_KEY_RSA2048 : CA_KEY_P256;
	TRY(state_run_id(plan->run_id, err));
	TRY(apply_options(plan, options, err));
	TRY(manifest_check(&plan->manifest, err));
	return backend->plan(plan, options, dirs, err);
}

static void role_clear(struct plan_role *role)
{
	strlist_clear(&role->argv);
	strlist_clear(&role->env);
	strlist_clear(&role->writable);
	free(role->workdir);
	mount_list_clear(&role->mounts);
}

void plan_clear(struct plan *plan)
{
	manifest_clear(&plan->manifest);
	free(plan->name);
	if (plan->backend)
		plan->backend->plan_clear(plan);
	strlist_clear(&plan->limits.warnings);
	role_clear(&plan->proxy);
	role_clear(&plan->agent);
	free(plan->hostname);
	free(plan->targets);
	free(plan->ports);
	strlist_clear(&plan->token_refs);
	buf_clear(&plan->routes_yaml);
	buf_clear(&plan->extra_ca);
	buf_clear(&plan->upstream_ca);
	free(plan->home);
	free(plan->work_folder);
	strlist_clear(&plan->guarded);
	free(plan->guard_marks);
	strlist_clear(&plan->absent);
	strlist_clear(&plan->masked);
	strlist_clear(&plan->warnings);
	*plan = (struct plan){ 0 };
}
