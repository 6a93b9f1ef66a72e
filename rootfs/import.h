/* SPDX-License-Identifier: Apache-2.0
 *
 * From an archive to a stage of the store; the steps of image_import that touch no name.
 */
#ifndef ROOTFS_IMPORT_H
#define ROOTFS_IMPORT_H

#include "base/err.h"
#include "rootfs/archive.h"
#include "rootfs/image_config.h"
#include "rootfs/source.h"
#include "rootfs/store.h"

/* Parses the configuration and refuses an image that is not for this machine. */
int import_read_config(const struct image_archive *archive, const struct source *source,
		       struct image_config *ret_config, struct err *err) MUST_CHECK;

/* Unpacks and verifies every layer, makes the mount points, resolves USER, writes config.json and
 * image.json. What is in the stage after a failure may only be thrown away. */
int import_fill_stage(const struct image_archive *archive, const struct source *source,
		      const struct image_config *config, struct stage *stage,
		      struct err *err) MUST_CHECK;

#endif
