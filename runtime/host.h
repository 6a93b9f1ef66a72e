/* SPDX-License-Identifier: Apache-2.0
 *
 * What this host can do. host_probe() reads cheap facts on the way of every run. Only when a step has
 * failed does host_explain() go and look for the reason, so a healthy host pays nothing for it.
 */
#ifndef RUNTIME_HOST_H
#define RUNTIME_HOST_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "runtime/idmap.h"
#include "runtime/limits.h"

struct host_facts {
	unsigned kernel_major, kernel_minor;
	uid_t uid;
	gid_t gid;
	int group_count;	    /* supplementary groups that the bottle keeps under `single` */
	char runtime_dir[PATH_MAX]; /* $XDG_RUNTIME_DIR, ours and 0700, or "" */
	bool has_ipv6;
	int landlock_abi; /* 0: none */
	struct limits_cgroup cgroup;
};

/* Cheap (a dozen system calls, nothing forked). Fails only on a kernel older than 5.15. */
int host_probe(struct host_facts *ret_facts, struct err *err) MUST_CHECK;

/* The dearer facts that only `idmap: subid` needs: ranges and helpers. -ENOENT with a sentence that
 * says what is missing and that `idmap: single` needs none of it. */
struct host_subids {
	struct idmap_range uids, gids;
};
int host_find_subids(uid_t uid, struct host_subids *ret_subids, struct err *err) MUST_CHECK;

/* The steps of a start that a host can refuse. */
enum host_step {
	HOST_STEP_USERNS,     /* clone/unshare(CLONE_NEWUSER …) */
	HOST_STEP_IDMAP,      /* writing an id map */
	HOST_STEP_NAMESPACES, /* the other namespaces, inside U1 */
	HOST_STEP_MOUNT,      /* a mount inside U1 */
	HOST_STEP_PROC,	      /* mounting /proc */
	HOST_STEP_NETLINK,    /* links and routes */
	HOST_STEP_SECCOMP,
	HOST_STEP_EXEC, /* executing out of the data folder */
	HOST_STEP_COUNT
};

/* Turns "step failed with code" (a positive errno) into the reason, as far as evidence shows one, and
 * its fix: err gets "<what was there>: <the reason>. <fix>". Returns -code. Runs in: launcher or the
 * failing child. */
int host_explain(enum host_step step, int code, struct err *err);

/* The same for an error that has its sentence: that stays, and the reason goes around it where the evidence
 * shows one. */
void host_explain_more(enum host_step step, int code, struct err *err);

/* The evidence behind it, separately so that it can be injected by tests; numbers are -1 and strings
 * "" where there is nothing to read. */
struct host_evidence {
	long unprivileged_userns_clone; /* kernel.unprivileged_userns_clone (Debian, old Ubuntu) */
	long max_user_namespaces;	/* user.max_user_namespaces */
	long apparmor_restrict_userns;	/* kernel.apparmor_restrict_unprivileged_userns */
	char apparmor_profile[128];	/* /proc/self/attr/current */
	long seccomp_mode;		/* Seccomp: of /proc/self/status */
	long no_new_privs;
	int clone3_errno;    /* of clone3(NULL, 0): EINVAL on a free kernel, ENOSYS filtered */
	int unshare_errno;   /* of unshare(0): 0 on a free kernel, EPERM filtered */
	char zero_limit[40]; /* a user.max_*_namespaces of another kind that is 0 */
	bool proc_masked;    /* something is mounted over parts of /proc */
	bool selinux_enforcing;
	char container[32]; /* "bottle", "docker", "podman", "kubernetes", "wsl", "gvisor" … */
	long uid_map_count; /* ids mapped in the caller's own user namespace */
	bool chrooted;
};
void host_evidence_read(const char *root, struct host_evidence *ret_evidence);
int host_explain_from(enum host_step step, int code, const struct host_evidence *evidence,
		      struct err *err);
void host_explain_more_from(enum host_step step, int code, const struct host_evidence *evidence,
			    struct err *err);

/* Folders that bottle keeps things in: -errno and a sentence when `path` lies on a noexec mount
 * (`must_exec`) or cannot be used from a user namespace (NFS and the like: a warning sentence, +1). */
int host_check_dir(const char *path, bool must_exec, struct err *err) MUST_CHECK;

/* Whether such a folder can be made, or written in where it is there: a folder is made in the nearest one
 * that is there, and removed. `variable` leads to another place. For `bottle doctor`. */
int host_try_dir(const char *path, const char *variable, struct err *err) MUST_CHECK;

#endif
