/* SPDX-License-Identifier: Apache-2.0
 *
 * Whiteouts: an entry ".wh.NAME" hides NAME of the lower layers, ".wh..wh..opq" everything that they
 * have in its folder (OCI image spec, layer.md). Neither hides what its own layer brings.
 */
#ifndef ROOTFS_LAYER_WHITEOUT_H
#define ROOTFS_LAYER_WHITEOUT_H

#include <stdbool.h>

#include "base/err.h"
#include "rootfs/layer.h"
#include "rootfs/layer_seen.h"
#include "rootfs/tree.h"

bool layer_whiteout_is(const char *base);

/* AUFS's own bookkeeping (.wh..wh.plnk, …), which no image means as a file: passed over. */
bool layer_whiteout_is_foreign(const struct tree_name *name);

int layer_whiteout_apply(struct layer_target *target, const struct layer_seen *seen, int parent_fd,
			 const char *base, struct err *err) MUST_CHECK;

#endif
