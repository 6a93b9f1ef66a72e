/* SPDX-License-Identifier: Apache-2.0
 *
 * Facts about the host, the cheap ones; see host.h. The search for reasons is in host_explain.c.
 *
 * Runs in: launcher. Power: the caller's; only reads.
 */
#include "runtime/host.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "runtime/landlock.h"

/* What is used of newer kernels up to this one: openat2 and close_range (5.6, 5.11), mount_setattr (5.12),
 * Landlock (5.13), RLIMIT_NPROC counted in each user namespace and cgroup.kill (5.14). */
enum { KERNEL_MIN_MAJOR = 5, KERNEL_MIN_MINOR = 15 };

static int read_kernel(struct host_facts *facts, struct err *err)
{
	struct utsname uts;

	if (uname(&uts) < 0)
		return err_sys(err, errno, "cannot ask for the kernel's version");
	if (sscanf(uts.release, "%u.%u", &facts->kernel_major, &facts->kernel_minor) != 2)
		return err_set(err, EPROTO, "the kernel's version '%s' has no number", uts.release);
	if (facts->kernel_major > KERNEL_MIN_MAJOR ||
	    (facts->kernel_major == KERNEL_MIN_MAJOR && facts->kernel_minor >= KERNEL_MIN_MINOR))
		return 0;
	return err_set(err, ENOSYS, "this kernel is Linux %u.%u; bottle needs %d.%d or newer",
		       facts->kernel_major, facts->kernel_minor, KERNEL_MIN_MAJOR,
		       KERNEL_MIN_MINOR);
}

/* The XDG base directory specification: owned by the user, mode 0700. Anything else is as none. */
static void read_runtime_dir(struct host_facts *facts)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");
	struct stat st;

	if (!dir || dir[0] != '/' || strlen(dir) >= sizeof(facts->runtime_dir))
		return;
	if (stat(dir, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
	    (st.st_mode & 077) || access(dir, W_OK) < 0)
		return;
	memcpy(facts->runtime_dir, dir, strlen(dir) + 1);
}

/* Groups beside the primary one. More than the array holds are still counted. */
static int count_groups(gid_t primary)
{
	gid_t groups[256];
	int count = getgroups(sizeof(groups) / sizeof(groups[0]), groups);
	int others = 0;

	if (count < 0)
		return getgroups(0, NULL);
	for (int i = 0; i < count; i++)
		if (groups[i] != primary)
			others++;
	return others;
}

int host_probe(struct host_facts *ret_facts, struct err *err)
{
	memset(ret_facts, 0, sizeof(*ret_facts));
	TRY(read_kernel(ret_facts, err));
	ret_facts->uid = geteuid();
	ret_facts->gid = getegid();
	ret_facts->group_count = count_groups(ret_facts->gid);
	read_runtime_dir(ret_facts);
	ret_facts->has_ipv6 = access("/proc/net/if_inet6", F_OK) == 0;
	ret_facts->landlock_abi = landlock_abi();
	return limits_find_cgroup("", &ret_facts->cgroup, err);
}

int host_find_subids(uid_t uid, struct host_subids *ret_subids, struct err *err)
{
	const struct passwd *pw = getpwuid(uid);
	const char *login = pw ? pw->pw_name : NULL;
	char name[64];

	if (login) {
		snprintf(name, sizeof(name), "%s", login);
		login = name;
	}
	for (size_t i = 0; i < 2; i++) {
		const char *helper = i ? "newgidmap" : "newuidmap";

		if (!idmap_helper_path(helper))
			return err_set(err, ENOENT,
				       "%s is not installed (Debian: package uidmap; Fedora: "
				       "shadow-utils); or use `idmap: single`, which needs none",
				       helper);
	}
	TRY(idmap_find_range("/etc/subuid", uid, login, &ret_subids->uids, err));
	return idmap_find_range("/etc/subgid", uid, login, &ret_subids->gids, err);
}

/* -------------------------------------------------------------------------------- folders */

/* File systems over a network or in user space: root of a user namespace is nobody there, locks may
 * not hold, and a server may refuse what the client's kernel allows. */
static const struct {
	unsigned long magic;
	const char *name;
} remote_systems[] = {
	{ 0x6969, "NFS" },	{ 0xff534d42, "CIFS" },	  { 0xfe534d42, "SMB" },
	{ 0x01021997, "9p" },	{ 0x65735546, "FUSE" },	  { 0x5346414f, "AFS" },
	{ 0x00c36400, "Ceph" }, { 0x0bd00bd0, "Lustre" }, { 0x47504653, "GPFS" },
};

/* The nearest ancestor that is there already: a folder is judged before it is made. */
static int existing_ancestor(const char *path, char *ret, size_t size)
{
	struct stat st;
	char *slash;

	if (strlen(path) >= size)
		return -ENAMETOOLONG;
	memcpy(ret, path, strlen(path) + 1);
	while (stat(ret, &st) < 0) {
		if (errno != ENOENT)
			return -errno;
		slash = strrchr(ret, '/');
		if (!slash)
			return -ENOENT;
		*(slash == ret ? slash + 1 : slash) = '\0';
	}
	return 0;
}

int host_check_dir(const char *path, bool must_exec, struct err *err)
{
	char nearest[PATH_MAX];
	struct statvfs flags;
	struct statfs kind;
	int rc = existing_ancestor(path, nearest, sizeof(nearest));

	if (rc < 0)
		return err_sys(err, -rc, "cannot use the folder %s", path);
	if (statvfs(nearest, &flags) < 0 || statfs(nearest, &kind) < 0)
		return err_sys(err, errno, "cannot ask for the file system of %s", nearest);
	if (must_exec && (flags.f_flag & ST_NOEXEC))
		return err_set(err, EACCES,
			       "%s lies on a file system mounted noexec, so nothing in it can be "
			       "executed; set XDG_DATA_HOME to a folder on another one",
			       path);
	for (size_t i = 0; i < sizeof(remote_systems) / sizeof(remote_systems[0]); i++)
		if ((unsigned long)kind.f_type == remote_systems[i].magic) {
			err_set(err, EREMOTE,
				"%s lies on %s, where ids of a user namespace and locks may not "
				"hold; set XDG_DATA_HOME and XDG_STATE_HOME to a local folder",
				path, remote_systems[i].name);
			return 1;
		}
	return 0;
}

int host_try_dir(const char *path, const char *variable, struct err *err)
{
	char nearest[PATH_MAX];
	cleanup_free char *probe = NULL;
	int rc = existing_ancestor(path, nearest, sizeof(nearest));

	if (rc < 0)
		return err_folder(err, -rc, variable, "cannot use the folder %s", path);
	/* access(2) would do for most; what a run does is asked of the kernel and a file server alike. */
	probe = str_printf("%s/.bottle-doctor-%d", nearest, (int)getpid());
	if (!probe)
		return err_sys(err, ENOMEM, "%s", path);
	if (mkdir(probe, 0700) < 0)
		return err_folder(err, errno, variable, "%s: nothing can be made in %s", path,
				  nearest);
	return rmdir(probe) < 0 ? err_sys(err, errno, "%s", probe) : 0;
}
