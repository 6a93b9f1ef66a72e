/* SPDX-License-Identifier: Apache-2.0
 *
 * Which image of an archive is meant, and of what it consists: its configuration (verified) and its
 * layers in order. Two formats: an OCI layout (index.json, also what `docker save` writes since 25)
 * and the older manifest.json of `docker save`.
 */
#ifndef ROOTFS_SOURCE_H
#define ROOTFS_SOURCE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sha256.h"
#include "base/str.h"
#include "rootfs/archive.h"

enum {
	SOURCE_JSON_MAX_BYTES = 4 * 1024 * 1024, /* what registries accept as a manifest */
	SOURCE_LAYERS_MAX = 128,		 /* Docker's own limit is 127 */
	SOURCE_INDEX_MAX = 1024,		 /* images in one index */
	SOURCE_INDEX_DEPTH_MAX = 4,
};

/* What a manifest says of a blob. */
struct descriptor {
	char *blob_name;	    /* its name in the archive */
	char hex[SHA256_HEX_BYTES]; /* "" where the format gives no digest of the stored bytes */
	bool size_is_known;
	uint64_t size;
};

/* Zero-initialise. */
struct source {
	char *name; /* what the archive calls the image, or NULL */
	char config_hex[SHA256_HEX_BYTES];
	struct buf config_json;
	struct descriptor *layers;
	size_t layer_count;
};

void source_clear(struct source *source);

/* Chooses by platform (this program's) and, where the archive holds several images, by name. */
int source_select(const struct image_archive *archive, const char *wanted_name,
		  struct source *ret_source, struct err *err) MUST_CHECK;

/* Opens a blob and checks that it has the size that was promised; whoever reads it checks the
 * digest, with one of the two below. */
int source_open(const struct image_archive *archive, const struct descriptor *descriptor,
		struct blob *ret_blob, struct err *err) MUST_CHECK;
int source_check_digest(const struct image_archive *archive, const char *blob_name,
			const char *what, const char *expected_hex, const char *found_hex,
			struct err *err) MUST_CHECK;

/* Reads the whole blob for its digest. */
int source_verify(const struct image_archive *archive, const struct descriptor *descriptor,
		  const struct blob *blob, struct err *err) MUST_CHECK;

/* The GOARCH name of this program's processor. */
const char *source_architecture(void);

/* Shared by the two formats. */

/* Strict JSON with a size limit, duplicate keys refused. */
int source_parse_json(const struct image_archive *archive, const char *blob_name,
		      const struct buf *text, json_t **ret_json, struct err *err) MUST_CHECK;

/* Opens, reads, checks size and digest. */
int source_read(const struct image_archive *archive, const struct descriptor *descriptor,
		struct buf *ret_text, struct err *err) MUST_CHECK;
void descriptor_clear(struct descriptor *descriptor);
int source_add_layer(struct source *source, const struct image_archive *archive,
		     struct descriptor *take, struct err *err) MUST_CHECK;

int source_select_oci(const struct image_archive *archive, const char *wanted_name,
		      struct source *ret_source, struct err *err) MUST_CHECK;
/* The name that manifest.json, where there is one, gives to the image with this configuration. An
 * archive of both formats has names without a host there, as its maker's user wrote them, and whole
 * ones in index.json. */
int source_docker_name(const struct image_archive *archive, const char *config_hex, char **ret_name,
		       struct err *err) MUST_CHECK;
int source_select_docker(const struct image_archive *archive, const char *wanted_name,
			 struct source *ret_source, struct err *err) MUST_CHECK;

#endif
