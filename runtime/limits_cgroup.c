/* SPDX-License-Identifier: Apache-2.0
 *
 * The bottle's own cgroup (v2); see limits.h and Documentation/admin-guide/cgroup-v2.rst.
 *
 * Runs in: launcher. Power: the caller's own, in a part of the tree that was delegated to it.
 *
 * Where it can be made. Moving a process needs write access to cgroup.procs of the nearest common
 * ancestor of its old and new place, and a folder that hands controllers to its children may hold no
 * process itself. So the bottle's folder cannot lie below the launcher's own, only beside it or
 * beside one of its ancestors, as high as the caller may write: the nearest such folder whose
 * cgroup.subtree_control names a controller is taken.
 *
 * Who removes it. The launcher at the end. The folder's descriptor carries a shared flock as long as
 * the launcher lives, so the sweep of a later run can tell a folder that is in use, even one that is
 * still empty, from one that was left; stored pids are never trusted.
 */
#include "runtime/limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

enum { PROC_FILE_MAX_BYTES = 1 << 20, CONTROL_FILE_MAX_BYTES = 4096, CREATE_TRIES = 8 };

#define FOLDER_PREFIX "bottle-"

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* ----------------------------------------------------------------------------- finding a place */

/* Copies what follows "0::" in /proc/self/cgroup; false without a v2 line. */
static bool own_cgroup(const char *root, char *ret, size_t size)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	char path[PATH_MAX];
	char *save = NULL;

	if (snprintf(path, sizeof(path), "%s/proc/self/cgroup", root) >= (int)sizeof(path) ||
	    file_read(AT_FDCWD, path, PROC_FILE_MAX_BYTES, &text, NULL) < 0 || !text.data)
		return false;
	for (char *line = strtok_r(text.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (str_starts(line, "0::/") && strlen(line + 3) < size) {
			memcpy(ret, line + 3, strlen(line + 3) + 1);
			return true;
		}
	return false;
}

/* The mount point of cgroup2 in one line of mountinfo: "… root point options … - cgroup2 …". Only a
 * mount of the tree's (or the cgroup namespace's) own top is of use, paths being relative to it. */
static bool cgroup2_mount(char *line, char *ret, size_t size)
{
	char *kind = strstr(line, " - cgroup2 ");
	char *save = NULL, *word = NULL;
	char *words[5] = { 0 };

	if (!kind)
		return false;
	*kind = '\0';
	word = strtok_r(line, " ", &save);
	for (size_t i = 0; i < 5 && word; i++, word = strtok_r(NULL, " ", &save))
		words[i] = word;
	if (!words[4] || strcmp(words[3], "/") != 0 || strlen(words[4]) >= size)
		return false;
	memcpy(ret, words[4], strlen(words[4]) + 1);
	return true;
}

static bool find_mount(const char *root, char *ret, size_t size)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	char path[PATH_MAX];
	char *save = NULL;

	if (snprintf(path, sizeof(path), "%s/proc/self/mountinfo", root) >= (int)sizeof(path) ||
	    file_read(AT_FDCWD, path, PROC_FILE_MAX_BYTES, &text, NULL) < 0 || !text.data)
		return false;
	for (char *line = strtok_r(text.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (cgroup2_mount(line, ret, size))
			return true;
	return false;
}

/* The controllers that children of this folder get, if we may make some and move processes there. */
static unsigned offered(const char *folder)
{
	static const struct {
		const char *name;
		unsigned bit;
	} known[] = { { "memory", LIMITS_MEMORY }, { "pids", LIMITS_PIDS }, { "cpu", LIMITS_CPU } };
	cleanup_with(buf_clear) struct buf text = { 0 };
	cleanup_fd int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *save = NULL;
	unsigned bits = 0;

	if (fd < 0 || faccessat(fd, ".", W_OK, AT_EACCESS) < 0 ||
	    faccessat(fd, "cgroup.procs", W_OK, AT_EACCESS) < 0 ||
	    file_read(fd, "cgroup.subtree_control", CONTROL_FILE_MAX_BYTES, &text, NULL) < 0 ||
	    !text.data)
		return 0;
	for (char *word = strtok_r(text.data, " \n", &save); word;
	     word = strtok_r(NULL, " \n", &save))
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (strcmp(word, known[i].name) == 0)
				bits |= known[i].bit;
	return bits;
}

int limits_find_cgroup(const char *root, struct limits_cgroup *ret_cgroup, struct err *err)
{
	char mount_point[PATH_MAX], own[PATH_MAX], folder[PATH_MAX];
	char *slash;

	memset(ret_cgroup, 0, sizeof(*ret_cgroup));
	if (!own_cgroup(root, own, sizeof(own)) ||
	    !find_mount(root, mount_point, sizeof(mount_point)))
		return 0;
	while ((slash = strrchr(own, '/')) && own[1]) {
		*(slash == own ? slash + 1 : slash) = '\0';
		if (snprintf(folder, sizeof(folder), "%s%s%s", root, mount_point, own) >=
		    (int)sizeof(folder))
			return err_set(err, ENAMETOOLONG, "the path of your cgroup is too long");
		ret_cgroup->controllers = offered(folder);
		if (ret_cgroup->controllers) {
			memcpy(ret_cgroup->parent, folder, strlen(folder) + 1);
			return 0;
		}
	}
	return 0;
}

bool limits_scope_helps(const char *root, const char *runtime_dir)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	cleanup_free char *bus = runtime_dir ? str_printf("%s/bus", runtime_dir) : NULL;
	char mount_point[PATH_MAX];
	cleanup_free char *file = NULL;
	char *save = NULL;
	struct stat st;

	if (!bus || stat(bus, &st) < 0 || !S_ISSOCK(st.st_mode) ||
	    !find_mount(root, mount_point, sizeof(mount_point)))
		return false;
	file = str_printf("%s%s/cgroup.controllers", root, mount_point);
	if (!file || file_read(AT_FDCWD, file, CONTROL_FILE_MAX_BYTES, &text, NULL) < 0 ||
	    !text.data)
		return false;
	for (char *word = strtok_r(text.data, " \n", &save); word;
	     word = strtok_r(NULL, " \n", &save))
		if (strcmp(word, "memory") == 0)
			return true;
	return false;
}

/* ------------------------------------------------------------------------------ making and moving */

/* Writes and reads back: what the kernel rounds (memory, to pages) may come back smaller. */
static int set_value(int cgroup_fd, const char *file, const char *text, struct err *err)
{
	cleanup_with(buf_clear) struct buf now = { 0 };
	int rc = file_write(cgroup_fd, file, text);

	if (rc < 0)
		return err_sys(err, -rc, "cannot write %s to the cgroup's %s", text, file);
	TRY(file_read(cgroup_fd, file, CONTROL_FILE_MAX_BYTES, &now, err));
	if (!now.data || str_starts(now.data, "max"))
		return err_set(err, EPROTO, "the cgroup's %s is still unlimited after a write",
			       file);
	return 0;
}

/* Swap would let the sum grow past the limit; not every kernel accounts it. */
static int set_memory(int cgroup_fd, uint64_t bytes, struct err *err)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
	TRY(set_value(cgroup_fd, "memory.max", text, err));
	if (faccessat(cgroup_fd, "memory.swap.max", W_OK, AT_EACCESS) == 0)
		TRY(set_value(cgroup_fd, "memory.swap.max", "0", err));
	return 0;
}

int limits_cgroup_set(const struct limits_plan *plan, int cgroup_fd, struct err *err)
{
	enum { CPU_PERIOD_US = 100000 };
	char text[48];

	if (plan->by_cgroup & LIMITS_MEMORY)
		TRY(set_memory(cgroup_fd, plan->limits.memory_bytes, err));
	if (plan->by_cgroup & LIMITS_PIDS) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)plan->limits.pids);
		TRY(set_value(cgroup_fd, "pids.max", text, err));
	}
	if (plan->by_cgroup & LIMITS_CPU) {
		snprintf(text, sizeof(text), "%llu %d",
			 (unsigned long long)plan->limits.cpu_milli * (CPU_PERIOD_US / 1000),
			 CPU_PERIOD_US);
		TRY(set_value(cgroup_fd, "cpu.max", text, err));
	}
	return 0;
}

static int open_parent(const struct limits_cgroup *cgroup, struct err *err)
{
	int fd = open(cgroup->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, errno, "cannot open the cgroup %s", cgroup->parent);
	return fd;
}

/* A folder of this name that is locked; -EAGAIN when a sweep took it between mkdir and flock. */
static int make_locked(int parent_fd, const char *name, struct err *err)
{
	cleanup_fd int fd = -1;
	struct stat locked, named;

	if (mkdirat(parent_fd, name, 0755) < 0 && errno != EEXIST)
		return err_sys(err, errno, "cannot make the cgroup %s", name);
	fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -EAGAIN
				       : err_sys(err, errno, "cannot open the cgroup %s", name);
	if (flock(fd, LOCK_SH) < 0)
		return err_sys(err, errno, "cannot lock the cgroup %s", name);
	if (fstat(fd, &locked) < 0 || fstatat(parent_fd, name, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
	    locked.st_ino != named.st_ino)
		return -EAGAIN;
	return take_fd(&fd);
}

int limits_cgroup_create(const struct limits_plan *plan, const char *run_id, int *ret_fd,
			 struct err *err)
{
	cleanup_fd int parent_fd = -1, fd = -EAGAIN;
	char name[NAME_MAX + 1];

	*ret_fd = -1;
	if (!plan->by_cgroup)
		return 0;
	if (snprintf(name, sizeof(name), FOLDER_PREFIX "%s", run_id) >= (int)sizeof(name) ||
	    strchr(run_id, '/'))
		return err_set(err, EINVAL, "'%s' is no name for a cgroup", run_id);
	parent_fd = open_parent(&plan->cgroup, err);
	TRY(parent_fd);
	for (int i = 0; i < CREATE_TRIES && fd == -EAGAIN; i++)
		fd = make_locked(parent_fd, name, err);
	if (fd == -EAGAIN)
		return err_set(err, EAGAIN, "the cgroup %s was removed while it was made", name);
	TRY(fd);
	TRY(limits_cgroup_set(plan, fd, err));
	*ret_fd = take_fd(&fd);
	return 0;
}

int limits_cgroup_place(int cgroup_fd, pid_t pid, struct err *err)
{
	char text[16];
	int rc;

	if (cgroup_fd < 0)
		return 0;
	snprintf(text, sizeof(text), "%d", (int)pid);
	rc = file_write(cgroup_fd, "cgroup.procs", text);
	if (rc < 0)
		return err_sys(err, -rc, "cannot move process %d into the bottle's cgroup",
			       (int)pid);
	return 0;
}

/* ------------------------------------------------------------------------------------- removing */

/* cgroup.kill is new in 5.14; every process of the bottle is dead already when all is well. */
static int remove_folder(int parent_fd, const char *name)
{
	cleanup_fd int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (unlinkat(parent_fd, name, AT_REMOVEDIR) == 0)
		return 0;
	if (errno == EBUSY && file_write(fd, "cgroup.kill", "1") == 0 &&
	    unlinkat(parent_fd, name, AT_REMOVEDIR) == 0)
		return 0;
	return errno == ENOENT ? 0 : -errno;
}

int limits_cgroup_remove(const struct limits_plan *plan, const char *run_id, struct err *err)
{
	cleanup_fd int parent_fd = -1;
	char name[NAME_MAX + 1];
	int rc;

	if (!plan->by_cgroup)
		return 0;
	snprintf(name, sizeof(name), FOLDER_PREFIX "%s", run_id);
	parent_fd = open_parent(&plan->cgroup, err);
	TRY(parent_fd);
	rc = remove_folder(parent_fd, name);
	if (rc < 0)
		return err_sys(err, -rc,
			       "cannot remove the cgroup; `rmdir %s/%s` does it once it is empty",
			       plan->cgroup.parent, name);
	return 0;
}

/* Whether it was left by a dead launcher; the lock is held on while it is removed. */
static bool sweep_one(int parent_fd, const char *name)
{
	cleanup_fd int fd = openat(parent_fd, name,
				   O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return false;
	return unlinkat(parent_fd, name, AT_REMOVEDIR) == 0;
}

int limits_cgroup_sweep(const struct limits_cgroup *cgroup, struct err *err)
{
	cleanup_with(cleanup_dir) DIR *dir = NULL;
	const struct dirent *entry;
	int fd, count = 0;

	if (!cgroup->parent[0])
		return 0;
	fd = open_parent(cgroup, err);
	TRY(fd);
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return err_set(err, ENOMEM, "out of memory");
	}
	while ((entry = readdir(dir)))
		if (str_starts(entry->d_name, FOLDER_PREFIX) && sweep_one(fd, entry->d_name))
			count++;
	return count;
}
