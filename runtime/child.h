/* SPDX-License-Identifier: Apache-2.0
 *
 * What a process forked off the launcher does before anything else: dies with the launcher, holds
 * none of its descriptors and none of its environment, cannot be dumped or traced by its own user,
 * and tells the launcher when it is ready or why not.
 *
 * Runs in: the launcher (child_fork, child_wait_ready, child_reap, child_kill), its children (the
 * rest).
 */
#ifndef RUNTIME_CHILD_H
#define RUNTIME_CHILD_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct child_setup {
	const char *name; /* for ps(1), at most 15 bytes */
	pid_t launcher;	  /* getpid() of the parent, taken before the fork */
	int death_signal; /* PR_SET_PDEATHSIG; 0: the child watches a pidfd of the launcher itself */
	const int *keep;  /* descriptors that stay, ≥ 3; 0, 1 and 2 become /dev/null */
	size_t keep_count;
	int (*confine)(struct err *err); /* seccomp and such, last of all; or NULL */
};

/* Forks with all signals blocked in the child, which exits with what `body` returns and never
 * comes back. The launcher must not have SIGCHLD ignored, nor reap with wait(-1). */
int child_fork(int (*body)(void *ctx), void *ctx, int *ret_pidfd, struct err *err) MUST_CHECK;

/* All of the above, last `confine`. -ESRCH when the launcher is dead already. */
int child_enter(const struct child_setup *setup, struct err *err) MUST_CHECK;

/* One message on a SOCK_SEQPACKET: ready (rc 0), or the sentence. Uses sendto(2) only. */
void child_send_ready(int socket_fd, int rc, const struct err *err);

/* Its other end; -ECONNRESET with a sentence when the child died without a word. `what` names it. */
int child_wait_ready(int socket_fd, const char *what, struct err *err) MUST_CHECK;

/* Waits for the end of the child behind a pidfd and reaps it: its exit status, 128 + n when a
 * signal ended it, or -errno. */
int child_reap(int pidfd) MUST_CHECK;

/* SIGKILL, reap, close; -1 is fine. */
void child_kill(int *pidfd);

#endif
