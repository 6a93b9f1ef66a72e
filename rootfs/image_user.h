/* SPDX-License-Identifier: Apache-2.0
 *
 * USER of an image ("", "name", "uid", "name:group", "uid:gid", …) as numbers, by the image's own
 * passwd and group, with Docker's meaning (user_spec.h).
 */
#ifndef ROOTFS_IMAGE_USER_H
#define ROOTFS_IMAGE_USER_H

#include <stdint.h>

#include "base/err.h"

/* root_fd is the unpacked root. A numeric uid is taken as it is; without a group, the group is the
 * one of its passwd entry, or 0 when it has none. A name that passwd or group does not know is an
 * error (-ENOENT). */
int image_user_resolve(int root_fd, const char *user, uint32_t *ret_uid, uint32_t *ret_gid,
		       struct err *err) MUST_CHECK;

#endif
