/* SPDX-License-Identifier: Apache-2.0
 *
 * Places in a root that is being put together: opened, and made where they are missing. Every
 * symlink on the way is resolved inside that root, as it will be once the root is entered.
 */
#ifndef RUNTIME_MOUNT_PLACE_H
#define RUNTIME_MOUNT_PLACE_H

#include <limits.h>
#include <stdbool.h>

#include "base/err.h"

/* Opens the folder that holds the last component of `path`; with `make`, missing folders are made
 * (0755). The name of that component goes to name[]. Returns a descriptor or -errno. */
int mount_place_parent(int root_fd, const char *path, bool make,
		       char name[static NAME_MAX + 1]) MUST_CHECK;

/* Opens the mount point `at` (O_PATH); with `make`, an empty file or folder is made where there is
 * none. Returns a descriptor or -errno. */
int mount_place_open(int root_fd, const char *at, bool make, bool folder) MUST_CHECK;

#endif
