/* SPDX-License-Identifier: Apache-2.0
 *
 * What must exist in an image's root so that it can be mounted read-only and other things over it.
 */
#ifndef ROOTFS_MOUNTPOINTS_H
#define ROOTFS_MOUNTPOINTS_H

#include "base/err.h"
#include "rootfs/tree.h"

/* Makes the folders and files of the image's contract that are not there. */
int mountpoints_make(int root_fd, struct tree_trash *trash, struct err *err) MUST_CHECK;

#endif
