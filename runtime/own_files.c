/* SPDX-License-Identifier: Apache-2.0
 * Files that came with bottle; see own_files.h. Runs in: launcher, while the plan is made. */
#include "runtime/own_files.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

#include "base/cleanup.h"
#include "base/str.h"

/* Canonical, with its symbolic links resolved. */
static int program_path(char ret_path[static PATH_MAX])
{
#ifdef __APPLE__
	char named[PATH_MAX];
	uint32_t size = sizeof(named);

	if (_NSGetExecutablePath(named, &size) != 0)
		return -ENAMETOOLONG;
	return realpath(named, ret_path) ? 0 : -errno;
#else
	ssize_t n = readlink("/proc/self/exe", ret_path, PATH_MAX - 1);

	if (n < 0)
		return -errno;
	ret_path[n] = '\0';
	return 0;
#endif
}

int own_files_program_folder(char **ret_folder, struct err *err)
{
	char path[PATH_MAX];
	char *slash;
	int rc = program_path(path);

	if (rc < 0)
		return err_sys(err, -rc, "find bottle's own files: the path of the program");
	slash = strrchr(path, '/');
	if (!slash)
		return err_set(err, ENOENT, "find bottle's own files: '%s' is no path", path);
	*slash = '\0';
	*ret_folder = strdup(path);
	return *ret_folder ? 0 : err_sys(err, ENOMEM, "find bottle's own files");
}

int own_files_find(const char *const *places, const char *name, char **ret_path, struct err *err)
{
	cleanup_free char *folder = NULL;

	TRY(own_files_program_folder(&folder, err));
	for (; *places; places++) {
		cleanup_free char *path = str_printf("%s%s/%s", folder, *places, name);

		if (!path)
			return err_sys(err, ENOMEM, "find bottle's own files");
		if (access(path, F_OK) == 0) {
			*ret_path = take_ptr(path);
			return 0;
		}
	}
	return -ENOENT;
}
