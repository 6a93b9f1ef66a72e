/* SPDX-License-Identifier: Apache-2.0
 *
 * What the layer being unpacked has put where. A whiteout hides what lower layers brought and never
 * what its own layer brings, whichever of the two comes first in the tar (OCI image spec, "Whiteouts").
 * The key is the folder's inode number and the name: a path would not do, since a folder can have
 * several (bin and usr/bin).
 */
#ifndef ROOTFS_LAYER_SEEN_H
#define ROOTFS_LAYER_SEEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct layer_seen {
	void *root;	     /* tsearch(3) */
	char *last_path;     /* entries of one folder follow each other */
	uint64_t room_bytes; /* what names may still take; -E2BIG past it */
};

void layer_seen_clear(struct layer_seen *seen);
int layer_seen_add(struct layer_seen *seen, int dir_fd, const char *name) MUST_CHECK;

/* Adds every name on the way to folder `path` (relative, of tree_name_split). */
int layer_seen_add_path(struct layer_seen *seen, int root_fd, const char *path) MUST_CHECK;

/* 1, 0 or -errno. */
int layer_seen_has(const struct layer_seen *seen, int dir_fd, const char *name) MUST_CHECK;

#endif
