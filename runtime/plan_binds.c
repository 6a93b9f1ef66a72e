/* SPDX-License-Identifier: Apache-2.0
 *
 * The host's folders that the manifest shows the agent: the work folder, read_only, read_write.
 * Runs in: launcher, before anything has changed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "runtime/plan_agent.h"

struct bind {
	char path[PATH_MAX];
	bool writable;
};

static bool is_below(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	return strncmp(path, folder, len) == 0 &&
	       (path[len] == '\0' || path[len] == '/' || len == 1);
}

/* A folder that the agent writes must not hold what bottle trusts, nor lie in it. */
static int check_writable(const char *path, const char *what, const struct plan *plan,
			  const struct plan_dirs *dirs, struct err *err)
{
	const char *const kept[] = { dirs->data, dirs->state, dirs->runtime };
	static const char *const kernel[] = { "/proc", "/sys", "/dev" };

	if (strcmp(path, "/") == 0)
		return err_set(err, EINVAL, "%s: is '/'; name the project's own folder", what);
	if (is_below(plan->home, path))
		return err_set(err, EINVAL,
			       "%s %s: is or contains the home folder %s, and with it keys and "
			       "shell startup files; name the project's own folder",
			       what, path, plan->home);
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		if (is_below(kept[i], path) || is_below(path, kept[i]))
			return err_set(err, EINVAL,
				       "%s %s: overlaps %s, where bottle keeps what the agent must "
				       "not write",
				       what, path, kept[i]);
	for (size_t i = 0; i < sizeof(kernel) / sizeof(kernel[0]); i++)
		if (is_below(path, kernel[i]))
			return err_set(err, EINVAL, "%s %s: lies in %s, which is never shown", what,
				       path, kernel[i]);
	return 0;
}

static int check_kind(const char *path, const char *what, struct err *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_sys(err, errno, "%s %s", what, path);
	if (S_ISSOCK(st.st_mode))
		return err_set(err, EINVAL,
			       "%s %s: is a unix socket, which would be a way out of the bottle",
			       what, path);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "%s %s: is neither a folder nor a regular file", what,
			       path);
	return 0;
}

static int find_work_folder(struct plan *plan, const char *option, const struct plan_dirs *dirs,
			    struct err *err)
{
	const char *named = option ? option : plan->manifest.agent.workdir;
	const char *what = option ? "--workdir" : named ? "agent.workdir" : "the current folder";
	struct stat st;

	plan->work_folder = realpath(named ? named : ".", NULL);
	if (!plan->work_folder)
		return err_sys(err, errno, "%s %s", what, named ? named : ".");
	if (stat(plan->work_folder, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_set(err, ENOTDIR, "%s %s: is not a folder", what, plan->work_folder);
	return check_writable(plan->work_folder, what, plan, dirs, err);
}

/* A path that the agent may have written (below a writable bind) could be a symlink by now: such a
 * path is taken literally. Elsewhere the caller's own symlinks are followed. */
static int add_path(struct plan *plan, struct bind *bind, const char *path, bool writable,
		    const struct plan_dirs *dirs, struct err *err)
{
	const char *what = writable ? "agent.read_write" : "agent.read_only";
	cleanup_free char *real = NULL;

	if (path[0] != '/')
		return err_set(err, EINVAL, "%s %s: must be an absolute path", what, path);
	real = realpath(path, NULL);
	if (!real)
		return err_sys(err, errno, "%s %s", what, path);
	if (is_below(path, plan->work_folder) && strcmp(real, path) != 0)
		return err_set(err, ELOOP,
			       "%s %s: a part of it in the work folder is a symbolic link; name "
			       "the real path",
			       what, path);
	TRY(check_kind(real, what, err));
	if (writable)
		TRY(check_writable(real, what, plan, dirs, err));
	snprintf(bind->path, sizeof(bind->path), "%s", real);
	bind->writable = writable;
	return 0;
}

static int by_depth(const void *a, const void *b)
{
	return strcmp(((const struct bind *)a)->path, ((const struct bind *)b)->path);
}

/* Sockets below a bind are a way out (a docker socket, an agent's socket): masked and told. */
static int mask_sockets(struct plan *plan, const char *folder, struct err *err)
{
	struct strlist found = { 0 };
	bool complete = true;
	int rc = plan_find_sockets(folder, &found, &complete);

	for (size_t i = 0; rc == 0 && i < found.len; i++) {
		if (strlist_has(&plan->masked, found.items[i]))
			continue;
		rc = mount_list_add(&plan->agent.mounts, (struct mount_op){ .kind = MOUNT_MASK,
									    .flags = MOUNT_OPTIONAL,
									    .at = found.items[i] });
		if (rc == 0)
			rc = strlist_add(&plan->masked, found.items[i]);
	}
	strlist_clear(&found);
	if (rc == 0 && !complete)
		rc = plan_warn(
			plan,
			"%s: too large to be searched whole for unix sockets; those that this host "
			"lists are masked, one made under a relative name could have been missed",
			folder);
	return rc < 0 ? err_sys(err, -rc, "look for sockets in %s", folder) : 0;
}

/* Executed or obeyed by the caller's own tools without being asked. `.git` is bound onto itself
 * first: a mount point cannot be renamed away, so the agent cannot put another `.git` there. */
static int guard(struct plan *plan, struct err *err)
{
	static const struct {
		const char *name;
		bool writable;
	} guarded[] = {
		{ "bottle.yaml", false }, { ".envrc", false },	   { ".vscode", false },
		{ ".git", true },	  { ".git/hooks", false }, { ".git/config", false }
	};

	for (size_t i = 0; i < sizeof(guarded) / sizeof(guarded[0]); i++) {
		cleanup_free char *path = str_printf("%s/%s", plan->work_folder, guarded[i].name);
		cleanup_fd int fd = path ? fd_open_nosymlinks(AT_FDCWD, path, O_PATH | O_NOFOLLOW,
							      0)
					 : -1;
		struct mount_op op = { .kind = MOUNT_ALIAS,
				       .flags = MOUNT_NO_SYMLINKS |
						(guarded[i].writable ? MOUNT_WRITABLE : 0),
				       .at = path,
				       .source = path };
		int rc;

		if (!path)
			return err_sys(err, ENOMEM, "plan the work folder");
		if (fd == -ELOOP)
			rc = plan_warn(
				plan,
				"%s is or lies behind a symbolic link and is not made read-only",
				path);
		else if (fd < 0)
			rc = guarded[i].writable ? 0 : strlist_addf(&plan->guarded, "?%s", path);
		else
			rc = mount_list_add(&plan->agent.mounts, op);
		if (rc == 0 && fd >= 0 && !guarded[i].writable)
			rc = strlist_add(&plan->guarded, path);
		if (rc < 0)
			return err_sys(err, -rc, "plan the work folder");
	}
	return 0;
}

static int add_binds(struct plan *plan, struct bind *binds, size_t count, struct err *err)
{
	qsort(binds, count, sizeof(*binds), by_depth);
	for (size_t i = 0; i < count; i++) {
		struct mount_op op = { .kind = MOUNT_BIND,
				       .flags = MOUNT_MAKE | MOUNT_NO_SYMLINKS |
						(binds[i].writable ? MOUNT_WRITABLE : 0),
				       .at = binds[i].path,
				       .source = binds[i].path };

		if (i && strcmp(binds[i].path, binds[i - 1].path) == 0)
			return err_set(err, EINVAL,
				       "%s is shown twice (work folder, read_only, read_write); "
				       "name it once",
				       binds[i].path);
		if (mount_list_add(&plan->agent.mounts, op) < 0 ||
		    (binds[i].writable && strlist_add(&plan->agent.writable, binds[i].path) < 0))
			return err_sys(err, ENOMEM, "plan the agent's files");
	}
	for (size_t i = 0; i < count; i++)
		TRY(mask_sockets(plan, binds[i].path, err));
	return 0;
}

int plan_agent_binds(struct plan *plan, const char *workdir_option, const struct plan_dirs *dirs,
		     struct err *err)
{
	const struct agent_config *agent = &plan->manifest.agent;
	size_t count = 0;
	cleanup_free struct bind *binds = calloc(1 + agent->read_only.len + agent->read_write.len,
						 sizeof(*binds));

	if (!binds)
		return err_sys(err, ENOMEM, "plan the agent's files");
	TRY(find_work_folder(plan, workdir_option, dirs, err));
	snprintf(binds[0].path, sizeof(binds[0].path), "%s", plan->work_folder);
	binds[count++].writable = true;
	for (size_t i = 0; i < agent->read_only.len; i++)
		TRY(add_path(plan, &binds[count++], agent->read_only.items[i], false, dirs, err));
	for (size_t i = 0; i < agent->read_write.len; i++)
		TRY(add_path(plan, &binds[count++], agent->read_write.items[i], true, dirs, err));
	TRY(add_binds(plan, binds, count, err));
	return guard(plan, err);
}
