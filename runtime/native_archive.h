/* SPDX-License-Identifier: Apache-2.0
 * The native proxy by its name, and the archive with its image that came with bottle. Runs in: launcher,
 * while the plan is made. */
#ifndef RUNTIME_NATIVE_ARCHIVE_H
#define RUNTIME_NATIVE_ARCHIVE_H

#include <stdbool.h>

#include "base/err.h"
#include "rootfs/image.h"

/* What `proxy.image` calls it, and the tag that it has in bottle's own store. */
#define NATIVE_IMAGE_NAME IMAGE_OWN_NAME

bool native_image_is_name(const char *name);

/* Owned; -ENOENT with a sentence where it is missing. */
int native_archive_find(char **ret_path, struct err *err) MUST_CHECK;

#endif
