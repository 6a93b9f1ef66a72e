/* SPDX-License-Identifier: Apache-2.0
 *
 * What the launcher made before it forked init: channels and pipes, and the plan. Every process of a
 * bottle is a fork of the launcher's image of that moment (before there is a key, without the mapping
 * that holds the tokens), picks what is its own from here, and closes all else.
 */
#ifndef RUNTIME_LAUNCH_H
#define RUNTIME_LAUNCH_H

#include <stdbool.h>
#include <stdnoreturn.h>

#include "runtime/plan.h"
#include "runtime/stdio.h"

enum role { ROLE_PROXY, ROLE_AGENT, ROLE_COUNT };

/* Signals that a caller may have had ignored, and then stay so. */
enum { LAUNCH_IGNORABLE_COUNT = 4 };
extern const int launch_ignorable[LAUNCH_IGNORABLE_COUNT];

struct launch {
	const struct plan *plan;
	const struct stdio_plan *stdio;
	int relay_fds[3]; /* the agent's ends (struct relay) */
	bool ignored
		[LAUNCH_IGNORABLE_COUNT]; /* those of launch_ignorable that the caller ignores */
	int launcher_pidfd;
	int init_ctl[2];	/* [0] the launcher's, [1] init's; so below */
	int ctl[ROLE_COUNT][2]; /* the reaper's */
	int go[ROLE_COUNT][2];	/* its child's; closed by the exec, which tells the launcher */
	int out[2];		/* pipe: what the proxy prints */
	int audit[2];		/* pipe: its audit lines */
	int ready[2];		/* pipe: READY=1 */
	int handout
		[2]; /* SOCK_SEQPACKET, where the proxy may be handed sockets: [0] the gate's, [1] the
			 * proxy's, who has it only if handed_prove held */
	int decoy[2]; /* for that proof */
};

/* Bodies of processes; they never return. */
noreturn void init_main(const struct launch *launch);

/* In init: forks the reaper of a role into its own pid, mount, ipc and uts namespace. `netns_fd` is
 * entered first when it is not -1; `listen_fd` is the proxy's listener or -1. */
int reaper_fork(const struct launch *launch, enum role role, int netns_fd, int listen_fd,
		struct err *err) MUST_CHECK;

/* In a reaper's child: become the program. Report on go[role][1] and never return. */
struct role_context {
	int proc_fd;   /* this pid namespace's /proc, unmasked */
	int pty_fd;    /* agent: the slave, or -1 */
	int listen_fd; /* proxy: its listener, or -1 */
};
noreturn void role_proxy_main(const struct launch *launch, const struct role_context *context);
noreturn void role_agent_main(const struct launch *launch, const struct role_context *context);

#endif
