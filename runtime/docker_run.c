/* SPDX-License-Identifier: Apache-2.0
 *
 * `bottle run` with Docker: one run, top to bottom. Runs in: launcher.
 *
 * A run is a list of steps, each with what undoes it. They are done in order; at the first that fails, at
 * a signal, and at the end, those that were begun are undone in reverse: also the one that failed, since
 * what the CLI was asked for may have been done although it said otherwise. So each undoing is idempotent:
 * what is missing is success.
 *
 * The order is what makes it safe: tokens leave the environment before the first program is started; the
 * agent's container is made when the proxy is ready, and has no network but the internal one from its
 * first moment.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "runtime/backend.h"
#include "runtime/commands.h"
#include "runtime/docker_run.h"
#include "runtime/report.h"
#include "runtime/token_check.h"

enum {
	PROXY_END_S = 5, /* until SIGKILL */
	PROXY_DRAIN_MS = 2000,
	AGENT_END_MS = 5000,
	PORT_LOOK_MS = 200,
};

/* ---- steps ---- */

/* First, while nothing exists: one that is not set ends the run here. */
static int take_tokens(struct docker_run *run, struct err *err)
{
	TRY(secrets_no_dump(err));
	TRY(token_check_take(run->plan, &run->secrets, err));
	if (run->secrets.also_in[0])
		log_warning("the variable %s held a token's value too and was emptied",
			    run->secrets.also_in);
	if (!run->secrets.locked)
		log_warning("the tokens could not be locked in memory (RLIMIT_MEMLOCK): they may "
			    "reach swap");
	return 0;
}

static int make_proxy_image(struct docker_run *run, struct err *err)
{
	return docker_image_make(&run->plan->docker.proxy_image, &run->proxy_id, err);
}

static int make_agent_image(struct docker_run *run, struct err *err)
{
	return docker_image_make(&run->plan->docker.agent_image, &run->agent_id, err);
}

static int open_records(struct docker_run *run, struct err *err)
{
	const struct plan *plan = run->plan;

	TRY(state_open(&run->state, err));
	TRY(audit_open(run->state.state_fd, plan->name, plan->run_id, &run->audit, err));
	run->audit.secrets = &run->secrets;
	TRY(state_run_begin(&run->state, plan->name, plan->run_id, &run->folder, err));
	state_sweep(&run->state, &run->warnings);
	return 0;
}

static void close_records(struct docker_run *run)
{
	state_run_end(&run->state, &run->folder, &run->warnings);
}

static int make_files(struct docker_run *run, struct err *err)
{
	TRY(material_make(&run->material, run->plan, &run->secrets, err));
	timing_mark(&run->timings, TIMING_MINTED);
	return docker_files_write(run, err);
}

static int make_network(const struct docker_run *run, const char *step, bool internal,
			struct err *err)
{
	cleanup_with(strlist_clear) struct strlist argv = { 0 };

	if (docker_plan_network(&run->plan->docker, internal, &argv) < 0)
		return err_sys(err, ENOMEM, "%s", step);
	return docker_call(&(struct docker_call){ .step = step, .argv = &argv }, err);
}

static int make_internal(struct docker_run *run, struct err *err)
{
	return make_network(run, "internal network", true, err);
}

static int make_egress(struct docker_run *run, struct err *err)
{
	return make_network(run, "egress network", false, err);
}

/* `call` has the step and how values get in; `late` is an option that was not known when the plan was made,
 * or NULL. */
static int create(struct docker_run *run, struct docker_call call, const struct strlist *planned,
		  const char *late, const char *image, const struct strlist *rest, struct err *err)
{
	cleanup_with(strlist_clear) struct strlist argv = { 0 };
	int rc = 0;

	for (size_t i = 0; i < planned->len && rc == 0; i++)
		rc = strlist_add(&argv, planned->items[i]);
	if (rc == 0 && late)
		rc = strlist_add(&argv, late);
	if (rc == 0)
		rc = strlist_add(&argv, image);
	for (size_t i = 1; rest && i < rest->len && rc == 0; i++)
		rc = strlist_add(&argv, rest->items[i]);
	if (rc < 0)
		return err_sys(err, -rc, "%s", call.step);
	call.argv = &argv;
	call.warnings = &run->warnings;
	return docker_call(&call, err);
}

static int create_proxy(struct docker_run *run, struct err *err)
{
	const struct docker_plan *d = &run->plan->docker;
	cleanup_free const char **env = NULL;

	if (!d->proxy_image.by_stdin)
		TRY(docker_secrets_env(run, &env, err));
	return create(run, (struct docker_call){ .step = "proxy", .env = env }, &d->proxy_create,
		      NULL, run->proxy_id, NULL, err);
}

static int give_secrets(struct docker_run *run, struct err *err)
{
	return run->plan->docker.proxy_image.by_stdin ? docker_secrets_stream(run, err)
						      : docker_secrets_copy(run, err);
}

static int connect_proxy(struct docker_run *run, struct err *err)
{
	return DOCKER_CALL("egress connection", NULL, err, "network", "connect",
			   run->plan->docker.egress_network, run->plan->docker.proxy_name);
}

static int attach(const char *step, const char *name, enum docker_streams streams, bool no_stdin,
		  struct docker_attached *attached, struct err *err)
{
	cleanup_with(strlist_clear) struct strlist argv = { 0 };
	/* None that an agent's user could type: ^P ^Q would leave it. */
	const char *words[] = { "start", "--attach", "--detach-keys=ctrl-^,ctrl-],ctrl-\\,ctrl-_",
				"--interactive", name };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strlist_add(&argv, words[i]) < 0)
			return err_sys(err, ENOMEM, "%s", step);
	return docker_attach(step, &argv, streams, no_stdin, attached, err);
}

static int start_proxy(struct docker_run *run, struct err *err)
{
	TRY(attach("proxy start", run->plan->docker.proxy_name, DOCKER_PIPES, false, &run->proxy,
		   err));
	timing_mark(&run->timings, TIMING_PROXY_SPAWN);
	return 0;
}

/* Its last audit records come while it ends. Where it does not, it is removed by force. */
static void stop_proxy(struct docker_run *run)
{
	cleanup_free char *seconds = str_printf("%d", PROXY_END_S);
	struct err err;

	run->ending = true;
	if (run->proxy.pid > 0 && seconds)
		(void)!DOCKER_CALL("proxy stop", NULL, &err, "stop", "-t", seconds,
				   run->plan->docker.proxy_name);
	docker_session_drain(run, PROXY_DRAIN_MS);
	audit_end(&run->audit, AUDIT_PROXY);
	docker_attached_clear(&run->proxy);
}

/* ---- readiness ---- */

/* "  0: 00000000:238B 00000000:0000 0A …": proc(5), /proc/net/tcp; 0A is LISTEN. */
static bool has_listener(const char *table, unsigned port)
{
	char wanted[8];

	snprintf(wanted, sizeof(wanted), ":%04X ", port);
	for (const char *line = table; line && *line; line = strchr(line, '\n')) {
		const char *local, *state;

		line += *line == '\n';
		local = strstr(line, wanted);
		state = local ? strchr(local + strlen(wanted), ' ') : NULL;
		if (local && state && strncmp(state, " 0A ", 4) == 0 &&
		    local < line + strcspn(line, "\n"))
			return true;
	}
	return false;
}

/* An image that does not say when it is ready is looked into, by its own cat(1); one that has none counts
 * as ready as soon as it runs. */
static int await_port(struct docker_run *run, int64_t deadline, struct err *err)
{
	static const bool never = false;
	const struct plan *plan = run->plan;

	for (;;) {
		cleanup_with(buf_clear) struct buf table = { 0 };
		struct err said;
		int rc = docker_session_wait(run, &never, PORT_LOOK_MS, err);

		if (rc != -ETIME)
			return rc;
		rc = DOCKER_CALL("proxy ready", &table, &said, "exec", plan->docker.proxy_name,
				 "cat", "/proc/net/tcp", "/proc/net/tcp6");
		if (has_listener(table.data, plan->manifest.proxy_port))
			return 0;
		if (rc < 0 && strstr(said.text, "executable file not found"))
			return strlist_add(&run->warnings,
					   "the proxy's image has no cat(1), so nothing could tell "
					   "when it was ready");
		if (clock_now_ms() >= deadline)
			return -ETIME;
	}
}

static int await_proxy(struct docker_run *run, struct err *err)
{
	unsigned timeout_ms = run->plan->manifest.start_timeout_ms;
	char tail[2048];
	int rc = run->plan->docker.proxy_image.knows_ready
			 ? docker_session_wait(run, &run->proxy_ready, (int)timeout_ms, err)
			 : await_port(run, clock_now_ms() + timeout_ms, err);

	timing_mark(&run->timings, TIMING_PROXY_READY);
	if (rc != -ETIME)
		return rc;
	tail_text(&run->tail, tail, sizeof(tail));
	return err_set(err, ETIME,
		       "proxy ready: it was not within %u ms (proxy.start_timeout)%s%.700s",
		       timeout_ms, tail[0] ? "; its last lines: " : "; it printed nothing", tail);
}

/* ---- the agent ---- */

/* Docker Desktop, and a daemon in a machine of its own, see only some of the host's folders. */
static int explain_mount(const struct docker_run *run, int rc, struct err *err)
{
	struct err said = *err;

	if (rc != -EREMOTEIO ||
	    (!strcasestr(said.text, "bind source path does not exist") &&
	     !strcasestr(said.text, "mounts denied") && !strcasestr(said.text, "not shared")))
		return rc;
	return err_set(
		err, ENOENT,
		"agent: the Docker daemon does not see a folder of this host (work folder "
		"%s, bottle's own %s): Docker Desktop shares only those of its settings. %.500s",
		run->plan->work_folder, run->plan->docker.folder, said.text);
}

/* Docker answers for the proxy's name itself. Podman's resolver is not on that network. */
static int find_proxy(const struct docker_run *run, char **ret_option, struct err *err)
{
	const struct docker_plan *d = &run->plan->docker;
	cleanup_with(buf_clear) struct buf out = { 0 };
	cleanup_free char *format = NULL;
	struct address address;

	if (!d->engine.is_podman)
		return 0;
	format = str_printf("{{(index .NetworkSettings.Networks \"%s\").IPAddress}}",
			    d->internal_network);
	if (!format)
		return err_sys(err, ENOMEM, "agent");
	TRY(DOCKER_CALL("agent", &out, err, "inspect", "--format", format, d->proxy_name));
	if (out.data)
		out.data[strcspn(out.data, "\n")] = '\0';
	if (!out.data || !address_parse(out.data, &address))
		return err_set(err, EPROTO, "agent: '%s inspect' printed no address of the proxy's",
			       docker_cli_name());
	*ret_option = str_printf("--add-host=egress-proxy:%s", out.data);
	return *ret_option ? 0 : err_sys(err, ENOMEM, "agent");
}

static int create_agent(struct docker_run *run, struct err *err)
{
	const struct docker_plan *d = &run->plan->docker;
	const struct strlist *lines = &d->agent_env_lines;
	cleanup_with(docker_tar_clear) struct docker_tar input = { 0 };
	struct docker_call call = { .step = "agent",
				    .env = (const char *const *)d->agent_env.items,
				    .input = lines->len ? &input : NULL };
	cleanup_free char *host = NULL;

	for (size_t i = 0; i < lines->len; i++)
		if (docker_tar_text(&input, lines->items[i]) < 0)
			return err_sys(err, ENOMEM, "agent");
	TRY(find_proxy(run, &host, err));
	return explain_mount(run,
			     create(run, call, &d->agent_create, host, run->agent_id,
				    &run->plan->agent.argv, err),
			     err);
}

static int start_agent(struct docker_run *run, struct err *err)
{
	TRY(attach("agent start", run->plan->docker.agent_name, DOCKER_CALLERS, run->plan->no_stdin,
		   &run->agent, err));
	run->agent_started = true;
	timing_mark(&run->timings, TIMING_AGENT_EXEC);
	return 0;
}

/* The CLI lets go of the terminal when its container is gone; SIGKILL would leave it raw. */
static void stop_agent(struct docker_run *run)
{
	struct err ignored;

	run->ending = true;
	if (run->agent.pid > 0 && !run->agent_ended) {
		(void)!DOCKER_CALL("agent stop", NULL, &ignored, "kill",
				   run->plan->docker.agent_name);
		(void)!docker_session_wait(run, &run->agent_ended, AGENT_END_MS, &ignored);
	}
	docker_attached_clear(&run->agent);
}

/* ---- the list ---- */

/* What stays although it was asked to go is told with the command that removes it by hand. */
static void take_away(struct docker_run *run, enum docker_kind kind, const char *name)
{
	struct err err;

	if (docker_remove(kind, name, &err) < 0)
		(void)!docker_remove_warn(kind, name, &err, &run->warnings);
}

static void remove_agent(struct docker_run *run)
{
	take_away(run, DOCKER_CONTAINER, run->plan->docker.agent_name);
}

static void remove_proxy(struct docker_run *run)
{
	take_away(run, DOCKER_CONTAINER, run->plan->docker.proxy_name);
}

static void remove_internal(struct docker_run *run)
{
	take_away(run, DOCKER_NETWORK, run->plan->docker.internal_network);
}

static void remove_egress(struct docker_run *run)
{
	take_away(run, DOCKER_NETWORK, run->plan->docker.egress_network);
}

/* `undo` NULL: goes with an earlier one. */
static const struct step {
	const char *name;
	int (*make)(struct docker_run *run, struct err *err);
	void (*undo)(struct docker_run *run);
} steps[] = {
	{ "tokens", take_tokens, NULL },
	{ "image", make_proxy_image, NULL },
	{ "agent image", make_agent_image, NULL },
	{ "records", open_records, close_records },
	{ "files", make_files, NULL },
	{ "internal network", make_internal, remove_internal },
	{ "egress network", make_egress, remove_egress },
	{ "proxy", create_proxy, remove_proxy },
	{ "secrets", give_secrets, NULL },
	{ "proxy start", start_proxy, stop_proxy },
	{ "proxy ready", await_proxy, NULL },
	/* It listens by now, on the internal network alone: on the other the host's users would reach it. */
	{ "egress connection", connect_proxy, NULL },
	{ "agent", create_agent, remove_agent },
	{ "agent start", start_agent, stop_agent },
};
enum { STEPS = sizeof(steps) / sizeof(steps[0]) };

/* A signal between two steps ends the run as one within a step does. */
static int do_steps(struct docker_run *run, size_t *ret_begun, struct err *err)
{
	for (size_t i = 0; i < STEPS; i++) {
		int number;

		*ret_begun = i + 1;
		TRY(steps[i].make(run, err));
		number = docker_cli_signalled();
		if (number && !run->agent_started) {
			run->signalled = number;
			return err_set(err, EINTR, "ended by signal %d", number);
		}
		if (number)
			docker_cli_note_signal(number);
	}
	return 0;
}

static void undo_steps(struct docker_run *run, size_t begun)
{
	while (begun-- > 0)
		if (steps[begun].undo)
			steps[begun].undo(run);
}

/* ---- the end ---- */

struct ending {
	bool started, runs;
	int status;
};

/* What the daemon knows of how the agent ended. */
static int ask_ending(const struct docker_run *run, struct ending *ret_ending, struct err *err)
{
	cleanup_with(buf_clear) struct buf out = { 0 };
	char started[8], runs[8];

	TRY(DOCKER_CALL("agent end", &out, err, "inspect", "--format",
			"{{ne (printf \"%.4s\" .State.StartedAt) \"0001\"}} {{.State.Running}} "
			"{{.State.ExitCode}}",
			run->plan->docker.agent_name));
	if (!out.data || sscanf(out.data, "%7s %7s %d", started, runs, &ret_ending->status) != 3)
		return err_set(err, EPROTO, "agent end: 'inspect' printed no state");
	ret_ending->started = strcmp(started, "true") == 0;
	ret_ending->runs = strcmp(runs, "true") == 0;
	return 0;
}

static int await_agent(struct docker_run *run, int *ret_status, struct err *err)
{
	struct ending ending = { 0 };
	int cli;

	TRY(docker_session_wait(run, &run->agent_ended, -1, err));
	timing_mark(&run->timings, TIMING_AGENT_EXIT);
	cli = WIFEXITED(run->agent.status) ? WEXITSTATUS(run->agent.status)
					   : 128 + WTERMSIG(run->agent.status);
	TRY(ask_ending(run, &ending, err));
	if (!ending.started && ending.status != EXIT_NOT_FOUND &&
	    ending.status != EXIT_NOT_EXECUTABLE)
		return err_set(err, ECHILD, "agent start: '%s start' ended with status %d",
			       docker_cli_name(), cli);
	if (ending.runs && !run->asked_by)
		return err_set(err, ECHILD,
			       "agent: '%s start' lost its connection (status %d) while the agent "
			       "ran",
			       docker_cli_name(), cli);
	*ret_status = ending.runs ? 128 + run->asked_by : ending.status;
	return 0;
}

static int status_of(const struct docker_run *run, int agent_status)
{
	if (agent_status == 0 && run->plan->fail_on_denied &&
	    (run->audit.denied || run->audit.lost))
		return EXIT_DENIED;
	return agent_status;
}

static void print_all(const struct docker_run *run, const struct strlist *warnings)
{
	for (size_t i = 0; i < warnings->len && !run->plan->quiet; i++)
		log_warning("%s", warnings->items[i]);
}

static int end(struct docker_run *run, int rc, const struct err *err, int agent_status)
{
	struct err unwritten = { "" };

	timing_mark(&run->timings, TIMING_ENDED);
	print_all(run, &run->warnings);
	if (run->plan->timings)
		timing_print(&run->timings, stderr);
	if (run->agent_started)
		report_end(run->plan, &run->audit, false);
	if (run->signalled)
		return 128 + run->signalled;
	if (rc == 0 && run->audit.write_errno)
		rc = audit_write_failed(&run->audit, &unwritten);
	if (rc == 0)
		return status_of(run, agent_status);
	if (unwritten.text[0])
		err = &unwritten;
	log_error("%s", err->text[0] ? err->text : strerror(-rc));
	return EXIT_BOTTLE_FAILED;
}

static void run_init(struct docker_run *run, const struct plan *plan)
{
	run->plan = plan;
	state_init(&run->state);
	state_run_init(&run->folder);
	audit_init(&run->audit);
	docker_attached_init(&run->proxy);
	docker_attached_init(&run->agent);
}

static void run_free(struct docker_run **run)
{
	if (!*run)
		return;
	docker_attached_clear(&(*run)->agent);
	docker_attached_clear(&(*run)->proxy);
	docker_tar_clear(&(*run)->tar);
	material_clear(&(*run)->material);
	secrets_wipe(&(*run)->secrets);
	audit_clear(&(*run)->audit);
	state_clear(&(*run)->state);
	strlist_clear(&(*run)->warnings);
	free((*run)->proxy_id);
	free((*run)->agent_id);
	free(*run);
	*run = NULL;
}

int docker_run_plan(const struct plan *plan, struct timings *timings)
{
	cleanup_with(run_free) struct docker_run *run = calloc(1, sizeof(*run));
	struct err err = { "" };
	size_t begun = 0;
	int agent_status = 0, rc;

	if (!run) {
		log_error("out of memory");
		return EXIT_BOTTLE_FAILED;
	}
	run_init(run, plan);
	run->timings = *timings;
	print_all(run, &plan->warnings);
	rc = do_steps(run, &begun, &err);
	if (rc == 0)
		rc = await_agent(run, &agent_status, &err);
	undo_steps(run, begun);
	return end(run, rc, &err, agent_status);
}
