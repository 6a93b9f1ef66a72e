/* SPDX-License-Identifier: Apache-2.0
 *
 * image.json: what an import worked out about an image, so that a run need not do it again.
 */
#ifndef ROOTFS_RECORD_H
#define ROOTFS_RECORD_H

#include "base/err.h"
#include "base/str.h"
#include "rootfs/image.h"

#define RECORD_NAME "image.json"

/* Counts up when the tree that an import makes, or this file, changes: images of another version
 * are imported anew. */
enum { RECORD_VERSION = 1, RECORD_MAX_BYTES = 8 * 1024 * 1024 };

int record_render(const struct image *image, struct buf *ret_text, struct err *err) MUST_CHECK;

/* Fills all but digest, root_path and lock_fd. -ESTALE for another version. */
int record_parse(const char *text, size_t len, struct image *image, struct err *err) MUST_CHECK;

#endif
