/* SPDX-License-Identifier: Apache-2.0
 *
 * What the caller's own tools (git, direnv, an editor), or the next bottle, obey without being asked,
 * and that lies in a folder which the agent writes. Runs in: launcher; plan_guard before anything has
 * changed, plan_guard_find_* after the agent has ended.
 *
 * Theory of operation. What is there is bound onto itself, read-only. A mount point can be neither
 * renamed nor removed (EBUSY), but a folder above it can: so every folder between it and the root of
 * the writable bind is bound onto itself as well, writable. `.git` stays writable, or nobody could
 * commit; within it is read-only what makes git run a program or look elsewhere for one.
 *
 * An edit on the host can take such a mount away; the agent is ended then (guard_watch.h), and what is
 * another file at the end is named.
 *
 * What is missing cannot be bound. It is noted, looked for when the agent has ended, and named if it is
 * there: also where it cannot be looked at, since the agent may have closed or replaced what is above.
 *
 * A file with a second name would be written through that one; it is refused. (The agent cannot give
 * it one from inside: link(2) does not cross mounts.)
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "runtime/plan_agent.h"
#include "runtime/state.h"

enum {
	LINK_WALK_MAX_DEPTH = 16,
	LINK_WALK_MAX_ENTRIES = 20000,
	WORKTREES_MAX = 256,
	WORKTREE_ENTRIES_MAX = 10000
};

struct guard {
	struct plan *plan;
	const struct plan_binds *binds;
	struct err *err;
	size_t entries;	 /* of the walk for second names */
	bool pass_links; /* it says nothing of links */
};

enum found { MISSING, A_FILE, A_FOLDER, UNGUARDABLE };

static int no_memory(struct guard *g)
{
	return err_sys(g->err, ENOMEM, "plan the guarded files");
}

/* --- binding --------------------------------------------------------------------------------- */

/* The outermost bind in which the agent could write at `path`, or NULL. */
static const struct plan_bind *writable_around(const struct guard *g, const char *path)
{
	const struct plan_bind *found = NULL;

	for (size_t i = 0; i < g->binds->len; i++) {
		const struct plan_bind *bind = &g->binds->items[i];

		if (bind->writable && plan_path_is_below(path, bind->path) &&
		    (!found || strlen(bind->path) < strlen(found->path)))
			found = bind;
	}
	return found;
}

static struct mount_op *find_mounted(struct guard *g, const char *at, bool read_only)
{
	struct mount_list *list = &g->plan->agent.mounts;

	for (size_t i = 0; i < list->len; i++) {
		struct mount_op *op = &list->ops[i];

		if ((op->kind == MOUNT_ALIAS || op->kind == MOUNT_BIND) && op->at &&
		    strcmp(op->at, at) == 0 && (!read_only || !(op->flags & MOUNT_WRITABLE)))
			return op;
	}
	return NULL;
}

static int alias(struct guard *g, const char *path, bool writable)
{
	char *at = (char *)(uintptr_t)path; /* copied */

	struct mount_op *mounted = find_mounted(g, path, !writable);

	if (mounted) {
		mounted->flags |= MOUNT_GUARD;
		return 0;
	}
	return mount_list_add(&g->plan->agent.mounts,
			      (struct mount_op){ .kind = MOUNT_ALIAS,
						 .flags = MOUNT_NO_SYMLINKS | MOUNT_GUARD |
							  (writable ? MOUNT_WRITABLE : 0),
						 .at = at,
						 .source = at }) < 0
		       ? no_memory(g)
		       : 0;
}

/* Binds `path` onto itself, after the folders above it. */
static int pin(struct guard *g, const char *path, bool writable)
{
	const struct plan_bind *around = writable_around(g, path);
	char above[PATH_MAX];

	if (!around)
		return 0;
	snprintf(above, sizeof(above), "%s", path);
	for (char *slash = above + strlen(around->path); (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		if (strlen(above) > strlen(around->path))
			TRY(alias(g, above, true));
		*slash = '/';
	}
	return alias(g, path, writable);
}

/* --- second names ---------------------------------------------------------------------------- */

static int check_names(struct guard *g, const char *path, const struct stat *st)
{
	if (!S_ISREG(st->st_mode) || st->st_nlink < 2)
		return 0;
	return err_set(g->err, EMLINK,
		       "%s: has %lu names (hard links), and the agent could write it through "
		       "another; make it a file of its own: cp -p f f.new && mv f.new f",
		       path, (unsigned long)st->st_nlink);
}

static void close_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int check_names_below(struct guard *g, int dir_fd, const char *path, int depth);

static int check_entry(struct guard *g, int dir_fd, const char *name, const char *path, int depth)
{
	cleanup_free char *child = str_printf("%s/%s", path, name);
	struct stat st;
	int fd;

	if (!child)
		return no_memory(g);
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (S_ISLNK(st.st_mode) && !g->pass_links &&
	    plan_warn(g->plan,
		      "%s is a symbolic link; what it points to is not made "
		      "read-only",
		      child) < 0)
		return no_memory(g);
	TRY(check_names(g, child, &st));
	if (!S_ISDIR(st.st_mode))
		return 0;
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? 0 : check_names_below(g, fd, child, depth + 1);
}

/* Takes dir_fd. Objects are left out: git checks them by their hash, and a local clone shares them. */
static int check_names_below(struct guard *g, int dir_fd, const char *path, int depth)
{
	cleanup_with(close_dir) DIR *dir = fdopendir(dir_fd);
	const struct dirent *entry;

	if (!dir) {
		close(dir_fd);
		return no_memory(g);
	}
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    strcmp(entry->d_name, "objects") == 0)
			continue;
		if (++g->entries > LINK_WALK_MAX_ENTRIES || depth > LINK_WALK_MAX_DEPTH)
			return plan_warn(g->plan,
					 "%s: too large to be searched whole for files with a "
					 "second name",
					 path) < 0
				       ? no_memory(g)
				       : 0;
		TRY(check_entry(g, dirfd(dir), entry->d_name, path, depth));
	}
	return 0;
}

/* --- one path -------------------------------------------------------------------------------- */

static int unguardable(struct guard *g, const char *path, const char *why)
{
	return plan_warn(g->plan, "%s %s and is not made read-only", path, why) < 0 ? no_memory(g)
										    : UNGUARDABLE;
}

/* Looks at `path` without following a link at its end or on the way. */
static int look(struct guard *g, const char *path, int *ret_fd, struct stat *ret_st)
{
	cleanup_fd int fd = fd_open_nosymlinks(AT_FDCWD, path, O_PATH | O_NOFOLLOW, 0);

	if (fd == -ENOENT || fd == -ENOTDIR)
		return MISSING;
	if (fd == -ELOOP)
		return unguardable(g, path, "lies behind a symbolic link");
	if (fd < 0)
		return err_sys(g->err, -fd, "%s", path);
	if (fstat(fd, ret_st) < 0)
		return err_sys(g->err, errno, "%s", path);
	if (S_ISLNK(ret_st->st_mode))
		return unguardable(g, path, "is a symbolic link");
	if (!S_ISREG(ret_st->st_mode) && !S_ISDIR(ret_st->st_mode))
		return unguardable(g, path, "is neither a folder nor a regular file");
	*ret_fd = take_fd(&fd);
	return S_ISDIR(ret_st->st_mode) ? A_FOLDER : A_FILE;
}

static int note_guarded(struct guard *g, const char *path, int fd)
{
	struct plan *plan = g->plan;
	struct guard_mark *grown = realloc(plan->guard_marks,
					   (plan->guarded.len + 1) * sizeof(*grown));
	int rc;

	if (!grown)
		return no_memory(g);
	plan->guard_marks = grown;
	rc = guard_mark_take(fd, &grown[plan->guarded.len]);
	if (rc < 0)
		return err_sys(g->err, -rc, "%s", path);
	return strlist_add(&plan->guarded, path) < 0 ? no_memory(g) : 0;
}

/* Of what `fd` is open on, and of all below it. */
static int check_all_names(struct guard *g, const char *path, int fd, const struct stat *st)
{
	int dir_fd;

	if (!S_ISDIR(st->st_mode))
		return check_names(g, path, st);
	dir_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir_fd < 0 ? 0 : check_names_below(g, dir_fd, path, 0);
}

/* Read-only, or noted where it is missing. Returns what it is (enum found) or -errno. */
static int protect(struct guard *g, const char *path)
{
	cleanup_fd int fd = -1;
	struct stat st;
	int found = look(g, path, &fd, &st);

	if (found == MISSING)
		return strlist_add(&g->plan->absent, path) < 0 ? no_memory(g) : MISSING;
	if (found != A_FILE && found != A_FOLDER)
		return found;
	TRY(check_all_names(g, path, fd, &st));
	TRY(pin(g, path, false));
	TRY(note_guarded(g, path, fd));
	return found;
}

static int protect_in(struct guard *g, const char *folder, const char *name)
{
	cleanup_free char *path = str_printf("%s/%s", folder, name);

	return path ? protect(g, path) : no_memory(g);
}

static bool has(const char *folder, const char *name)
{
	cleanup_free char *path = str_printf("%s/%s", folder, name);
	struct stat st;

	return path && lstat(path, &st) == 0;
}

static int note_missing(struct guard *g, const char *folder, const char *name)
{
	if (has(folder, name))
		return 0;
	return strlist_addf(&g->plan->absent, "%s/%s", folder, name) < 0 ? no_memory(g) : 0;
}

/* --- git ------------------------------------------------------------------------------------- */

static const char *const worktree_names[] = { "commondir", "gitdir", "config.worktree" };
enum { WORKTREE_NAMES = sizeof(worktree_names) / sizeof(worktree_names[0]) };

/* 1 where `folder` is a linked worktree's: what the agent makes beside them is nobody's. */
static int is_worktree(struct guard *g, const char *folder)
{
	for (size_t i = 0; i < WORKTREE_NAMES; i++) {
		cleanup_free char *path = str_printf("%s/%s", folder, worktree_names[i]);
		struct stat st;

		if (!path)
			return no_memory(g);
		if (lstat(path, &st) == 0)
			return 1;
		if (errno != ENOENT && errno != ENOTDIR)
			return err_sys(g->err, errno, "%s", path);
	}
	return 0;
}

static int guard_worktree(struct guard *g, const char *all, const char *folder, size_t *count)
{
	int found = is_worktree(g, folder);

	TRY(found);
	if (!found)
		return 0;
	if (++*count > WORKTREES_MAX)
		return err_set(g->err, E2BIG,
			       "%s: more than %d linked worktrees, all of which git obeys; `git "
			       "worktree prune` removes those that are gone",
			       all, WORKTREES_MAX);
	for (size_t i = 0; i < WORKTREE_NAMES; i++)
		TRY(protect_in(g, folder, worktree_names[i]));
	return 0;
}

/* NULL and 0: there are none. What cannot be searched might hold one that the agent can open to itself. */
static int open_worktrees(struct guard *g, const char *folder, DIR **ret_dir)
{
	cleanup_fd int fd = fd_open_nosymlinks(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY, 0);

	if (fd == -ENOENT || fd == -ENOTDIR)
		return 0;
	if (fd == -ELOOP) {
		int rc = unguardable(g, folder, "is a symbolic link");

		return rc < 0 ? rc : 0;
	}
	if (fd < 0)
		return err_sys(g->err, -fd, "%s: search for linked worktrees", folder);
	*ret_dir = fdopendir(fd);
	if (!*ret_dir)
		return no_memory(g);
	take_fd(&fd);
	return 0;
}

/* A linked worktree obeys what its folder in here says; it may lie anywhere on the host. The agent may have
 * filled the folder: a bound that is reached refuses the run. */
static int guard_worktrees(struct guard *g, const char *git)
{
	cleanup_free char *folder = str_printf("%s/worktrees", git);
	cleanup_with(close_dir) DIR *dir = NULL;
	const struct dirent *entry;
	size_t entries = 0, count = 0;

	if (!folder)
		return no_memory(g);
	TRY(open_worktrees(g, folder, &dir));
	while (dir && (entry = readdir(dir))) {
		cleanup_free char *one = str_printf("%s/%s", folder, entry->d_name);

		if (!one)
			return no_memory(g);
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (++entries > WORKTREE_ENTRIES_MAX)
			return err_set(g->err, E2BIG,
				       "%s: more than %d entries, too many to look for linked "
				       "worktrees in; remove what is none",
				       folder, WORKTREE_ENTRIES_MAX);
		TRY(guard_worktree(g, folder, one, &count));
	}
	return 0;
}

/* The inside of a repository's folder, which itself stays writable. */
static int guard_git_folder(struct guard *g, const char *git)
{
	static const char *const names[] = { "hooks",		"config", "commondir",
					     "config.worktree", "info",	  "modules" };
	/* The agent may well rebase; what it leaves half done, `git rebase --continue` goes on with. */
	static const char *const steps[] = { "rebase-merge", "rebase-apply", "sequencer" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int found = protect_in(g, git, names[i]);

		TRY(found);
		if (found == MISSING && strcmp(names[i], "info") == 0)
			TRY(protect_in(g, git, "info/attributes"));
	}
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		TRY(note_missing(g, git, steps[i]));
	return guard_worktrees(g, git);
}

static int guard_dot_git(struct guard *g, const char *folder)
{
	cleanup_free char *git = str_printf("%s/.git", folder);
	cleanup_fd int fd = -1;
	struct stat st;
	int found = git ? look(g, git, &fd, &st) : no_memory(g);

	TRY(found);
	if (found == A_FILE) /* a worktree's or a submodule's: it names the repository */
		return protect(g, git);
	if (found == UNGUARDABLE)
		return 0;
	if (found == A_FOLDER)
		TRY(pin(g, git, true));
	else if (strlist_add(&g->plan->absent, git) < 0)
		return no_memory(g);
	return guard_git_folder(g, git);
}

/* The folder itself may be a repository (a bare one, or the `.git` of another folder), or be made one:
 * where git finds no good `.git` it looks at the folder itself. */
static int guard_bare(struct guard *g, const char *folder)
{
	if (!has(folder, "HEAD"))
		return note_missing(g, folder, "HEAD");
	if ((has(folder, "objects") && has(folder, "refs")) || has(folder, "commondir"))
		return guard_git_folder(g, folder);
	TRY(note_missing(g, folder, "objects"));
	TRY(note_missing(g, folder, "refs"));
	return note_missing(g, folder, "commondir");
}

static int guard_folder(struct guard *g, const char *folder)
{
	static const char *const names[] = { "bottle.yaml", ".envrc", ".vscode" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		TRY(protect_in(g, folder, names[i]));
	TRY(guard_dot_git(g, folder));
	return guard_bare(g, folder);
}

/* --- what bottle itself obeys ----------------------------------------------------------------- */

/* A file that this run read, and the next will. */
static int guard_read(struct guard *g, const char *name, const char *what)
{
	char path[PATH_MAX];
	struct stat st;
	int rc = plan_path_resolve(name, plan_binds_are_written, g->binds, path);

	if (rc == -EPERM)
		return err_set(g->err, ELOOP,
			       "%s %s: a part of it is a symbolic link in a folder that the agent "
			       "writes, which it could turn; name the real path",
			       what, name);
	if (rc < 0)
		return err_sys(g->err, -rc, "%s %s", what, name);
	if (!writable_around(g, path) || lstat(path, &st) < 0)
		return 0; /* out of reach, or a pipe */
	rc = protect(g, path);
	return rc < 0 ? rc : 0;
}

/* The manifest that counts where none is named: noted also where it is not there yet. */
static int guard_default(struct guard *g)
{
	cleanup_free char *name = NULL;
	char path[PATH_MAX];
	int rc;

	TRY(state_default_manifest(&name, g->err));
	if (!name)
		return 0;
	rc = plan_path_resolve(name, plan_binds_are_written, g->binds, path);
	if (rc == -EPERM)
		return unguardable(g, name, "lies behind a symbolic link that the agent can turn");
	return rc == 0 && writable_around(g, path) ? protect(g, path) : 0;
}

/* What the caller asked to be shown read-only, where it lies in a folder that the agent writes. */
static int guard_read_only(struct guard *g, const char *path)
{
	cleanup_fd int fd = -1;
	struct stat st;

	if (!writable_around(g, path))
		return 0;
	fd = fd_open_nosymlinks(AT_FDCWD, path, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return err_sys(g->err, -fd, "%s", path);
	if (fstat(fd, &st) < 0)
		return err_sys(g->err, errno, "%s", path);
	g->pass_links = true; /* what they point to was not asked for */
	TRY(check_all_names(g, path, fd, &st));
	g->pass_links = false;
	return pin(g, path, false);
}

int plan_guard(struct plan *plan, const struct plan_binds *binds, struct err *err)
{
	struct guard g = { .plan = plan, .binds = binds, .err = err };
	const struct manifest *m = &plan->manifest;

	for (size_t i = 0; i < binds->len; i++)
		if (binds->items[i].writable && binds->items[i].folder)
			TRY(guard_folder(&g, binds->items[i].path));
		else if (!binds->items[i].writable)
			TRY(guard_read_only(&g, binds->items[i].path));
	if (m->path)
		TRY(guard_read(&g, m->path, "the manifest"));
	if (m->upstream.ca_path)
		TRY(guard_read(&g, m->upstream.ca_path, "egress.upstream_proxy.ca"));
	for (size_t i = 0; i < m->extra_ca.len; i++)
		TRY(guard_read(&g, m->extra_ca.items[i], "egress.extra_ca"));
	TRY(guard_default(&g));
	return 0;
}

int plan_guard_find_made(const struct plan *plan, struct strlist *ret_made)
{
	for (size_t i = 0; i < plan->absent.len; i++) {
		cleanup_fd int fd = fd_open_nosymlinks(AT_FDCWD, plan->absent.items[i],
						       O_PATH | O_NOFOLLOW, 0);

		/* ENOTDIR, ELOOP, EACCES: something above it is not what it was. */
		if (fd != -ENOENT)
			TRY(strlist_add(ret_made, plan->absent.items[i]));
	}
	return 0;
}

int plan_guard_find_changed(const struct plan *plan, bool a_guard_was_lost,
			    struct strlist *ret_changed)
{
	for (size_t i = 0; i < plan->guarded.len; i++)
		if (guard_mark_differs(&plan->guard_marks[i], plan->guarded.items[i],
				       a_guard_was_lost))
			TRY(strlist_add(ret_changed, plan->guarded.items[i]));
	return 0;
}
