/* SPDX-License-Identifier: Apache-2.0
 *
 * Where images lie, and how several imports, removals and runs share that place.
 *
 *   <data>/tags/<name>                 "sha256:<hex>\n"; "/" in a name is written "%2F"
 *   <data>/images/lock                 flock: held while names change, never while unpacking
 *   <data>/images/tmp-XXXXXXXX/        an import under way (or a removal): its `lock` is held
 *   <data>/images/sha256/<hex>/        an image: rootfs/, config.json, image.json, lock
 *
 * An import fills a tmp folder, syncs it and renames it; a removal renames first and deletes then.
 * So what stands under its digest is whole at every moment. Who lives is told by flock alone, which
 * the kernel drops with the process: a tmp folder whose lock can be had belongs to nobody.
 */
#ifndef ROOTFS_STORE_H
#define ROOTFS_STORE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/sha256.h"
#include "base/str.h"
#include "rootfs/tree.h"

/* Checks a name and gives its whole form ("egress-proxy" → "egress-proxy:latest"), owned. */
int store_tag_normalise(const char *name, char **ret_tag, struct err *err) MUST_CHECK;

/* Zero-initialise; descriptors are > 0. */
struct store {
	const char *dir; /* borrowed */
	int images_fd;	 /* <data>/images */
	int digests_fd;	 /* <data>/images/sha256 */
	int tags_fd;	 /* <data>/tags */
	int lock_fd;	 /* > 0 while store_lock holds it */
};

/* Opens the store; where it does not exist, makes it or (`create` false) returns -ENOENT without a
 * sentence. */
int store_open(const char *data_dir, bool create, struct store *ret_store,
	       struct err *err) MUST_CHECK;
void store_close(struct store *store);

/* Waits for the store's lock. Names change only under it. */
int store_lock(struct store *store, struct err *err) MUST_CHECK;
void store_unlock(struct store *store);

/* Deletes the tmp folders of the dead. Under the lock. */
int store_sweep(struct store *store, struct err *err) MUST_CHECK;

/* A tmp folder of our own. Zero-initialise. */
struct stage {
	const struct store *store; /* borrowed */
	char name[16];		   /* "" once it was published */
	int fd;			   /* > 0 */
	int lock_fd;
	int root_fd; /* its rootfs/ */
	struct tree_trash trash;
};

/* Makes one. Under the lock, which may be given up afterwards. */
int stage_open(const struct store *store, struct stage *ret_stage, struct err *err) MUST_CHECK;

/* Deletes what was not published. */
void stage_close(struct stage *stage);

/* Writes a file into the stage (not into its rootfs). */
int stage_write(const struct stage *stage, const char *name, const struct buf *text,
		struct err *err) MUST_CHECK;

/* Syncs and puts the stage in its place. Under the lock. -EEXIST when the digest stands already. */
int stage_publish(struct stage *stage, const char *hex, struct err *err) MUST_CHECK;

/* Opens an image's folder and takes its shared lock (both > 0). -ENOENT without a sentence when
 * there is none, also when it is being removed. */
int store_open_image(const struct store *store, const char *hex, int *ret_fd, int *ret_lock_fd,
		     struct err *err) MUST_CHECK;

/* Moves the image out of sight and deletes it; -EBUSY while a run holds it. Under the lock. */
int store_remove_image(struct store *store, const char *hex, struct err *err) MUST_CHECK;

/* All digests in the store (64 hex digits each), sorted. */
int store_list_images(const struct store *store, struct strlist *ret_hex,
		      struct err *err) MUST_CHECK;

/* Tags; `tag` is normalised. store_tag_read: -ENOENT without a sentence when there is none. */
int store_tag_read(const struct store *store, const char *tag,
		   char ret_hex[static SHA256_HEX_BYTES], struct err *err) MUST_CHECK;
int store_tag_write(const struct store *store, const char *tag, const char *hex,
		    struct err *err) MUST_CHECK;
int store_tag_remove(const struct store *store, const char *tag, struct err *err) MUST_CHECK;
int store_tag_list(const struct store *store, struct strlist *ret_tags,
		   struct err *err) MUST_CHECK; /* sorted */

#endif
