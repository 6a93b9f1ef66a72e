/* SPDX-License-Identifier: Apache-2.0
 *
 * Where bottle keeps things, and which runs are alive. A folder for each run, with a file `lock`
 * that its launcher holds by flock(2): who gets the lock knows that the run is dead. No stored pid
 * is ever trusted.
 *
 *   state    $XDG_STATE_HOME/bottle   or ~/.local/state/bottle   <name>/egress.jsonl, trust/
 *   data     $XDG_DATA_HOME/bottle    or ~/.local/share/bottle   images/
 *   runtime  $XDG_RUNTIME_DIR/bottle-runs or <state>/.run        <name>-<run id>/{lock,info.json}
 *
 * Live runs have a folder of their own, also where two of these variables name the same one: what is
 * swept there must be nothing but runs.
 *
 * As the XDG specification says a variable that is not absolute counts as unset; an
 * XDG_RUNTIME_DIR that is not ours alone (kept by sudo) as well. Our own component is never
 * followed as a symlink, is made 0700, and must belong to us and be writable by nobody else.
 *
 * Runs in: the launcher and the subcommands.
 */
#ifndef RUNTIME_STATE_H
#define RUNTIME_STATE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

struct state {
	char *state_path, *data_path, *runtime_path; /* absolute */
	int state_fd;				     /* the folders, O_PATH | O_DIRECTORY */
	int runtime_fd;				     /* O_RDONLY | O_DIRECTORY */
	bool runtime_is_network; /* NFS and the like: flock(2) may block or lie; worth a warning */
};

/* Finds and makes state and runtime folder (data is made by who stores there). */
void state_init(struct state *state);
int state_open(struct state *ret_state, struct err *err) MUST_CHECK;
void state_clear(struct state *state);

/* Takes out of the caller's umask what would close our own folders to ourselves (0277 makes folders that
 * nothing can be put into). Once, before any is made; the agent gets the caller's back. */
void state_set_umask(void);
mode_t state_callers_umask(void);

/* Only the paths, nothing is made: for the plan. */
int state_paths(struct state *ret_state, struct err *err) MUST_CHECK;

/* The variable that leads to the runtime folder. */
const char *state_runtime_variable(const struct state *state);

/* Of a folder of ours that is there: whether state_open would take it. 0 also where it is not there. */
int state_check_own(const char *path, struct err *err) MUST_CHECK;

/* The manifest that counts where none is named or found: bottle/bottle.yaml in $XDG_CONFIG_HOME or
 * ~/.config. Absolute, or the agent could have laid it in the current folder; owned by the caller; NULL
 * for who has no home folder. */
int state_default_manifest(char **ret_path, struct err *err) MUST_CHECK;

/* Opens the state, and then every folder in which runs of this user may be: that of state_open, and the one
 * where a bottle with another environment would have kept it, if it is there (cron and su set no
 * XDG_RUNTIME_DIR). In the second only runtime_path and runtime_fd are set. */
int state_each(int (*each)(struct state *state, void *ctx, struct err *err), void *ctx,
	       struct err *err) MUST_CHECK;

/* Whether a bottle may have this name: [a-z0-9][a-z0-9-]{0,40}. */
bool state_is_name(const char *name);

enum { STATE_RUN_ID_SIZE = 11 }; /* 10 × [a-z0-9] from getrandom(2), and the NUL */

int state_run_id(char ret_id[static STATE_RUN_ID_SIZE], struct err *err) MUST_CHECK;

/* Whether `path` is such as state_run_begin gives the lock of a run in `folder` ("<name>-<run id>"). */
bool state_is_lock(const char *path, const char *folder);

struct state_run {
	char *folder; /* "<name>-<run id>" */
	char *path;   /* absolute */
	int dir_fd;
	int lock_fd; /* children must not keep it: the lock is the description's */
};

void state_run_init(struct state_run *run);

/* Makes the run's folder, locked before any sweep can see it. */
int state_run_begin(struct state *state, const char *name, const char *run_id,
		    struct state_run *ret_run, struct err *err) MUST_CHECK;

/* Removes the folder and lets the lock go; a sentence in `warnings` when it cannot. */
void state_run_end(struct state *state, struct state_run *run, struct strlist *warnings);

/* Removes the folders of dead runs. Off the path to the agent: call it while something boots.
 * Where one cannot be removed, `warnings` gets a sentence with the command that would. Returns how many went. */
size_t state_sweep(struct state *state, struct strlist *warnings);

/* The same of the runs of one name (NULL: of every one). */
size_t state_sweep_name(struct state *state, const char *name, struct strlist *warnings);

/* Calls `each` for every run that is alive, with its folder's name and its info.json. */
int state_list(struct state *state, void (*each)(void *ctx, const char *folder, const char *info),
	       void *ctx, struct err *err) MUST_CHECK;

#endif
