/* SPDX-License-Identifier: Apache-2.0
 * The end of a run; see finish.h. Runs in: launcher. */
#include "runtime/finish.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "runtime/commands.h"
#include "runtime/plan_agent.h"
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

	if (strchr(command, '/') && !is_file(command, F_OK))
		return NULL;
	if (strchr(command, '/')) /* an absolute name is shown as such, though it be a link */
		return command[0] == '/' ? strdup(command) : realpath(command, NULL);
	for (size_t i = 0; i < agent->env.len; i++)
		if (str_starts(agent->env.items[i], "PATH="))
			path = agent->env.items[i] + 5;
	dirs = strdup(path ? path : "");
	for (char *dir = dirs ? strtok_r(dirs, ":", &save) : NULL; dir;
	     dir = strtok_r(NULL, ":", &save)) {
		cleanup_free char *candidate = str_printf("%s/%s", dir, command);

		if (candidate && is_file(candidate, X_OK))
			return *dir == '/' ? take_ptr(candidate) : realpath(candidate, NULL);
	}
	return NULL;
}

static bool is_shown(const struct plan *plan, const char *path)
{
	for (size_t i = 0; i < plan->agent.mounts.len; i++) {
		const struct mount_op *op = &plan->agent.mounts.ops[i];

		if ((op->kind == MOUNT_BIND || op->kind == MOUNT_SYMLINK) &&
		    plan_path_is_below(path, op->at))
			return true;
	}
	return false;
}

/* What to name so that `path` is shown: its folder, since a program has others beside it; the file alone
 * where that is a home or a folder of many programs. */
static char *to_show(const struct plan *plan, const char *path)
{
	const char *slash = strrchr(path, '/');
	cleanup_free char *folder = slash ? strndup(path, (size_t)(slash - path)) : NULL;
	char real[PATH_MAX];

	if (folder && *folder && plan_path_resolve(folder, NULL, NULL, real) == 0 &&
	    plan_binds_may_be_given(plan, real))
		return take_ptr(folder);
	return strdup(path);
}

/* The found name may be a link, whose own place and whose target have both to be shown. */
static int list_to_show(const struct plan *plan, const char *found, const char *real,
			struct strlist *ret_paths)
{
	cleanup_free char *name = to_show(plan, found);
	cleanup_free char *target = to_show(plan, real);
	bool is_name_wanted = !is_shown(plan, found);

	if (!name || !target)
		return -ENOMEM;
	if (is_name_wanted)
		TRY(strlist_add(ret_paths, name));
	/* A link that is named shows the file that it leads to: that a second time would be refused. */
	if (is_shown(plan, real) ||
	    (is_name_wanted && (plan_path_is_below(target, name) ||
				(strcmp(name, found) == 0 && strcmp(target, real) == 0))))
		return 0;
	return strlist_add(ret_paths, target);
}

static bool is_plain_word(const char *text)
{
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr("/._-+,:@%", *text))
			return false;
	return true;
}

static void say_how_to_show(const struct plan *plan, const char *found, const char *real)
{
	cleanup_with(strlist_clear) struct strlist paths = { 0 };
	cleanup_with(buf_clear) struct buf options = { 0 }, key = { 0 };

	if (list_to_show(plan, found, real, &paths) < 0)
		return;
	for (size_t i = 0; i < paths.len; i++) {
		buf_puts(&options, " --read-only ");
		if (is_plain_word(paths.items[i]))
			buf_puts(&options, paths.items[i]);
		else
			buf_quote(&options, paths.items[i]);
		buf_printf(&key, "%s\"%s\"", i ? ", " : "", paths.items[i]);
	}
	if (!options.failed && !key.failed && paths.len)
		log_error("%s: not found inside; on this host it is %s. To show it:%s (in the "
			  "manifest: agent.read_only: [%s])",
			  plan->agent.argv.items[0], found, options.data, key.data);
}

void finish_explain_exec(const struct session *s)
{
	const char *command = s->plan->agent.argv.items[0];
	int code = s->exec_errno[ROLE_AGENT];
	cleanup_free char *found = code == ENOENT ? find_on_host(&s->plan->agent) : NULL;
	cleanup_free char *real = found ? realpath(found, NULL) : NULL;

	if (code != ENOENT)
		log_error("%s: cannot be executed inside: %s", command, strerror(code));
	else if (!found || !real)
		log_error("%s: not found, neither inside nor on this host's PATH", command);
	else if (is_shown(s->plan, found) && is_shown(s->plan, real))
		log_error("%s: %s is there, but the interpreter that it names is not found inside",
			  command, found);
	else
		say_how_to_show(s->plan, found, real);
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
