/* SPDX-License-Identifier: Apache-2.0
 * The file system of a folder, as the one thing of it that state.c asks: state_fs_linux.c, state_fs_posix.c. */
#ifndef RUNTIME_STATE_FS_H
#define RUNTIME_STATE_FS_H

#include <stdbool.h>

/* NFS and the like, where flock(2) may block or lie. */
bool state_fs_is_network(int fd);

#endif
