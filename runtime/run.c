/* SPDX-License-Identifier: Apache-2.0
 *
 * `bottle run`: one run, top to bottom. Runs in: launcher.
 *
 * Nothing is decided here (the plan did) and nothing is known here (each module does its part); this
 * is the order, and the order is what makes it safe:
 *
 *   tokens leave the environment before anything is forked; gate, relays and init are forked before
 *   there is a key; the proxy gets key and tokens only in a root that is finished; the agent is let
 *   go only when every step and every proof before it held, and the proxy is ready or its listener,
 *   made for it, is.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "runtime/caps.h"
#include "runtime/commands.h"
#include "runtime/fill.h"
#include "runtime/finish.h"
#include "runtime/landlock.h"
#include "runtime/manifest_load.h"
#include "runtime/plan.h"
#include "runtime/run.h"
#include "runtime/seccomp.h"
#include "runtime/timing.h"
#include "runtime/title.h"
#include "runtime/token_check.h"

enum { START_STEP_TIMEOUT_MS = 30000, PROXY_END_TIMEOUT_MS = 1000 };

/* Tokens first: from here on no child and no core dump can have them. */
static int take_secrets(struct run *run, struct err *err)
{
	TRY(secrets_no_dump(err));
	TRY(token_check_take(run->session.plan, &run->session.secrets, err));
	if (run->session.secrets.also_in[0])
		log_warning("the variable %s held a token's value too and was emptied",
			    run->session.secrets.also_in);
	if (!run->session.secrets.locked)
		log_warning("the tokens could not be locked in memory (RLIMIT_MEMLOCK): they may "
			    "reach swap");
	return 0;
}

/* The folders of this run: its audit log and its lock. */
static int open_records(struct run *run, struct err *err)
{
	const struct plan *plan = run->session.plan;

	TRY(state_open(&run->state, err));
	TRY(audit_open(run->state.state_fd, plan->name, plan->run_id, &run->session.audit, err));
	run->session.audit.secrets = &run->session.secrets;
	return state_run_begin(&run->state, plan->name, plan->run_id, &run->folder, err);
}

static int confine_relay(struct err *err)
{
	int abi;

	TRY(caps_drop_all(err)); /* with it no_new_privs, which the filter needs */
	TRY(caps_prove_none(err));
	title_set("bottle: relay");
	TRY(landlock_gate(&abi, err));
	TRY(seccomp_load(SECCOMP_RELAY, err));
	return seccomp_prove(SECCOMP_RELAY, err);
}

/* Relays, init, gate: all forks of a launcher that has no key yet. */
static int fork_processes(struct run *run, struct err *err)
{
	struct session *s = &run->session;

	TRY(session_take_signals(s, err));
	TRY(limits_raise_own(err));
	if (s->plan->no_stdin)
		TRY(stdio_leave_input(err));
	TRY(stdio_inspect(&s->stdio, err));
	TRY(relay_start(&s->stdio, confine_relay, &s->relay, err));
	TRY(tty_start(&s->stdio, confine_relay, &s->tty, err));
	TRY(limits_cgroup_create(&s->plan->limits, s->plan->run_id, &run->cgroup_fd, err));
	TRY(session_start_init(s, err)); /* first: everything waits for its namespaces */
	TRY(session_start_gate(s, err));
	return stdio_release(err);
}

/* Where init cannot do it for itself: the subordinate ids (the last fork before there is a key), the
 * cgroup. */
static int serve_ids(struct run *run, struct err *err)
{
	struct session *s = &run->session;
	const struct plan *plan = s->plan;

	if (!plan->waits_for_launcher)
		return 0;
	TRY(session_wait(s, FACT_MAPS_WANTED, START_STEP_TIMEOUT_MS, err));
	TRY(limits_cgroup_place(run->cgroup_fd, s->init_pid, err));
	if (plan->idmap == IDMAP_SUBID)
		TRY(idmap_write_subid(s->init_pid, plan->host.uid, plan->host.gid,
				      &plan->subids.uids, &plan->subids.gids, err));
	return wire_send(s->launch.init_ctl[0], WIRE_MAPS_DONE, 0, NULL, 0);
}

static int serve_gate(struct run *run, struct err *err)
{
	struct session *s = &run->session;

	TRY(session_wait(s, FACT_LISTENERS, START_STEP_TIMEOUT_MS, err));
	TRY(gate_send_sockets(s->gate_ctl[0], s->listener_fds[0], s->listener_fds + 1,
			      s->listener_count - 1));
	for (size_t i = 0; i < s->listener_count; i++)
		close(s->listener_fds[i]);
	s->listener_count = 0;
	timing_mark(&run->timings, TIMING_LISTENING);
	return 0;
}

/* From here on secrets are inside: in the proxy's root and its process, nowhere else. */
static int start_proxy(struct run *run, const struct material *material, struct err *err)
{
	struct session *s = &run->session;

	TRY(session_wait(s, FACT_PROXY_FILES, START_STEP_TIMEOUT_MS, err));
	TRY(material_fill(material, s, ROLE_PROXY, err));
	TRY(session_wait(s, FACT_PROXY_BUILT, START_STEP_TIMEOUT_MS, err));
	TRY(material_send_tokens(s, err));
	if (!s->plan->image.knows_ready_fd)
		TRY(wire_send(s->launch.init_ctl[0], WIRE_WATCH_PORT, 0, NULL, 0));
	timing_mark(&run->timings, TIMING_PROXY_SPAWN);
	return 0;
}

static int await_proxy(struct run *run, struct err *err)
{
	struct session *s = &run->session;
	unsigned timeout_ms = s->plan->manifest.start_timeout_ms;
	char tail[2048];
	int rc = session_wait(s, FACT_PROXY_READY, (int)timeout_ms, err);

	timing_mark(&run->timings, TIMING_PROXY_READY);
	if (rc != -ETIME)
		return rc;
	tail_text(&s->tail, tail, sizeof(tail));
	return err_set(err, ETIME,
		       "the proxy was not ready within %u ms (proxy.start_timeout)%s%.700s",
		       timeout_ms, tail[0] ? "; its last lines: " : "; it printed nothing", tail);
}

/* A listener that was handed to the proxy takes connections from the start: the first ones wait in its
 * backlog until the proxy accepts them, or are reset when it ends without. */
static bool proxy_can_be_reached(const struct plan *plan)
{
	return plan->proxy_fds.listen >= 0;
}

/* The agent has been built, attacked and found tight while the proxy booted; now it may go. */
static int start_agent(struct run *run, struct err *err)
{
	struct session *s = &run->session;

	TRY(session_wait(s, FACT_AGENT_BUILT, START_STEP_TIMEOUT_MS, err));
	timing_mark(&run->timings, TIMING_AGENT_BUILT);
	if (!proxy_can_be_reached(s->plan))
		TRY(await_proxy(run, err));
	if (s->stdio.has_tty) {
		TRY(session_wait(s, FACT_PTY, START_STEP_TIMEOUT_MS, err));
		TRY(tty_attach(&s->tty, s->pty_fd, err));
		fd_close(&s->pty_fd);
	}
	TRY(wire_send(s->launch.go[ROLE_AGENT][0], WIRE_GO, 0, NULL, 0));
	return 0;
}

static int await_agent(struct run *run, struct err *err)
{
	struct session *s = &run->session;

	while (!(s->facts & FACT_AGENT_STARTED) && !s->exec_errno[ROLE_AGENT])
		TRY(session_wait_once(s, err));
	timing_mark(&run->timings, TIMING_AGENT_EXEC);
	/* Also where the agent has ended meanwhile: without a proxy how it ended means nothing. */
	TRY(await_proxy(run, err));
	TRY(session_wait(s, FACT_AGENT_EXITED, -1, err));
	timing_mark(&run->timings, TIMING_AGENT_EXIT);
	return 0;
}

/* What killed launchers left behind. */
static void sweep(struct run *run)
{
	struct err err;

	state_sweep(&run->state, &run->warnings);
	if (limits_cgroup_sweep(&run->session.plan->host.cgroup, &err) < 0)
		(void)!strlist_add(&run->warnings, err.text);
}

static int start_and_wait(struct run *run, struct err *err)
{
	struct session *s = &run->session;
	cleanup_with(material_clear) struct material material = { 0 };

	TRY(take_secrets(run, err));
	TRY(open_records(run, err));
	TRY(fork_processes(run, err));
	timing_mark(&run->timings, TIMING_FORKED);
	TRY(serve_ids(run, err));
	TRY(material_make(&material, s->plan, &s->secrets, err));
	timing_mark(&run->timings, TIMING_MINTED);
	TRY(serve_gate(run, err));
	TRY(start_proxy(run, &material, err));
	TRY(session_wait(s, FACT_AGENT_FILES, START_STEP_TIMEOUT_MS, err));
	TRY(material_fill(&material, s, ROLE_AGENT, err));
	TRY(relay_ready(&s->relay, err));
	TRY(tty_ready(&s->tty, err));
	sweep(run); /* while the proxy boots */
	TRY(start_agent(run, err));
	return await_agent(run, err);
}

/* The proxy may still have audit lines to write; then everything goes with init. */
static int end(struct run *run, struct err *err)
{
	struct session *s = &run->session;
	int rc;

	s->ending = true;
	if (s->audit_closed_early && !(s->facts & FACT_PROXY_EXITED) && !s->failure)
		s->audit.lost++;
	if (s->launch.ctl[ROLE_PROXY][0] >= 0 && (s->facts & FACT_PROXY_READY)) {
		(void)!wire_send(s->launch.ctl[ROLE_PROXY][0], WIRE_SIGNAL, SIGTERM, NULL, 0);
		(void)!session_wait(s, FACT_PROXY_EXITED | FACT_AUDIT_CLOSED, PROXY_END_TIMEOUT_MS,
				    err);
	}
	session_end_processes(s);
	rc = session_finish_output(s, err);
	timing_mark(&run->timings, TIMING_ENDED);
	return rc;
}

static void print_warnings(const struct run *run, const struct strlist *warnings)
{
	for (size_t i = 0; i < warnings->len && !run->session.plan->quiet; i++)
		log_warning("%s", warnings->items[i]);
}

static void run_clear(struct run *run)
{
	struct err err;

	session_clear(&run->session);
	if (limits_cgroup_remove(&run->session.plan->limits, run->session.plan->run_id, &err) < 0)
		log_warning("%s", err.text);
	fd_close(&run->cgroup_fd);
	state_run_end(&run->state, &run->folder, &run->warnings);
	print_warnings(run, &run->warnings);
	strlist_clear(&run->warnings);
	state_clear(&run->state);
}

int run_plan(const struct plan *plan, struct timings *timings)
{
	cleanup_with(run_clear) struct run run = { .cgroup_fd = -1 };
	struct err err = { 0 }, end_err = { 0 };
	int rc;

	session_init(&run.session, plan);
	state_init(&run.state);
	state_run_init(&run.folder);
	run.timings = *timings;
	print_warnings(&run, &plan->warnings);
	rc = start_and_wait(&run, &err);
	if (end(&run, &end_err) < 0 && end_err.text[0])
		(rc == 0 && finish_output_counts(&run.session) ? log_error
							       : log_warning)("%s", end_err.text);
	if (plan->timings)
		timing_print(&run.timings, stderr);
	if (rc == 0 && run.session.exec_errno[ROLE_AGENT])
		finish_explain_exec(&run.session);
	if (run.session.facts & FACT_AGENT_STARTED) /* also when the run then failed */
		finish_report(&run.session);
	if (rc < 0)
		return finish_failed(&run.session, rc, &err);
	return finish_status(&run.session);
}
