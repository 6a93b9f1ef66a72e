/* SPDX-License-Identifier: Apache-2.0
 *
 * What System V IPC may take in the agent's IPC namespace; see limits.h.
 *
 * Runs in: the child that becomes the agent, before its own user namespace. Power: root of U1, which
 * owns the IPC namespace. The agent has the same id on the host and would pass for that root by its
 * uid alone; what keeps it from writing these files is that its /proc/sys is read-only.
 *
 * The kernel's defaults bound nothing: 2^64 bytes of shared memory, 32000 semaphores in each of 32000
 * sets, 32000 queues. The numbers below are those of Linux before 3.19 and 4.x, with which programs
 * that use semaphores and queues have lived; empty messages cost about 64 bytes each, so that
 * 64 queues of 16384 bytes hold 64 MiB at most.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "runtime/limits.h"

enum { PART_OF_TMP = 4 };

struct setting {
	const char *path;
	char text[32];
};

/* Numbers stand apart by tabs when they are read (proc(5)), and end with a line break. */
static bool is_same(const char *wrote, const char *reads)
{
	while (*wrote && (*wrote == *reads || (*wrote == ' ' && *reads == '\t')))
		wrote++, reads++;
	return !*wrote && strcmp(reads, "\n") == 0;
}

static int set(int proc_fd, const struct setting *setting, struct err *err)
{
	const char *path = setting->path + (proc_fd == AT_FDCWD ? 0 : sizeof("/proc/") - 1);
	cleanup_with(buf_clear) struct buf now = { 0 };
	int rc = file_write(proc_fd, path, setting->text);

	if (rc < 0)
		return err_sys(err, -rc, "cannot write %s", path);
	TRY(file_read(proc_fd, path, 64, &now, err));
	return now.data && is_same(setting->text, now.data)
		       ? 0
		       : err_set(err, EPROTO, "%s does not read back as written", path);
}

int limits_bound_ipc(const struct limits_plan *plan, int proc_fd, struct err *err)
{
	const struct limits *limits = &plan->limits;
	const uint64_t bytes = limits->memory_bytes ? limits->memory_bytes
						    : limits->tmp_bytes / PART_OF_TMP;
	const uint64_t pages = MAX(bytes / (uint64_t)sysconf(_SC_PAGESIZE), 1);
	struct setting settings[] = {
		{ .path = "/proc/sys/kernel/shmall" },
		{ .path = "/proc/sys/kernel/shmmni", .text = "4096" },
		{ .path = "/proc/sys/kernel/msgmni", .text = "64" },
		{ .path = "/proc/sys/kernel/msgmnb", .text = "16384" },
		{ .path = "/proc/sys/kernel/sem", .text = "250 32000 32 128" },
	};

	snprintf(settings[0].text, sizeof(settings[0].text), "%llu", (unsigned long long)pages);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		int rc = set(proc_fd, &settings[i], err);

		if (i == 0 && (rc == -EACCES || rc == -EPERM || rc == -ENOENT))
			return 0; /* an older kernel, or one without System V IPC */
		TRY(rc);
	}
	return 0;
}
