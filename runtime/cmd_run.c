/* SPDX-License-Identifier: Apache-2.0
 *
 * `bottle run`, up to the plan: options, manifest, plan, and with --dry-run its print. Nothing has
 * changed when the backend takes over. Runs in: launcher.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "runtime/backend.h"
#include "runtime/commands.h"
#include "runtime/manifest_load.h"
#include "runtime/token_check.h"

/* The option counts before the variable. Where auto had to take another than the first, that is told. */
static int choose_backend(const struct run_options *options, const struct backend **ret_backend,
			  struct err *err)
{
	const char *variable = getenv("BOTTLE_BACKEND");
	const char *word = options->backend	   ? options->backend
			   : variable && *variable ? variable
						   : NULL;
	struct err why;

	TRY(backend_choose(word, options->backend ? "--backend" : "BOTTLE_BACKEND", ret_backend,
			   &why, err));
	if (word && strcmp(word, "namespaces") == 0 && options->agent_image)
		return err_set(
			err, EINVAL,
			"--agent-image %s: is for Docker alone; with namespaces the command's "
			"programs are this host's: leave it out, or say --backend docker",
			options->agent_image);
	if (why.text[0] && !options->quiet)
		log_note("backend: %s, since %s does not work here: %s", (*ret_backend)->name,
			 backend_at(0)->name, why.text);
	return 0;
}

/* Not read at all, which who has one here may not expect. */
static void note_unread_manifest(const struct run_options *options)
{
	if (!options->quiet && !options->file && options->allow.len &&
	    access("bottle.yaml", F_OK) == 0)
		log_note("bottle.yaml is not read, since --allow stands without -f; "
			 "-f bottle.yaml would add to it");
}

/* `bottle run true --allow a.test`: all behind the first word is the command's. */
static int load_manifest(struct manifest *manifest, const struct run_options *options,
			 const struct state *state, struct err *err)
{
	int rc = manifest_load(manifest, options->file, options->allow.len > 0, state, err);
	const char *option = options->file ? NULL : run_options_misplaced(options);
	const struct err why = *err;

	if (rc == -ENOENT && option)
		return err_set(err, ENOENT,
			       "%s (the %s behind '%s' is the command's; bottle's options stand "
			       "before COMMAND)",
			       why.text, option, options->command[0]);
	return rc;
}

static int make_plan(struct plan *plan, const struct run_options *options, struct err *err)
{
	const struct backend *backend;
	cleanup_with(state_clear) struct state state;
	cleanup_with(manifest_clear) struct manifest manifest;
	struct plan_dirs dirs;

	state_init(&state);
	manifest_init(&manifest);
	TRY(state_paths(&state, err));
	TRY(load_manifest(&manifest, options, &state, err));
	note_unread_manifest(options);
	TRY(manifest_apply_overrides(&manifest, getenv("BOTTLE_EGRESS_PROXY_IMAGE"),
				     getenv("BOTTLE_EGRESS_PROXY_PORT"), err));
	TRY(choose_backend(options, &backend, err));
	dirs = (struct plan_dirs){ state.data_path, state.state_path, state.runtime_path };
	TRY(plan_make(plan, backend, &manifest, options, &dirs, err));
	plan->found_manifest = !options->file && plan->manifest.path;
	return 0;
}

static int planned(const struct run_options *options, struct timings *timings)
{
	cleanup_with(plan_clear) struct plan plan = { 0 };
	struct err err = { 0 };
	int rc = make_plan(&plan, options, &err);

	plan.umask = state_callers_umask();
	if (rc == 0 && options->dry_run)
		rc = token_check_dry(&plan, &err);
	if (rc < 0) {
		log_error("%s", err.text[0] ? err.text : strerror(-rc));
		return EXIT_BOTTLE_FAILED;
	}
	timing_mark(timings, TIMING_PLANNED);
	if (options->dry_run)
		return plan_print(&plan, options->json, stdout) < 0 ? EXIT_BOTTLE_FAILED : 0;
	return plan.backend->run(&plan, timings);
}

int cmd_run(int argc, char **argv)
{
	cleanup_with(run_options_clear) struct run_options options = { 0 };
	struct timings timings;
	struct err err = { 0 };

	timing_start(&timings);
	if (run_options_parse(argc, argv, &options, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_BOTTLE_FAILED;
	}
	if (options.help) {
		cleanup_with(buf_clear) struct buf text = { 0 };

		run_options_help(&text);
		fputs(text.data ? text.data : "", stdout);
		return 0;
	}
	return planned(&options, &timings);
}
