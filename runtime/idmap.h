/* SPDX-License-Identifier: Apache-2.0
 *
 * Identity: the id maps of U1 (init's) and of U2/U2' (proxy's and agent's), see docs/architecture.md.
 *
 *   single   U1: 0 <- caller                    U2: <image USER> <- 0     U2': <caller> <- 0
 *   subid    U1: 0 <- caller, 1.. <- /etc/sub*  U2: <image USER> <- 1     U2': <caller> <- 0
 *
 * Traps, each of which has bitten: a map is written before any capability goes (the kernel wants
 * CAP_SETFCAP of whoever maps the parent's uid 0); setgroups is denied before an unprivileged gid
 * map; a process that is not dumpable does not own its /proc/self/uid_map; PDEATHSIG is cleared by
 * every credential change.
 */
#ifndef RUNTIME_IDMAP_H
#define RUNTIME_IDMAP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct idmap_range {
	uint32_t first;
	uint32_t count; /* 0: none */
};

/* Maps exactly one uid and one gid of the parent namespace: setgroups=deny, uid_map, gid_map, read
 * back. `proc_fd` is an open /proc (or AT_FDCWD: /proc); pid 0 means the caller itself, which is made
 * dumpable meanwhile. Called right after unshare/clone(CLONE_NEWUSER), all capabilities still held. */
struct idmap_single {
	uid_t inside_uid, outside_uid;
	gid_t inside_gid, outside_gid;
};
int idmap_write_single(int proc_fd, pid_t pid, const struct idmap_single *map,
		       struct err *err) MUST_CHECK;

/* Finds the largest range of `uid` in a file of /etc/subuid's form (by number or by login name; the
 * name may be NULL). 0, -ENOENT with a sentence, or -errno. */
int idmap_find_range(const char *path, uid_t uid, const char *login, struct idmap_range *ret_range,
		     struct err *err) MUST_CHECK;

/* Absolute path of newuidmap / newgidmap ("newuidmap"), from a fixed list, or NULL. */
const char *idmap_helper_path(const char *name);

/* `0 <- caller, 1.. <- range` for the process `pid`, by newuidmap and newgidmap with an empty
 * environment; waits for both and reads the maps back. Runs in: the launcher, before
 * no_new_privs. The helper's stderr becomes part of the sentence. */
int idmap_write_subid(pid_t pid, uid_t uid, gid_t gid, const struct idmap_range *uids,
		      const struct idmap_range *gids, struct err *err) MUST_CHECK;

/* One role's own user namespace below U1. */
struct idmap_role {
	uid_t inside_uid, outer_uid; /* outer: as seen in U1, 0 or (proxy under subid) 1 */
	gid_t inside_gid, outer_gid;
	bool nested_ok; /* may make user namespaces of its own */
};

/* Becomes `outer_uid`, unshares a user namespace, maps it, switches off further user namespaces in
 * it unless nested_ok, bounds its part of the host's inotify instances and watches, reads everything
 * back and tries. Called by the single-threaded child that
 * will become the program (or that forks it), with all capabilities of U1, after its mounts;
 * afterwards it holds all capabilities of the new namespace, until caps_drop_all(). `proc_fd` is a
 * /proc of the caller's pid namespace that is not read-only. PDEATHSIG and dumpability are as
 * before the call. */
int idmap_enter_role(int proc_fd, const struct idmap_role *role, struct err *err) MUST_CHECK;

#endif
