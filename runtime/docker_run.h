/* SPDX-License-Identifier: Apache-2.0
 *
 * One run of the Docker backend: its state, and the parts that the steps of docker_run.c are made of.
 *
 * Runs in: the launcher. Holds: the tokens and the CA's key (in `secrets`), the stream of the proxy.
 */
#ifndef RUNTIME_DOCKER_RUN_H
#define RUNTIME_DOCKER_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/audit.h"
#include "runtime/docker_cli.h"
#include "runtime/docker_tar.h"
#include "runtime/material.h"
#include "runtime/plan.h"
#include "runtime/secrets.h"
#include "runtime/state.h"
#include "runtime/tail.h"
#include "runtime/timing.h"

struct docker_run {
	const struct plan *plan;
	struct secrets secrets;
	struct material material;
	struct state state;
	struct state_run folder;
	struct audit audit;
	struct timings timings;
	struct strlist warnings;

	char *proxy_id, *agent_id; /* of the images */
	struct docker_attached proxy, agent;
	struct docker_tar tar; /* the secrets, on their way to the proxy */
	size_t tar_sent;

	char line[AUDIT_LINE_MAX]; /* of the proxy's standard output, up to its newline */
	size_t line_len;
	bool line_is_passed_on; /* it was too long: the rest goes to the audit log as it comes */
	struct tail tail;	/* the last that the proxy said otherwise */

	bool proxy_ready, proxy_ended, agent_started, agent_ended;
	bool ending;	      /* the proxy may go now without that being a failure */
	int signalled;	      /* the signal that ended the run */
	int asked_by;	      /* the first that asked the agent to end */
	int64_t grace_end_ms; /* until when the agent may take its time over it; 0: not asked */
};

/* docker_session.c: the event loop. Returns when `*done`, or the failure; -ETIME at the end of timeout_ms
 * (-1: none). */
int docker_session_wait(struct docker_run *run, const bool *done, int timeout_ms,
			struct err *err) MUST_CHECK;

/* What the proxy still says, until its stream ends or timeout_ms is over. */
void docker_session_drain(struct docker_run *run, int timeout_ms);

/* docker_files.c: what the containers are shown of this run's folder. */
int docker_files_write(struct docker_run *run, struct err *err) MUST_CHECK;

/* docker_secrets.c: the stream of an image with bottle.secrets=stdin, in run->tar; and for any other
 * image, `docker cp` into the container, checked. */
int docker_secrets_stream(struct docker_run *run, struct err *err) MUST_CHECK;
int docker_secrets_copy(struct docker_run *run, struct err *err) MUST_CHECK;

/* EGRESS_PROXY_TOKEN_<i>=value for the CLI's environment: a NULL-terminated list of strings in the locked
 * mapping. The list (not what it points to) belongs to the caller. */
int docker_secrets_env(struct docker_run *run, const char ***ret_env, struct err *err) MUST_CHECK;

/* docker_remove.c: removes a container or network. Missing is success. */
enum docker_kind { DOCKER_CONTAINER, DOCKER_NETWORK };
int docker_remove(enum docker_kind kind, const char *name, struct err *err) MUST_CHECK;
/* The command that would remove it by hand, for a warning. */
int docker_remove_warn(enum docker_kind kind, const char *name, const struct err *why,
		       struct strlist *warnings) MUST_CHECK;

/* docker_run.c and docker_clean.c: parts of the backend's table. */
int docker_run_plan(const struct plan *plan, struct timings *timings);
struct cleaned;
int docker_clean(const char *name, struct cleaned *cleaned, struct err *err) MUST_CHECK;

#endif
