/* SPDX-License-Identifier: Apache-2.0
 *
 * The caller's subordinate ids: /etc/subuid, /etc/subgid, newuidmap and newgidmap; see idmap.h.
 *
 * Runs in: launcher, before it sets no_new_privs (the helpers are setuid or have file capabilities).
 * Power: the caller's. The helpers are executed by absolute path from a fixed list, with an empty
 * environment and nothing open but their stderr, which becomes part of the error's sentence.
 */
#include "runtime/idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

enum { SUBID_FILE_MAX_BYTES = 1 << 20, HELPER_OUTPUT_MAX_BYTES = 512 };

/* Parses "who:first:count". Returns whether the line is well formed and belongs to the caller. */
static bool line_range(char *line, const char *number, const char *login, struct idmap_range *ret)
{
	unsigned long long first, count;
	char *save = NULL;
	const char *who = strtok_r(line, ":", &save);
	const char *first_text = strtok_r(NULL, ":", &save);
	const char *count_text = strtok_r(NULL, ":", &save);

	if (!who || !first_text || !count_text || *save)
		return false;
	if (strcmp(who, number) != 0 && (!login || strcmp(who, login) != 0))
		return false;
	if (str_to_u64(first_text, 1, UINT32_MAX - 1, &first) < 0 ||
	    str_to_u64(count_text, 1, UINT32_MAX - first, &count) < 0)
		return false;
	*ret = (struct idmap_range){ .first = (uint32_t)first, .count = (uint32_t)count };
	return true;
}

int idmap_find_range(const char *path, uid_t uid, const char *login, struct idmap_range *ret_range,
		     struct err *err)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	struct idmap_range best = { 0 }, range;
	char number[16], *save = NULL;

	TRY(file_read(AT_FDCWD, path, SUBID_FILE_MAX_BYTES, &text, err));
	snprintf(number, sizeof(number), "%u", uid);
	for (char *line = text.data ? strtok_r(text.data, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save))
		if (line_range(line, number, login, &range) && range.count > best.count)
			best = range;
	if (!best.count)
		return err_set(
			err, ENOENT,
			"%s has no range for %s (uid %u); an administrator adds one with "
			"`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s`, "
			"or use `idmap: single`, which needs none",
			path, login ? login : number, uid, login ? login : number);
	*ret_range = best;
	return 0;
}

const char *idmap_helper_path(const char *name)
{
	static const char *const places[][2] = {
		{ "newuidmap", "/usr/bin/newuidmap" },
		{ "newgidmap", "/usr/bin/newgidmap" },
		{ "newuidmap", "/bin/newuidmap" },
		{ "newgidmap", "/bin/newgidmap" },
		{ "newuidmap", "/run/wrappers/bin/newuidmap" }, /* NixOS */
		{ "newgidmap", "/run/wrappers/bin/newgidmap" },
		{ "newuidmap", "/usr/local/bin/newuidmap" },
		{ "newgidmap", "/usr/local/bin/newgidmap" },
	};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (strcmp(places[i][0], name) == 0 && access(places[i][1], X_OK) == 0)
			return places[i][1];
	return NULL;
}

static _Noreturn void helper_child(const char *path, char *const argv[], int error_fd)
{
	static char *const no_environment[] = { NULL };
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(null_fd, 1) < 0 || dup2(error_fd, 2) < 0)
		_exit(126);
	if (fd_close_except(NULL, 0) < 0)
		_exit(126);
	execve(path, argv, no_environment);
	_exit(127);
}

/* Runs one helper to its end. */
static int run_helper(const char *path, char *const argv[], struct err *err)
{
	cleanup_with(buf_clear) struct buf said = { 0 };
	cleanup_fd int reader = -1, writer = -1;
	char shown[256];
	int fds[2], status;
	pid_t child;

	TRY(fd_pipe(fds));
	reader = fds[0];
	writer = fds[1];
	child = fork();
	if (child < 0)
		return err_fork(err, errno, "cannot fork for %s", path);
	if (child == 0)
		helper_child(path, argv, writer);
	fd_close(&writer);
	(void)!fd_read_all(reader, HELPER_OUTPUT_MAX_BYTES, &said);
	fd_close(&reader);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(err, errno, "cannot wait for %s", path);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return err_set(err, EPERM, "%s refused the id map: %s", path,
		       said.len ? str_escape(shown, sizeof(shown), said.data, said.len)
				: "it said "
				  "nothing");
}

/* `0 <- own, 1.. <- range` by one helper. */
static int map_with_helper(const char *name, pid_t pid, unsigned own,
			   const struct idmap_range *range, struct err *err)
{
	const char *path = idmap_helper_path(name);
	char text[4][16];

	if (!path)
		return err_set(
			err, ENOENT,
			"%s is not installed (Debian: package uidmap; Fedora: shadow-utils); "
			"or use `idmap: single`",
			name);
	snprintf(text[0], sizeof(text[0]), "%d", (int)pid);
	snprintf(text[1], sizeof(text[1]), "%u", own);
	snprintf(text[2], sizeof(text[2]), "%u", range->first);
	snprintf(text[3], sizeof(text[3]), "%u", range->count);
	return run_helper(
		path,
		(char *[]){ (char *)name, text[0], "0", text[1], "1", "1", text[2], text[3], NULL },
		err);
}

static int check_two_lines(pid_t pid, const char *file, unsigned own,
			   const struct idmap_range *range, struct err *err)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	unsigned got[6] = { 0 };
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	TRY(file_read(AT_FDCWD, path, 4096, &text, err));
	if (!text.data ||
	    sscanf(text.data, "%u %u %u %u %u %u", &got[0], &got[1], &got[2], &got[3], &got[4],
		   &got[5]) != 6 ||
	    got[0] != 0 || got[1] != own || got[2] != 1 || got[3] != 1 || got[4] != range->first ||
	    got[5] != range->count)
		return err_set(err, EPROTO, "%s does not hold what the helper was told", path);
	return 0;
}

int idmap_write_subid(pid_t pid, uid_t uid, gid_t gid, const struct idmap_range *uids,
		      const struct idmap_range *gids, struct err *err)
{
	TRY(map_with_helper("newuidmap", pid, uid, uids, err));
	TRY(map_with_helper("newgidmap", pid, gid, gids, err));
	TRY(check_two_lines(pid, "uid_map", uid, uids, err));
	return check_two_lines(pid, "gid_map", gid, gids, err);
}
