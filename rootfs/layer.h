/* SPDX-License-Identifier: Apache-2.0
 *
 * One layer of an image (a tar, gzip or zstd or neither, by content) laid over a tree.
 */
#ifndef ROOTFS_LAYER_H
#define ROOTFS_LAYER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sha256.h"
#include "rootfs/archive.h"
#include "rootfs/tree.h"

/* Absolute caps, over all layers of an image: they are also what stops a compression bomb. */
struct layer_limits {
	uint64_t stream_bytes; /* uncompressed tar, headers included */
	uint64_t file_bytes;   /* sum of the sizes of files, holes included */
	uint64_t entries;      /* and the folders that their names alone imply */
	uint64_t name_bytes;   /* of one layer: names kept until its end, of folders and of all */
};
extern const struct layer_limits layer_limits_default;

/* What the layers so far have used of the limits. */
struct layer_usage {
	uint64_t stream_bytes;
	uint64_t file_bytes;
	uint64_t entries;
	uint64_t skipped; /* devices, FIFOs, sockets: not made */
};

struct layer_target {
	int root_fd;		 /* the tree */
	struct tree_trash trash; /* same file system, outside the tree; emptied after each layer */
	struct layer_limits limits;
	struct layer_usage usage;
	bool has_lower; /* false for the first layer: there is nothing for whiteouts to hide */
};

/* Lays the layer over the tree and reads the blob to its very end. Digests of the bytes as stored
 * and of the uncompressed tar → ret_stored, ret_diff: the caller compares them, and throws the tree
 * away when they are not what the manifest promised. */
int layer_unpack(struct layer_target *target, const struct blob *blob,
		 uint8_t ret_stored[static SHA256_BYTES], uint8_t ret_diff[static SHA256_BYTES],
		 struct err *err) MUST_CHECK;

#endif
