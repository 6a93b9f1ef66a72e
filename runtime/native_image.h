/* SPDX-License-Identifier: Apache-2.0
 *
 * The native proxy's image: the one that came with this bottle, known by its digest, so that neither
 * another file in its place nor another image under its name is ever run.
 */
#ifndef RUNTIME_NATIVE_IMAGE_H
#define RUNTIME_NATIVE_IMAGE_H

#include "rootfs/image.h"
#include "runtime/native_archive.h"

/* As image_find. Where the store does not have it, it is imported first from bottle's own files, or
 * (`may_import` false) told by them as image_preview_exact does, and nothing is written. */
int native_image_find(const char *data_dir, bool may_import, struct image *ret_image,
		      struct err *err) MUST_CHECK;

/* The same where the store has it, and nothing else is done: -ENOENT and the like where not. */
int native_image_look(const char *data_dir, struct image *ret_image, struct err *err) MUST_CHECK;

#endif
