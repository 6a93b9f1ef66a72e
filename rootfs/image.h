/* SPDX-License-Identifier: Apache-2.0
 *
 * Proxy images: imported once from a `docker save` tar or an OCI layout, verified by digest,
 * unpacked to <data>/images/sha256/<config digest>/rootfs, served from there by later runs.
 */
#ifndef ROOTFS_IMAGE_H
#define ROOTFS_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct image {
	char *digest;     /* "sha256:<64 hex>", of the image's configuration, as Docker's image ID */
	char *root_path;  /* absolute path of the unpacked root */
	struct strlist argv; /* Entrypoint + Cmd */
	struct strlist env;  /* "NAME=value" */
	char *workdir;    /* "/" when the image says nothing */
	uint32_t uid, gid; /* USER, resolved: numeric as is, a name in the image's own passwd, opened
	                    * inside the root */
	bool knows_listen_fds; /* label bottle.listen-fds=1 */
	bool knows_ready_fd;   /* label bottle.ready-fd=1 */
};

void image_clear(struct image *image);

/* Imports an archive (path of a tar, of an OCI layout folder, or "-" for a tar on stdin) under
 * `tag` (NULL: the name inside the archive) into the store at `data_dir` (created). Atomic: another
 * import or a kill at any moment leaves a whole image or none. Digest → *ret_digest (owned). */
int image_import(const char *data_dir, const char *archive, const char *tag, char **ret_digest,
		 struct err *err) MUST_CHECK;

/* Finds an image by tag, "sha256:<hex>" or a unique hex prefix. -ENOENT with a sentence that says
 * how to import one. Cheap: this is on the start path of every run. */
int image_find(const char *data_dir, const char *name, struct image *ret_image,
	       struct err *err) MUST_CHECK;

/* Calls `each` for every tag; and removes one (the tree goes when its last tag does). */
int image_list(const char *data_dir, void (*each)(void *ctx, const char *tag, const char *digest),
	       void *ctx, struct err *err) MUST_CHECK;
int image_remove(const char *data_dir, const char *name, struct err *err) MUST_CHECK;

#endif
