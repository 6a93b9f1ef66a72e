/* SPDX-License-Identifier: Apache-2.0
 * The end of a run; see finish.h. Runs in: launcher. */
#include "runtime/finish.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "runtime/commands.h"
#include "runtime/report.h"
#include "runtime/wire.h"

int finish_status(const struct session *s)
{
	int status = s->status[ROLE_AGENT];

	if (s->exec_errno[ROLE_AGENT])
		return s->exec_errno[ROLE_AGENT] == ENOENT || s->exec_errno[ROLE_AGENT] == ENOTDIR
			       ? EXIT_NOT_FOUND
			       : EXIT_NOT_EXECUTABLE;
	if (WIFSIGNALED(status))
		return 128 + WTERMSIG(status);
	if (finish_output_counts(s))
		return EXIT_BOTTLE_FAILED;
	if (WEXITSTATUS(status) == 0 && s->audit.write_errno)
		return EXIT_BOTTLE_FAILED;
	if (WEXITSTATUS(status) == 0 && s->plan->fail_on_denied &&
	    (s->audit.denied || s->audit.lost))
		return EXIT_DENIED;
	return WEXITSTATUS(status);
}

/* A script that goes on as if all had been written would be misled; where the command failed it will not. */
bool finish_output_counts(const struct session *s)
{
	return s->output_lost && s->status[ROLE_AGENT] == 0 && !s->exec_errno[ROLE_AGENT];
}

/* Which of the host's refusals a step stands for. */
static enum host_step host_step_of(const struct session *s)
{
	static const struct {
		const char *step;
		enum host_step host_step;
	} table[] = {
		{ "ids", HOST_STEP_IDMAP },
		{ "network", HOST_STEP_NETLINK },
		{ "namespaces", HOST_STEP_NAMESPACES },
		{ "proc", HOST_STEP_PROC },
		{ "proxy-root", HOST_STEP_MOUNT },
		{ "agent-root", HOST_STEP_MOUNT },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strcmp(s->failed_step, table[i].step) == 0)
			return table[i].host_step;
	return HOST_STEP_COUNT;
}

int finish_failed(const struct session *s, int rc, const struct err *err)
{
	struct err full = *err;
	enum host_step host_step = host_step_of(s);

	if (s->signalled && !s->failure)
		return 128 + s->signalled;
	/* Building a root is more than mounts: it opens what is shown and watches what is guarded, and only
	 * its own sentence says what, where and what to do. */
	if (s->failure && host_step == HOST_STEP_MOUNT && full.text[0])
		host_explain_more(host_step, -rc, &full);
	else if (s->failure && host_step != HOST_STEP_COUNT)
		(void)host_explain(host_step, -rc, &full);
	log_error("%s", full.text[0] ? full.text : strerror(-rc));
	return EXIT_BOTTLE_FAILED;
}

/* access(2) alone takes a folder for an executable. */
static bool is_file(const char *path, int mode)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, mode) == 0;
}

/* Where the host has it, by the PATH that the agent was given; NULL when nowhere. */
static char *find_on_host(const struct plan_role *agent)
{
	const char *command = agent->argv.items[0];
	const char *path = NULL;
	char *save = NULL;
	cleanup_free char *dirs = NULL;

	if (strchr(command, '/'))
		return is_file(command, F_OK) ? realpath(command, NULL) : NULL;
	for (size_t i = 0; i < agent->env.len; i++)
		if (str_starts(agent->env.items[i], "PATH="))
			path = agent->env.items[i] + 5;
	dirs = strdup(path ? path : "");
	for (char *dir = dirs ? strtok_r(dirs, ":", &save) : NULL; dir;
	     dir = strtok_r(NULL, ":", &save)) {
		cleanup_free char *candidate = str_printf("%s/%s", dir, command);

		if (candidate && is_file(candidate, X_OK))
			return take_ptr(candidate);
	}
	return NULL;
}

static bool is_shown(const struct plan *plan, const char *path)
{
	for (size_t i = 0; i < plan->agent.mounts.len; i++) {
		const struct mount_op *op = &plan->agent.mounts.ops[i];
		size_t len = op->at ? strlen(op->at) : 0;

		if (op->kind == MOUNT_BIND && strncmp(path, op->at, len) == 0 &&
		    (path[len] == '/' || path[len] == '\0'))
			return true;
	}
	return false;
}

void finish_explain_exec(const struct session *s)
{
	const char *command = s->plan->agent.argv.items[0];
	int code = s->exec_errno[ROLE_AGENT];
	cleanup_free char *found = code == ENOENT ? find_on_host(&s->plan->agent) : NULL;
	cleanup_free char *real = found ? realpath(found, NULL) : NULL;
	char *slash;

	if (code != ENOENT) {
		log_error("%s: cannot be executed inside: %s", command, strerror(code));
		return;
	}
	if (!found || !real) {
		log_error("%s: not found, neither inside nor on this host's PATH", command);
		return;
	}
	if (is_shown(s->plan, found) && is_shown(s->plan, real)) {
		log_error("%s: %s is there, but the interpreter that it names is not found inside",
			  command, found);
		return;
	}
	slash = strrchr(real, '/');
	*slash = '\0';
	log_error("%s: not found inside; on this host it is %s. To show it: --read-only %s (in the "
		  "manifest: agent.read_only: [\"%s\"])",
		  command, found, *real ? real : "/", *real ? real : "/");
}

void finish_report(const struct session *s)
{
	struct err err;

	report_end(s->plan, &s->audit, s->failure && strcmp(s->failed_step, WIRE_STEP_GUARD) == 0);
	if (s->audit.write_errno && !s->failure) { /* the last records came when all had ended */
		(void)!audit_write_failed(&s->audit, &err);
		log_error("%s", err.text);
	}
}
