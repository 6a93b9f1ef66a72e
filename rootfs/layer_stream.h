/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of a layer on their way from the blob to the tar parser: hashed as stored, inflated,
 * counted, hashed again. libarchive does not show the inflated stream to a caller that also wants
 * the entries, so there are two readers: one inflates ("raw" format), the other parses the tar.
 *
 *   blob → sha256 (stored digest) → gzip | zstd | as is → sha256 (diff_id), cap → tar entries
 */
#ifndef ROOTFS_LAYER_STREAM_H
#define ROOTFS_LAYER_STREAM_H

#include <stdint.h>

#include "base/err.h"
#include "base/sha256.h"
#include "rootfs/archive.h"

struct archive;
enum { LAYER_STREAM_CHUNK_BYTES = 128 * 1024 };

struct layer_stream {
	const struct blob *blob;
	uint64_t at;
	struct sha256 stored;
	struct sha256 diff;
	struct archive *inflate;
	struct archive *tar; /* the caller reads its entries from here */
	bool inflate_ended;
	uint64_t inflated_bytes;
	uint64_t max_inflated_bytes;
	struct err cause; /* what a callback found, if it was one that failed */
	char chunk[LAYER_STREAM_CHUNK_BYTES];
};

/* Heap: it is large, and libarchive keeps its address. NULL and a sentence when it cannot. */
struct layer_stream *layer_stream_open(const struct blob *blob, uint64_t max_inflated_bytes,
				       struct err *err);
void layer_stream_close(struct layer_stream **stream);

/* After the last entry: reads what follows the tar's end, so that both digests are of the whole. */
int layer_stream_finish(struct layer_stream *stream, uint8_t ret_stored[static SHA256_BYTES],
			uint8_t ret_diff[static SHA256_BYTES], struct err *err) MUST_CHECK;

/* The sentence for a failure of `tar`; returns -errno. */
int layer_stream_failed(const struct layer_stream *stream, struct err *err) MUST_CHECK;

#endif
