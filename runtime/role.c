/* SPDX-License-Identifier: Apache-2.0
 *
 * The last steps before a program: what the reaper's child does to become the proxy or the agent.
 *
 * Runs in: a reaper's child. Power: falls step by step to none, each loss followed by a proof:
 *
 *   descriptors → own user namespace (mapped while all capabilities are held) → limits → no
 *   capabilities → Landlock → seccomp → "built" → wait for the launcher's go → execve
 *
 * A proxy that asks the gate for sockets gets a filter of its own, behind which they are harmless.
 *
 * Waiting comes last, so between the go and the program's first instruction stands one execve. The
 * proxy's tokens arrive with the go, as its environment, and in no earlier memory of this bottle.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "netns/netns.h"
#include "runtime/caps.h"
#include "runtime/handed.h"
#include "runtime/landlock.h"
#include "runtime/launch.h"
#include "runtime/seccomp.h"
#include "runtime/wire.h"

extern char **environ;

enum { WRITABLE_MAX = 128 };

const int launch_ignorable[LAUNCH_IGNORABLE_COUNT] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };

static void reset_signals(const struct launch *launch, enum role role)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	for (size_t i = 0; role == ROLE_AGENT && i < LAUNCH_IGNORABLE_COUNT; i++)
		if (launch->ignored[i])
			signal(launch_ignorable[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int open_writable(const struct strlist *paths, int *ret_fds, size_t max, size_t *ret_count,
			 struct err *err)
{
	for (size_t i = 0; i < paths->len; i++) {
		if (*ret_count == max)
			return err_set(err, E2BIG, "more than %zu writable paths", max);
		ret_fds[*ret_count] = open(paths->items[i], O_PATH | O_CLOEXEC);
		if (ret_fds[*ret_count] < 0)
			return err_sys(err, errno, "open %s inside", paths->items[i]);
		(*ret_count)++;
	}
	return 0;
}

/* The filter behind which the proxy may be handed sockets of the host's network, and the attack on it. True
 * when it is in force; false where it cannot be installed. What is in force and does not hold ends the
 * run like every other proof, since no other filter can take its place. */
static int confine_handed(const struct launch *launch, bool *ret_is_handed, struct err *err)
{
	*ret_is_handed = launch->handout[1] >= 0 && seccomp_load(SECCOMP_PROXY_HANDED, NULL) == 0;
	if (!*ret_is_handed)
		return 0;
	TRY(seccomp_prove(SECCOMP_PROXY_HANDED, err));
	return handed_prove(launch->decoy, err);
}

static int confine(enum seccomp_role filter, struct err *err)
{
	TRY(seccomp_load(filter, err));
	return seccomp_prove(filter, err);
}

static int lose_everything(const struct launch *launch, enum role role, const int *writable_fds,
			   size_t writable_count, bool *ret_is_handed, struct err *err)
{
	const struct plan *plan = launch->plan;
	int abi;

	TRY(caps_drop_all(err));
	TRY(caps_prove_none(err));
	if (role == ROLE_PROXY) {
		TRY(landlock_proxy(writable_fds, writable_count,
				   plan->proxy_fds.listen >= 0 ? 0 : plan->manifest.proxy_port,
				   &abi, err));
	} else {
		TRY(netns_prove_internal(&plan->link, plan->manifest.proxy_port, err));
		TRY(landlock_agent(writable_fds, writable_count, false, &abi, err));
	}
	if (role == ROLE_AGENT)
		return confine(SECCOMP_AGENT, err);
	TRY(confine_handed(launch, ret_is_handed, err));
	return *ret_is_handed ? 0 : confine(SECCOMP_PROXY, err);
}

/* *ret_is_handed: the proxy may be handed sockets. */
static int become(const struct launch *launch, enum role role, const struct role_context *context,
		  bool *ret_is_handed, struct err *err)
{
	const struct plan *plan = launch->plan;
	const struct plan_role *own = role == ROLE_PROXY ? &plan->proxy : &plan->agent;
	int writable_fds[WRITABLE_MAX];
	size_t writable_count = 0;
	int rc;

	umask(plan->umask);
	TRY(open_writable(&own->writable, writable_fds, WRITABLE_MAX, &writable_count, err));
	if (role == ROLE_AGENT)
		TRY(limits_bound_ipc(&plan->limits, context->proc_fd, err));
	TRY(idmap_enter_role(context->proc_fd, &own->id, err));
	TRY(role == ROLE_AGENT ? limits_apply_self(&plan->limits, err) : limits_no_core(err));
	if (chdir(own->workdir) < 0)
		return err_sys(err, errno, "enter %s inside", own->workdir);
	rc = lose_everything(launch, role, writable_fds, writable_count, ret_is_handed, err);
	for (size_t i = 0; i < writable_count; i++)
		close(writable_fds[i]);
	return rc;
}

static void fail(int go_fd, const char *step, int rc, const struct err *err)
{
	wire_send_failed(go_fd, step, rc, err);
	_exit(125);
}

noreturn static void execute(int go_fd, const struct plan_role *program, char **env)
{
	int code;

	environ = env;
	execvp(program->argv.items[0], program->argv.items);
	code = errno;
	(void)!wire_send(go_fd, WIRE_EXEC_FAILED, code, NULL, 0);
	_exit(code == ENOENT || code == ENOTDIR ? 127 : 126);
}

noreturn void role_agent_main(const struct launch *launch, const struct role_context *context)
{
	const struct plan_role *role = &launch->plan->agent;
	int go_fd = launch->go[ROLE_AGENT][1];
	struct err err = { 0 };
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	bool is_handed;
	int rc = null_fd < 0 ? err_sys(&err, errno, "open /dev/null inside")
			     : stdio_wire(launch->stdio, launch->relay_fds, context->pty_fd,
					  null_fd, &err);

	/* Not only by the exec: while this process waits, the proxy's pipes must not stay open in it. */
	int keep[] = { go_fd, context->proc_fd };
	if (rc == 0 && fd_close_except(keep, 2) < 0)
		rc = err_sys(&err, errno, "close_range");
	if (rc == 0)
		rc = become(launch, ROLE_AGENT, context, &is_handed, &err);
	if (rc == 0)
		rc = wire_send(go_fd, WIRE_BUILT, 0, NULL, 0);
	if (rc == 0)
		rc = wire_expect(go_fd, WIRE_GO, &err);
	if (rc < 0)
		fail(go_fd, "agent", rc, &err);
	/* Close-on-exec does this too; said once more where everything depends on it. go_fd goes with
	 * the exec itself. */
	if (fd_close_except(&go_fd, 1) < 0)
		_exit(125);
	reset_signals(launch, ROLE_AGENT);
	execute(go_fd, role, role->env.items);
}

/* The proxy's descriptors: 0 null, 1 and 2 its output pipe, then those that the plan has numbered. */
static int wire_proxy(const struct launch *launch, const struct role_context *context,
		      bool is_handed, int go_fd, int *ret_go_fd, struct err *err)
{
	const struct proxy_fds *at = &launch->plan->proxy_fds;
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct {
		int fd, at;
	} moves[] = {
		{ null_fd, 0 },
		{ launch->out[1], 1 },
		{ launch->out[1], 2 },
		{ launch->audit[1], at->audit },
		{ launch->ready[1], at->ready },
		{ context->listen_fd, at->listen },
		{ is_handed ? launch->handout[1] : -1, is_handed ? at->gate : -1 },
		{ go_fd, -1 },
	};
	enum { COUNT = sizeof(moves) / sizeof(moves[0]) };
	int keep[COUNT];

	for (size_t i = 0; i < COUNT; i++) /* out of the way of what dup2 is about to overwrite */
		if (moves[i].fd >= 0 && (moves[i].fd = fcntl(moves[i].fd, F_DUPFD_CLOEXEC, 10)) < 0)
			return err_sys(err, errno, "wire the proxy's descriptors");
	for (size_t i = 0; i < COUNT; i++) {
		keep[i] = moves[i].at;
		if (moves[i].at >= 0 && dup2(moves[i].fd, moves[i].at) < 0)
			return err_sys(err, errno, "wire the proxy's descriptors");
	}
	*ret_go_fd = moves[COUNT - 1].fd;
	keep[COUNT - 1] = *ret_go_fd;
	return fd_close_except(keep, COUNT) < 0 ? err_sys(err, errno, "close_range") : 0;
}

/* Receives the go; behind the message comes the token environment, "NAME=value" strings each closed
 * by NUL, into a buffer that the exec discards. */
static int receive_tokens(int go_fd, char *space, size_t size, struct strlist *env, struct err *err)
{
	struct wire_msg msg;
	struct iovec parts[2] = { { &msg, sizeof(msg) }, { space, size } };
	struct msghdr header = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t n = recvmsg(go_fd, &header, 0);
	char *end;

	if (n < (ssize_t)sizeof(msg) || msg.type != WIRE_GO || (header.msg_flags & MSG_TRUNC))
		return err_set(err, EPIPE, "the launcher is gone");
	end = space + (size_t)n - sizeof(msg);
	for (char *item = space; item < end; item += strlen(item) + 1)
		TRY(strlist_add(env, item));
	return 0;
}

/* What of its environment only the process itself knows: its number, for sd_listen_fds(3), and which way
 * it has through the gate. */
static int say_what_is_given(const struct plan *plan, bool is_handed, struct strlist *env,
			     struct err *err)
{
	int rc = is_handed ? strlist_addf(env, "EGRESS_PROXY_GATE_FD=%d", plan->proxy_fds.gate)
			   : strlist_add(env, "EGRESS_PROXY_GATE=relay");

	if (rc == 0 && plan->proxy_fds.listen >= 0)
		rc = strlist_addf(env, "LISTEN_PID=%d", getpid());
	return rc < 0 ? err_sys(err, ENOMEM, "the proxy's environment") : 0;
}

noreturn void role_proxy_main(const struct launch *launch, const struct role_context *context)
{
	static char token_space[WIRE_EXTRA_MAX + 1];
	struct plan_role role = launch->plan->proxy;
	int go_fd = launch->go[ROLE_PROXY][1];
	struct err err = { 0 };
	bool is_handed = false;
	int rc = become(launch, ROLE_PROXY, context, &is_handed, &err);

	if (rc == 0)
		rc = wire_proxy(launch, context, is_handed, go_fd, &go_fd, &err);
	if (rc == 0)
		rc = say_what_is_given(launch->plan, is_handed, &role.env, &err);
	if (rc == 0)
		rc = wire_send(go_fd, WIRE_BUILT, 0, NULL, 0);
	if (rc == 0)
		rc = receive_tokens(go_fd, token_space, WIRE_EXTRA_MAX, &role.env, &err);
	if (rc < 0)
		fail(go_fd, "proxy", rc, &err);
	reset_signals(launch, ROLE_PROXY);
	execute(go_fd, &role, role.env.items);
}
