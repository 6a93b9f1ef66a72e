/* SPDX-License-Identifier: Apache-2.0
 * Kernel settings of a network namespace; see sysctl.h. Runs in: init. */
#include "netns/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { VALUE_BYTES = 32 };

static int read_back(int fd, const char *path, const char *value, struct err *err)
{
	char seen[VALUE_BYTES];
	ssize_t n = pread(fd, seen, sizeof(seen) - 1, 0);

	if (n < 0)
		return err_sys(err, errno, "reading back /proc/%s", path);
	seen[n] = '\0';
	seen[strcspn(seen, "\n")] = '\0';
	if (strcmp(seen, value) != 0)
		return err_set(err, EPROTO, "/proc/%s is %s, not %s", path, seen, value);
	return 0;
}

int sysctl_set(int proc_fd, const char *path, const char *value, struct err *err)
{
	cleanup_fd int fd = openat(proc_fd, path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, errno, "/proc/%s cannot be opened for writing", path);
	if (pwrite(fd, value, strlen(value), 0) < 0)
		return err_sys(err, errno, "/proc/%s cannot be set to %s", path, value);
	return read_back(fd, path, value, err);
}

int sysctl_expect(int proc_fd, const char *path, const char *value, struct err *err)
{
	cleanup_fd int fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, errno, "/proc/%s cannot be read", path);
	return read_back(fd, path, value, err);
}

bool sysctl_has_ipv6(int proc_fd)
{
	return faccessat(proc_fd, "sys/net/ipv6/conf", F_OK, 0) == 0;
}
