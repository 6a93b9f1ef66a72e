/* SPDX-License-Identifier: Apache-2.0
 *
 * USER of an image ("", "name", "uid", "name:group", "uid:gid", …) as numbers, with Docker's meaning, by
 * the image's passwd and group, wherever they are read from. The rule is that of the Dockerfile reference
 * (USER) and of the engine's moby/sys/user, GetExecUser: a number is an id, whatever entry has it for a name;
 * without a group it is the passwd entry's, and 0 for a uid that has none.
 *
 * Runs in: the launcher.
 */
#ifndef ROOTFS_USER_SPEC_H
#define ROOTFS_USER_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* Reads one of the image's files, "etc/passwd" or "etc/group"; one that is missing is empty. Each is asked
 * for only when it is needed. */
struct user_spec_files {
	int (*read)(const void *of, const char *path, struct buf *ret_text, struct err *err);
	const void *of;
};

/* A name that passwd or group does not know is an error (-ENOENT). */
int user_spec_resolve(const char *user, const struct user_spec_files *files, uint32_t *ret_uid,
		      uint32_t *ret_gid, struct err *err) MUST_CHECK;

/* What it says without either file. */
struct user_spec {
	bool has_uid, has_gid;
	uint32_t uid, gid; /* 0 where it does not */
};
void user_spec_parse(const char *user, struct user_spec *ret_spec);

#endif
