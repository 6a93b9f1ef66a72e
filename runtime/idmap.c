/* SPDX-License-Identifier: Apache-2.0
 *
 * Identity; see idmap.h for the picture and the traps.
 *
 * Runs in: launcher (subid), init (single), and the child that becomes proxy or agent
 * (idmap_enter_role). Power: the caller's own id; in a role's child, all of U1.
 *
 * idmap_enter_role() under `subid` first becomes uid 1 of U1 and only then unshares, rather than
 * mapping uid 1 from uid 0 afterwards: a process may always map its own id, but after the unshare it
 * has no CAP_SETUID in U1 any more with which to map another.
 */
#include "runtime/idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

enum {
	MAP_FILE_MAX_BYTES = 4096,
	INOTIFY_PART = 4 /* of the host's limits: what one role gets */
};

/* "self/uid_map" or "1234/uid_map", below /proc. */
static int proc_path(char *out, size_t size, int proc_fd, pid_t pid, const char *file)
{
	const char *top = proc_fd == AT_FDCWD ? "/proc/" : "";
	int n = pid ? snprintf(out, size, "%s%d/%s", top, (int)pid, file)
		    : snprintf(out, size, "%sself/%s", top, file);

	return n > 0 && (size_t)n < size ? 0 : -ENAMETOOLONG;
}

static int write_proc(int proc_fd, pid_t pid, const char *file, const char *text, struct err *err)
{
	char path[64];
	int rc;

	TRY(proc_path(path, sizeof(path), proc_fd, pid, file));
	rc = file_write(proc_fd, path, text);
	if (rc < 0)
		return err_sys(err, -rc, "cannot write '%s' to %s", text, path);
	return 0;
}

static int check_map(int proc_fd, pid_t pid, const char *file, unsigned inside, unsigned outside,
		     struct err *err)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	unsigned got_inside = 0, got_outside = 0, count = 0;
	char path[64];

	TRY(proc_path(path, sizeof(path), proc_fd, pid, file));
	TRY(file_read(proc_fd, path, MAP_FILE_MAX_BYTES, &text, err));
	if (!text.data || strchr(text.data, '\n') != strrchr(text.data, '\n') ||
	    sscanf(text.data, "%u %u %u", &got_inside, &got_outside, &count) != 3 ||
	    got_inside != inside || got_outside != outside || count != 1)
		return err_set(err, EPROTO, "%s does not hold the one line that was written", path);
	return 0;
}

static int write_single(int proc_fd, pid_t pid, const struct idmap_single *map, struct err *err)
{
	char line[48];

	TRY(write_proc(proc_fd, pid, "setgroups", "deny", err));
	snprintf(line, sizeof(line), "%u %u 1", map->inside_uid, map->outside_uid);
	TRY(write_proc(proc_fd, pid, "uid_map", line, err));
	snprintf(line, sizeof(line), "%u %u 1", map->inside_gid, map->outside_gid);
	return write_proc(proc_fd, pid, "gid_map", line, err);
}

/* The read-back shows what the reader's own namespace calls the outer id, which for a process reading
 * its own map is the parent's name for it; that holds for a parent reading its child's, too. */
static int check_single(int proc_fd, pid_t pid, const struct idmap_single *map, struct err *err)
{
	TRY(check_map(proc_fd, pid, "uid_map", map->inside_uid, map->outside_uid, err));
	return check_map(proc_fd, pid, "gid_map", map->inside_gid, map->outside_gid, err);
}

int idmap_write_single(int proc_fd, pid_t pid, const struct idmap_single *map, struct err *err)
{
	int was_dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
	int rc;

	if (pid == 0)
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	rc = write_single(proc_fd, pid, map, err);
	if (rc == 0)
		rc = check_single(proc_fd, pid, map, err);
	if (pid == 0 && was_dumpable != 1)
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return rc;
}

/* Every credential change clears the parent-death signal; a parent that died in the gap is seen by
 * the changed parent id. */
static int restore_pdeathsig(int signal, pid_t parent, struct err *err)
{
	if (signal && prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0) < 0)
		return err_sys(err, errno, "cannot set the parent-death signal again");
	if (getppid() != parent)
		return err_set(err, ESRCH, "the parent process died meanwhile");
	return 0;
}

/* Uid first would lose CAP_SETGID with the uid; no capability is needed after this but the new
 * namespace's, so none is kept. */
static int become_outer(const struct idmap_role *role, struct err *err)
{
	if (role->outer_uid == geteuid() && role->outer_gid == getegid())
		return 0;
	if (setgroups(0, NULL) < 0)
		return err_sys(err, errno, "cannot leave the supplementary groups");
	if (setresgid(role->outer_gid, role->outer_gid, role->outer_gid) < 0)
		return err_sys(err, errno, "cannot become gid %u", role->outer_gid);
	if (setresuid(role->outer_uid, role->outer_uid, role->outer_uid) < 0)
		return err_sys(err, errno, "cannot become uid %u", role->outer_uid);
	return 0;
}

static int unshare_and_map(int proc_fd, const struct idmap_role *role, struct err *err)
{
	const struct idmap_single map = {
		.inside_uid = role->inside_uid,
		.outside_uid = role->outer_uid,
		.inside_gid = role->inside_gid,
		.outside_gid = role->outer_gid,
	};

	if (unshare(CLONE_NEWUSER) < 0)
		return err_sys(err, errno, "cannot make a user namespace below the bottle's");
	TRY(idmap_write_single(proc_fd, 0, &map, err));
	if (getuid() != role->inside_uid || geteuid() != role->inside_uid ||
	    getgid() != role->inside_gid || getegid() != role->inside_gid)
		return err_set(err, EPROTO,
			       "became %u:%u in the new user namespace instead of %u:%u", geteuid(),
			       getegid(), role->inside_uid, role->inside_gid);
	return 0;
}

/* The limit belongs to the namespace of whoever opens the file, and only CAP_SYS_RESOURCE in it can
 * raise it again. The attempt has its effect if it works, so the caller must not go on then. */
static int forbid_nested(int proc_fd, struct err *err)
{
	static const char file[] = "sys/user/max_user_namespaces";
	cleanup_with(buf_clear) struct buf text = { 0 };
	const char *path = proc_fd == AT_FDCWD ? "/proc/sys/user/max_user_namespaces" : file;
	int rc = file_write(proc_fd, path, "0\n");

	if (rc < 0)
		return err_sys(err, -rc, "cannot switch nested user namespaces off (%s)", path);
	TRY(file_read(proc_fd, path, 64, &text, err));
	if (!text.data || strcmp(text.data, "0\n") != 0)
		return err_set(err, EPROTO, "%s does not read 0 after it was written", path);
	if (unshare(CLONE_NEWUSER) == 0)
		return err_set(err, EPROTO, "a nested user namespace can still be made");
	if (errno != ENOSPC)
		return err_sys(err, errno,
			       "a nested user namespace was refused for another reason");
	return 0;
}

static int read_number(int proc_fd, const char *path, uint64_t *ret_value, struct err *err)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	char *end;

	TRY(file_read(proc_fd, path, 64, &text, err));
	if (!text.data)
		return err_set(err, EPROTO, "%s is empty", path);
	*ret_value = strtoull(text.data, &end, 10);
	return end == text.data ? err_set(err, EPROTO, "%s holds no number", path) : 0;
}

/* inotify(7) counts for each user of the host. An instance is charged in every user namespace up to
 * the first, against the limit of each (since Linux 4.10), so one that holds in the role's own leaves
 * the rest of the host's to the user's other programs. */
static int limit_inotify(int proc_fd, struct err *err)
{
	static const struct {
		const char *host, *own;
	} limits[] = {
		{ "/proc/sys/fs/inotify/max_user_instances",
		  "/proc/sys/user/max_inotify_instances" },
		{ "/proc/sys/fs/inotify/max_user_watches", "/proc/sys/user/max_inotify_watches" },
	};
	size_t top = proc_fd == AT_FDCWD ? 0 : sizeof("/proc/") - 1;

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		const char *own = limits[i].own + top;
		uint64_t most, now;
		char text[24];
		int rc;

		if (faccessat(proc_fd, own, F_OK, 0) < 0 && errno == ENOENT)
			return 0; /* a kernel without inotify */
		TRY(read_number(proc_fd, limits[i].host + top, &most, err));
		most = MAX(most / INOTIFY_PART, 1);
		snprintf(text, sizeof(text), "%llu\n", (unsigned long long)most);
		rc = file_write(proc_fd, own, text);
		if (rc < 0)
			return err_sys(err, -rc, "cannot write %s", own);
		TRY(read_number(proc_fd, own, &now, err));
		if (now != most)
			return err_set(err, EPROTO, "%s does not read back as written", own);
	}
	return 0;
}

int idmap_enter_role(int proc_fd, const struct idmap_role *role, struct err *err)
{
	int signal = 0;
	int was_dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
	pid_t parent = getppid();

	prctl(PR_GET_PDEATHSIG, &signal, 0, 0, 0);
	TRY(become_outer(role, err));
	TRY(unshare_and_map(proc_fd, role, err));
	if (!role->nested_ok)
		TRY(forbid_nested(proc_fd, err));
	TRY(limit_inotify(proc_fd, err));
	prctl(PR_SET_DUMPABLE, was_dumpable == 1 ? 1 : 0, 0, 0, 0);
	return restore_pdeathsig(signal, parent, err);
}
