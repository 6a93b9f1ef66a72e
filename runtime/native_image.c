/* SPDX-License-Identifier: Apache-2.0
 * The native proxy's image; see native_image.h. Runs in: launcher, while the plan is made. Writes to the
 * image store and nowhere else.
 *
 * The archive lies where `make install` puts it, or beside the program in the build tree. Whose file
 * that is does not matter: only the image with the digest that is compiled in is taken out of it. */
#include "runtime/native_image.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "native_digest.h"

/* Another bottle may move the tag, and with it remove our image, between its import and its use. */
enum { IMPORTS_MAX = 3 };

static int foreign_archive(int rc, const char *path, struct err *err)
{
	if (rc == -ESTALE)
		return err_set(err, ESTALE,
			       "%s: not the native proxy that this bottle was built with; install "
			       "both from one build",
			       path);
	return rc < 0 ? err_context(err, rc, "the native proxy's image") : 0;
}

static int import(const char *data_dir, struct err *err)
{
	cleanup_free char *path = NULL;

	TRY(native_archive_find(&path, err));
	return foreign_archive(
		image_import_exact(data_dir, path, NATIVE_IMAGE_NAME, NATIVE_IMAGE_DIGEST, err),
		path, err);
}

static int preview(const char *data_dir, struct image *ret_image, struct err *err)
{
	cleanup_free char *path = NULL;

	TRY(native_archive_find(&path, err));
	return foreign_archive(
		image_preview_exact(data_dir, path, NATIVE_IMAGE_DIGEST, ret_image, err), path,
		err);
}

int native_image_look(const char *data_dir, struct image *ret_image, struct err *err)
{
	return NATIVE_IMAGE_DIGEST[0] ? image_find(data_dir, NATIVE_IMAGE_DIGEST, ret_image, err)
				      : -ENOENT;
}

int native_image_find(const char *data_dir, bool may_import, struct image *ret_image,
		      struct err *err)
{
	if (!NATIVE_IMAGE_DIGEST[0])
		return err_set(err, ENOENT,
			       "this bottle was built without its native proxy; say proxy.image");
	for (int i = 0;; i++) {
		int rc = image_find(data_dir, NATIVE_IMAGE_DIGEST, ret_image, err);

		if (i == IMPORTS_MAX || (rc != -ENOENT && rc != -ESTALE && rc != -EBADMSG))
			return rc;
		if (!may_import)
			return preview(data_dir, ret_image, err);
		TRY(import(data_dir, err));
	}
}
