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

/* Zero-initialise; filled by image_find, emptied by image_clear. */
struct image {
	char *digest;	 /* "sha256:<64 hex>", of the image's configuration, as Docker's image ID */
	char *root_path; /* absolute path of the unpacked root */
	struct strlist argv; /* Entrypoint + Cmd, never empty */
	struct strlist env;  /* "NAME=value" */
	char *workdir;	     /* absolute; "/" when the image says nothing */
	char *user;	     /* USER as the image wrote it; "" when it says nothing (then root) */
	uint32_t uid,
		gid; /* USER, resolved: numeric as is, a name in the image's own passwd, opened
			    * inside the root */
	bool knows_listen_fds;	  /* label bottle.listen-fds=1 */
	bool knows_ready_fd;	  /* label bottle.ready-fd=1 */
	bool knows_gate_fd;	  /* label bottle.gate-fd=1 */
	struct strlist labels;	  /* "KEY=value", all of them */
	uint64_t size_bytes;	  /* of the regular files, as unpacked */
	uint64_t skipped_entries; /* devices, FIFOs and sockets that were left out */
	int lock_fd; /* > 0: a shared flock that keeps `image remove` away until image_clear; held by
		      * the open file, so it dies with the last process that has it. 0: none */
};

/* Frees the contents and gives the lock up. Safe on a zero-initialised image. */
void image_clear(struct image *image);

/* The value of a label, borrowed from the image, or NULL. */
const char *image_label(const struct image *image, const char *key);
bool image_has_label(const struct image *image, const char *key, const char *value);

/* The name of the proxy image that comes with bottle: image_import gives it to none. */
#define IMAGE_OWN_NAME "native"

/* Imports an archive (path of a tar, of an OCI layout folder, or "-" for a tar on stdin) under
 * `tag` (NULL: the name inside the archive) into the store at `data_dir` (absolute; created).
 * Atomic: another import or a kill at any moment leaves a whole image or none, and what a killed
 * import left behind is swept by the next. Digest → *ret_digest and the tag it now has → *ret_tag
 * (both owned; ret_tag may be NULL). A tag that would be taken for another image is refused: the
 * name of bottle's own, and what reads as a digest or the beginning of one. */
int image_import(const char *data_dir, const char *archive, const char *tag, char **ret_digest,
		 char **ret_tag, struct err *err) MUST_CHECK;

/* As image_import, of the image `digest` alone: an archive that holds another one changes nothing
 * (-ESTALE). The image that had the tag before goes, where it has no other tag and no run uses it. */
int image_import_exact(const char *data_dir, const char *archive, const char *tag,
		       const char *digest, struct err *err) MUST_CHECK;

/* What image_find would find after image_import_exact, and nothing is written: the root is not there yet, no
 * lock is held, and of USER only what it says in numbers is known. The layers are not looked at. */
int image_preview_exact(const char *data_dir, const char *archive, const char *digest,
			struct image *ret_image, struct err *err) MUST_CHECK;

/* Finds an image by tag ("name" means "name:latest"), "sha256:<hex>" or a unique hex prefix (≥ 6)
 * and takes its shared lock. -ENOENT with a sentence that says how to import one. Cheap: this is on
 * the start path of every run, and reads what the import had worked out. */
int image_find(const char *data_dir, const char *name, struct image *ret_image,
	       struct err *err) MUST_CHECK;

/* Calls `each` for every tag in order of name, then with tag NULL for images that have none.
 * `image` is borrowed; of one that cannot be read only the digest is set. */
int image_list(const char *data_dir,
	       void (*each)(void *ctx, const char *tag, const struct image *image), void *ctx,
	       struct err *err) MUST_CHECK;

/* By tag: takes the tag away, and the tree with its last tag. By digest: the tree and all its tags.
 * -EBUSY, and nothing has changed, while a run uses a tree that would go. */
int image_remove(const char *data_dir, const char *name, struct err *err) MUST_CHECK;

#endif
