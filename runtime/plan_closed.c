/* SPDX-License-Identifier: Apache-2.0
 *
 * What root may read in /etc and others may not; see plan_agent.h. Runs in: launcher, before anything has
 * changed.
 *
 * A single map of uid 0 is still uid 0: without capabilities it reads what root owns. So what others may
 * not read is masked, found by a walk; one that is longer than its bound refuses the run. What lies in a
 * folder that others may not enter needs no mask of its own.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "runtime/plan_agent.h"

enum { WALK_MAX_ENTRIES = 50000, WALK_MAX_DEPTH = 32 };

struct walk {
	struct strlist *closed;
	struct err *err;
	size_t entries;
};

static int walk_folder(struct walk *walk, int dir_fd, const char *path, int depth);

static void close_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static bool is_gone(int code)
{
	return code == ENOENT || code == ENOTDIR || code == ELOOP;
}

static int walk_entry(struct walk *walk, int dir_fd, const char *name, const char *path, int depth)
{
	cleanup_free char *child = str_printf("%s/%s", path, name);
	struct stat st;
	mode_t open_to_others;
	int fd;

	if (!child)
		return err_sys(walk->err, ENOMEM, "%s", path);
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return is_gone(errno) ? 0 : err_sys(walk->err, errno, "%s", child);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return 0;
	open_to_others = S_ISDIR(st.st_mode) ? S_IROTH | S_IXOTH : S_IROTH;
	if ((st.st_mode & open_to_others) != open_to_others)
		return strlist_add(walk->closed, child) < 0 ? err_sys(walk->err, ENOMEM, "%s", path)
							    : 0;
	if (!S_ISDIR(st.st_mode))
		return 0;
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return is_gone(errno) ? 0 : err_sys(walk->err, errno, "%s", child);
	return walk_folder(walk, fd, child, depth + 1);
}

/* Takes dir_fd. */
static int walk_folder(struct walk *walk, int dir_fd, const char *path, int depth)
{
	cleanup_with(close_dir) DIR *dir = fdopendir(dir_fd);
	const struct dirent *entry;

	if (!dir) {
		close(dir_fd);
		return err_sys(walk->err, ENOMEM, "%s", path);
	}
	for (errno = 0; (entry = readdir(dir)); errno = 0) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (++walk->entries > WALK_MAX_ENTRIES || depth > WALK_MAX_DEPTH)
			return err_set(walk->err, E2BIG,
				       "%s: too much to be searched for what root alone may read; "
				       "start bottle as an ordinary user",
				       path);
		TRY(walk_entry(walk, dirfd(dir), entry->d_name, path, depth));
	}
	return errno ? err_sys(walk->err, errno, "%s", path) : 0;
}

int plan_closed_walk(const char *folder, struct strlist *ret_closed, struct err *err)
{
	struct walk walk = { .closed = ret_closed, .err = err };
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "%s", folder);
	return walk_folder(&walk, fd, folder, 0);
}

/* What was laid there already: bottle's own files, and what the caller named himself. */
static bool is_laid(const struct plan *plan, size_t count, const char *path)
{
	for (size_t i = 0; i < count; i++) {
		const char *at = plan->agent.mounts.ops[i].at;

		if (at && str_starts(at, "/etc/") && plan_path_is_below(path, at))
			return true;
	}
	return false;
}

static int mask(struct plan *plan, const char *path)
{
	return mount_list_add(&plan->agent.mounts,
			      (struct mount_op){ .kind = MOUNT_MASK,
						 .flags = MOUNT_OPTIONAL | MOUNT_GUARD,
						 .at = (char *)(uintptr_t)path }); /* copied */
}

int plan_closed(struct plan *plan, struct err *err)
{
	/* Masked in any case: whole folders, and files even where the caller shows them. */
	static const char *const always[] = { "/etc/shadow",   "/etc/shadow-",	  "/etc/gshadow",
					      "/etc/gshadow-", "/etc/sudoers",	  "/etc/sudoers.d",
					      "/etc/ssh",      "/etc/ssl/private" };
	cleanup_with(strlist_clear) struct strlist closed = { 0 };
	size_t laid = plan->agent.mounts.len;
	int rc = 0;

	if (plan->host.uid != 0)
		return 0;
	TRY(plan_closed_walk("/etc", &closed, err));
	for (size_t i = 0; rc == 0 && i < closed.len; i++)
		if (!is_laid(plan, laid, closed.items[i]))
			rc = mask(plan, closed.items[i]);
	for (size_t i = 0; rc == 0 && i < sizeof(always) / sizeof(always[0]); i++)
		if (!strlist_has(&closed, always[i]) || is_laid(plan, laid, always[i]))
			rc = mask(plan, always[i]);
	if (rc == 0)
		rc = plan_warn(plan,
			       "started as root: the agent is uid 0 without capabilities and reads "
			       "what root's files allow it to in the folders shown to it; better "
			       "start bottle as an ordinary user");
	return rc < 0 ? err_sys(err, -rc, "plan the agent's files") : 0;
}
