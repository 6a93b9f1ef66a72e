/* SPDX-License-Identifier: Apache-2.0
 * The native proxy's name and archive; see native_archive.h. Runs in: launcher, while the plan is made. */
#include "runtime/native_archive.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "runtime/own_files.h"

#define ARCHIVE_NAME "native.oci.tar"

bool native_image_is_name(const char *name)
{
	return strcmp(name, NATIVE_IMAGE_NAME) == 0 ||
	       strcmp(name, NATIVE_IMAGE_NAME ":latest") == 0;
}

int native_archive_find(char **ret_path, struct err *err)
{
	static const char *const places[] = { "", "/../share/bottle", NULL };
	cleanup_free char *folder = NULL;
	int rc = own_files_find(places, ARCHIVE_NAME, ret_path, err);

	if (rc != -ENOENT)
		return rc;
	TRY(own_files_program_folder(&folder, err));
	return err_set(err, ENOENT,
		       "the native proxy's image is missing: neither %s/" ARCHIVE_NAME
		       " nor %s/../share/bottle/" ARCHIVE_NAME
		       " is there; install bottle again, or say proxy.image",
		       folder, folder);
}
