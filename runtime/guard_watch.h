/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether the mounts that keep the agent from a file are still where they were made (MOUNT_GUARD).
 * Runs in: the agent's reaper, in the agent's mount namespace.
 *
 * Theory of operation. Nobody inside can touch these mounts. The host can, by an ordinary edit: when a
 * process of the host removes a name, or renames another file over it, the kernel detaches what is
 * mounted on it in every other mount namespace (rename(2) would else fail for who knows nothing of that
 * mount). `git config` and most editors write a file by such a rename. When the host moves the name
 * elsewhere the mount goes along, and where it was the agent can make what it likes.
 *
 * The kernel tells of both: a change of the namespace's mounts wakes who polls its mountinfo
 * (proc_pid_mountinfo(5)), a move wakes who watches the inode (IN_MOVE_SELF). What it means is then read
 * from mountinfo: each guard must be listed, at its place.
 *
 * A guard that is gone is not made anew: the agent may have opened the file meanwhile, and such a
 * descriptor writes past a later mount. Its processes end, and their descriptors with them. Between the
 * host's rename and that end the agent has some hundred microseconds, on a busy machine more; so what was
 * guarded is compared at the end of the run (guard_mark.h).
 *
 * A mask is not watched for being moved: the file under it cannot be reached any more. One that was
 * moved is found when the mounts are next looked at, at the agent's end at the latest.
 */
#ifndef RUNTIME_GUARD_WATCH_H
#define RUNTIME_GUARD_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/mounts.h"

struct guard_place {
	uint64_t id;
	const char *name; /* as the plan says it, for messages; borrowed */
	char *place;	  /* where the kernel listed it at the start */
	bool seen;	  /* while the list is gone through */
};

struct guard_watch {
	int mounts_fd; /* poll for POLLPRI; both -1 where nothing is guarded */
	int moves_fd;  /* poll for POLLIN */
	struct guard_place *places;
	size_t count;
};

/* It is kept to the end of the process: nothing closes it. */
void guard_watch_init(struct guard_watch *watch);

/* In the finished root, before the agent is: `proc_fd` is this pid namespace's /proc. Fails with
 * -ESTALE where a guard is already not at its place. */
int guard_watch_open(struct guard_watch *watch, int proc_fd, const struct mount_guard *guards,
		     size_t count, struct err *err) MUST_CHECK;

/* Looks, and empties what woke the caller. Returns 0 when all are there; else -ESTALE, or why it cannot be
 * known, with the sentence that ends the run. */
int guard_watch_check(const struct guard_watch *watch, struct err *err) MUST_CHECK;

/* The parts of it that only read text. note: remembers where the mounts with these ids are listed in
 * `mountinfo`. find_lost: the first that is not listed at its place, NULL when all are. */
int guard_places_note(struct guard_place *places, size_t count, const char *mountinfo) MUST_CHECK;
const struct guard_place *guard_places_find_lost(struct guard_place *places, size_t count,
						 const char *mountinfo);

#endif
