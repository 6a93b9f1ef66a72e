/* SPDX-License-Identifier: Apache-2.0
 * The native proxy's image; see native_image.h. Runs in: launcher, while the plan is made. Writes to the
 * image store and nowhere else.
 *
 * The archive lies where `make install` puts it, or beside the program in the build tree. Whose file
 * that is does not matter: only the image with the digest that is compiled in is taken out of it. */
#include "runtime/native_image.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "native_digest.h"

#define ARCHIVE_NAME "native.oci.tar"

/* Another bottle may move the tag, and with it remove our image, between its import and its use. */
enum { IMPORTS_MAX = 3 };

bool native_image_is_name(const char *name)
{
	return strcmp(name, NATIVE_IMAGE_NAME) == 0 ||
	       strcmp(name, NATIVE_IMAGE_NAME ":latest") == 0;
}

/* The folder of the running program. */
static int program_folder(char ret_folder[static PATH_MAX], struct err *err)
{
	ssize_t n = readlink("/proc/self/exe", ret_folder, PATH_MAX - 1);
	char *slash;

	if (n < 0)
		return err_sys(err, errno, "find bottle's own files: /proc/self/exe");
	ret_folder[n] = '\0';
	slash = strrchr(ret_folder, '/');
	if (!slash)
		return err_set(err, ENOENT, "find bottle's own files: '%s' is no path", ret_folder);
	*slash = '\0';
	return 0;
}

static int find_archive(char **ret_path, struct err *err)
{
	static const char *const places[] = { "", "/../share/bottle" };
	char folder[PATH_MAX];

	TRY(program_folder(folder, err));
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		cleanup_free char *path = str_printf("%s%s/" ARCHIVE_NAME, folder, places[i]);

		if (!path)
			return err_sys(err, ENOMEM, "find bottle's own files");
		if (access(path, F_OK) == 0) {
			*ret_path = take_ptr(path);
			return 0;
		}
	}
	return err_set(err, ENOENT,
		       "the native proxy's image is missing: neither %s/" ARCHIVE_NAME
		       " nor %s/../share/bottle/" ARCHIVE_NAME
		       " is there; install bottle again, or say proxy.image",
		       folder, folder);
}

static int import(const char *data_dir, struct err *err)
{
	cleanup_free char *path = NULL;
	int rc;

	TRY(find_archive(&path, err));
	rc = image_import_exact(data_dir, path, NATIVE_IMAGE_NAME, NATIVE_IMAGE_DIGEST, err);
	if (rc == -ESTALE)
		return err_set(err, ESTALE,
			       "%s: not the native proxy that this bottle was built with; install "
			       "both from one build",
			       path);
	return rc < 0 ? err_context(err, rc, "the native proxy's image") : 0;
}

int native_image_find(const char *data_dir, struct image *ret_image, struct err *err)
{
	if (!NATIVE_IMAGE_DIGEST[0])
		return err_set(err, ENOENT,
			       "this bottle was built without its native proxy; say proxy.image");
	for (int i = 0;; i++) {
		int rc = image_find(data_dir, NATIVE_IMAGE_DIGEST, ret_image, err);

		if (i == IMPORTS_MAX || (rc != -ENOENT && rc != -ESTALE && rc != -EBADMSG))
			return rc;
		TRY(import(data_dir, err));
	}
}
