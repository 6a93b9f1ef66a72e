/* SPDX-License-Identifier: Apache-2.0
 * The parts of plan_agent.c. */
#ifndef RUNTIME_PLAN_AGENT_H
#define RUNTIME_PLAN_AGENT_H

#include "runtime/plan.h"
#include "runtime/plan_path.h"

/* Where the agent finds what it is to trust, in every backend. */
#define PLAN_AGENT_CA	      "/run/bottle/ca.pem"
#define PLAN_AGENT_BUNDLE     "/run/bottle/ca-bundle.pem"
#define PLAN_AGENT_TRUSTSTORE "/run/bottle/truststore.p12"

/* plan_agent_env.c: its home (plan->home), and its environment, once home and work folder are known. */
int plan_agent_home(struct plan *plan, struct err *err) MUST_CHECK;
int plan_agent_env(struct plan *plan) MUST_CHECK;

/* A file or folder of the host that is shown at its own place. */
struct plan_bind {
	char path[PATH_MAX]; /* canonical */
	const char *what;    /* the option or key that named it, for messages */
	bool writable, folder;
};

struct plan_binds {
	struct plan_bind *items;
	size_t len;
};

/* plan_binds.c: the work folder and the manifest's read_only and read_write paths, checked; what is
 * guarded in them; sockets masked. Sets plan->work_folder. Comes after the folders of the system are on
 * the list, and before what bottle itself lays over them. */
/* The writable paths that each agent has besides the caller's: the fresh tmpfs of its root, and /dev. */
enum { PLAN_AGENT_SCRATCH = 6 };

int plan_agent_binds(struct plan *plan, const char *workdir_option, const struct plan_dirs *dirs,
		     struct err *err) MUST_CHECK;

/* plan_binds.c: whether a bottle may be given `folder` (canonical) to write: no home, none of the system, and
 * not one like /tmp that is many programs'. */
bool plan_binds_may_be_given(const struct plan *plan, const char *folder) MUST_CHECK;

/* plan_links.c: the symbolic links by which `name` (absolute) leads to what is shown, made inside where what is
 * shown does not have them, else warned about. Comes after the binds; `said` is the option or key. */
int plan_links(struct plan *plan, const char *said, const char *name) MUST_CHECK;

/* plan_homes.c: refuses, for a folder that the agent is to write, the system's trees; what is or contains the
 * home of anyone who logs in; and what is, contains or lies in the folders of such a home that hold keys,
 * programs or settings. `path` is canonical, `what` named it. */
int plan_homes_check(const char *path, const char *what, const char *agents_home,
		     struct err *err) MUST_CHECK;

/* plan_homes.c: the same of a home as a whole alone: -EINVAL, with the sentence. */
int plan_homes_check_whole(const char *path, const char *what, const char *agents_home,
			   struct err *err) MUST_CHECK;

/* plan_guard.c: what the caller's tools, or the next bottle, obey without being asked, and that lies
 * where the agent writes: made read-only, or noted in plan->absent to be looked for at the end. */
int plan_guard(struct plan *plan, const struct plan_binds *binds, struct err *err) MUST_CHECK;

/* plan_closed.c: masks, where root started the run, what others may not read in /etc, but for what the
 * list of mounts has there already. */
int plan_closed(struct plan *plan, struct err *err) MUST_CHECK;

/* plan_closed.c: files below `folder` that others may not read, and folders that others may not read or
 * enter, those alone and not what is in them. -E2BIG where there is too much to be searched. */
int plan_closed_walk(const char *folder, struct strlist *ret_closed, struct err *err) MUST_CHECK;

/* For plan_path_resolve: whether `folder` is the agent's to write; ctx is the struct plan_binds. */
bool plan_binds_are_written(const void *ctx, const char *folder);

/* plan_sockets.c: the sockets with a file that the kernel lists in this network namespace. */
int plan_sockets_bound(struct strlist *ret_paths) MUST_CHECK;

/* plan_sockets.c: socket files and FIFOs below `folder`, by a walk that is bounded: *ret_complete tells
 * whether all of it was seen. -EACCES, with the sentence, where `writable` and a folder in it is closed
 * to us though it is ours: the agent, who has our uid, could open it again. */
int plan_sockets_walk(const char *folder, bool writable, struct strlist *ret_sockets,
		      struct strlist *ret_fifos, bool *ret_complete, struct err *err) MUST_CHECK;

#endif
