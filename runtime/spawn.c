/* SPDX-License-Identifier: Apache-2.0
 *
 * The launcher forks gate and init. Both happen before there is a CA key, while the tokens are in a
 * mapping that a fork does not inherit; each child wipes the environment block it did inherit.
 *
 * Runs in: launcher, and the first lines of the forked children.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "runtime/caps.h"
#include "runtime/child.h"
#include "runtime/handed.h"
#include "runtime/landlock.h"
#include "runtime/seccomp.h"
#include "runtime/session_parts.h"
#include "runtime/title.h"

static int confine_gate(struct err *err)
{
	int abi;

	TRY(landlock_gate(&abi, err));
	TRY(seccomp_load(SECCOMP_GATE, err));
	return seccomp_prove(SECCOMP_GATE, err);
}

static int confine_resolver(struct err *err)
{
	int abi;

	TRY(landlock_resolver(&abi, err));
	TRY(seccomp_load(SECCOMP_RESOLVER, err));
	return seccomp_prove(SECCOMP_RESOLVER, err);
}

noreturn static void gate_main(const struct session *s, pid_t launcher)
{
	int keep[] = { s->gate_ctl[1], s->gate_audit[1], s->launch.handout[0] };
	struct child_setup setup = {
		.launcher = launcher, .death_signal = SIGKILL, .keep = keep, .keep_count = 3
	};
	struct gate_config config = { .targets = s->plan->targets,
				      .target_count = s->plan->target_count,
				      .control_fd = s->gate_ctl[1],
				      .audit_fd = s->gate_audit[1],
				      .handout_fd = s->launch.handout[0] < 0 ? 0
									     : s->launch.handout[0],
				      .run_id = s->plan->run_id,
				      .confine = { confine_gate, confine_resolver } };
	struct err err = { 0 };
	int control_fd = config.control_fd;
	int abi;
	int rc = child_enter(&setup, &err);

	title_set("bottle: gate");
	if (rc == 0)
		rc = caps_drop_all(&err);
	if (rc == 0)
		rc = caps_prove_none(&err);
	if (rc == 0)
		rc = landlock_scope(&abi, &err);
	if (rc == 0)
		rc = gate_run(&config, &err);
	if (rc < 0)
		gate_send_failure(control_fd, rc, &err);
	_exit(rc < 0 ? 125 : 0);
}

static int open_pidfd(pid_t pid, int *ret_fd, struct err *err)
{
	long fd = syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0)
		return err_sys(err, errno, "pidfd_open");
	*ret_fd = (int)fd;
	return 0;
}

int session_start_gate(struct session *s, struct err *err)
{
	pid_t self = getpid();

	if (wire_pair(s->gate_ctl) < 0 || fd_pipe(s->gate_audit) < 0)
		return err_sys(err, errno, "make the gate's channels");
	if (fcntl(s->gate_audit[0], F_SETFL, O_NONBLOCK) < 0)
		return err_sys(err, errno, "make the gate's channels");
	/* What the gate forks comes to us when it dies, in a group by which it can be told from children
	 * that were here before us (`exec bottle`). */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return err_sys(err, errno, "PR_SET_CHILD_SUBREAPER");
	s->gate_pid = fork();
	if (s->gate_pid < 0)
		return err_fork(err, errno, "fork the gate");
	if (s->gate_pid == 0) {
		setpgid(0, 0);
		gate_main(s, self);
	}
	setpgid(s->gate_pid, s->gate_pid); /* whoever comes first */
	fd_close(&s->gate_ctl[1]);
	fd_close(&s->gate_audit[1]);
	fd_close(&s->launch.handout[0]);
	return open_pidfd(s->gate_pid, &s->gate_pidfd, err);
}

/* Where there is no decoy there is no proof, and the gate relays. */
static int make_handout(struct launch *l, struct err *err)
{
	if (l->plan->proxy_fds.gate < 0 || handed_decoy_open(l->decoy, NULL) < 0)
		return 0;
	return wire_pair(l->handout) < 0 ? err_sys(err, errno, "make the channels") : 0;
}

static int make_channels(struct session *s, struct err *err)
{
	struct launch *l = &s->launch;

	TRY(open_pidfd(getpid(), &l->launcher_pidfd, err));
	if (wire_pair(l->init_ctl) < 0 || fd_pipe(l->out) < 0 || fd_pipe(l->audit) < 0 ||
	    fd_pipe(l->ready) < 0)
		return err_sys(err, errno, "make the channels");
	/* The loop reads when poll(2) says so, and never waits for a process that may be hostile. */
	for (const int *fd = (const int[]){ l->out[0], l->audit[0], l->ready[0], -1 }; *fd >= 0;
	     fd++)
		if (fcntl(*fd, F_SETFL, O_NONBLOCK) < 0)
			return err_sys(err, errno, "make the channels");
	for (size_t i = 0; i < ROLE_COUNT; i++)
		if (wire_pair(l->ctl[i]) < 0 || wire_pair(l->go[i]) < 0)
			return err_sys(err, errno, "make the channels");
	return make_handout(l, err);
}

void session_close_inner_ends(struct session *s)
{
	struct launch *l = &s->launch;
	int *inner[] = { &l->init_ctl[1], &l->ctl[0][1], &l->ctl[1][1], &l->go[0][1],
			 &l->go[1][1],	  &l->out[1],	 &l->audit[1],	&l->ready[1],
			 &l->handout[1],  &l->decoy[0],	 &l->decoy[1] };

	for (size_t i = 0; i < sizeof(inner) / sizeof(inner[0]); i++)
		fd_close(inner[i]);
}

int session_start_init(struct session *s, struct err *err)
{
	unsigned long flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET |
			      CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD | SIGCHLD;
	sigset_t all, old;
	long pid;

	TRY(make_channels(s, err));
	s->launch.stdio = &s->stdio;
	for (int i = 0; i < 3; i++)
		s->launch.relay_fds[i] = s->relay.agent_fd[i];
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old); /* inherited by init and reapers, undone by role.c */
	pid = syscall(SYS_clone, flags, NULL, &s->init_pidfd, NULL, NULL);
	if (pid == 0)
		init_main(&s->launch);
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		return host_explain(HOST_STEP_USERNS, errno, err);
	s->init_pid = (pid_t)pid;
	session_close_inner_ends(s);
	relay_drop_agent_fds(&s->relay);
	return 0;
}
