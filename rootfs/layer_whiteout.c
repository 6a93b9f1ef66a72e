/* SPDX-License-Identifier: Apache-2.0
 * Whiteouts; see layer_whiteout.h. Runs in: launcher (`bottle image import`). */
#include "rootfs/layer_whiteout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

#define WHITEOUT_PREFIX	  ".wh."
#define WHITEOUT_INTERNAL ".wh..wh."
#define WHITEOUT_OPAQUE	  ".wh..wh..opq"

/* Only folders that are both in this layer and in a lower one are walked, one descriptor for each
 * level; a tree as deep as this is not an image's. */
enum { HIDE_DEPTH_MAX = 200, SHOWN_NAME_BYTES = 256 };

bool layer_whiteout_is(const char *base)
{
	return str_starts(base, WHITEOUT_PREFIX);
}

bool layer_whiteout_is_foreign(const struct tree_name *name)
{
	if (str_starts(name->dir, WHITEOUT_INTERNAL) || strstr(name->dir, "/" WHITEOUT_INTERNAL))
		return true;
	return str_starts(name->base, WHITEOUT_INTERNAL) &&
	       strcmp(name->base, WHITEOUT_OPAQUE) != 0;
}

static int hide_lower(struct layer_target *target, const struct layer_seen *seen, int dir_fd,
		      const char *name, unsigned depth);

static int hide_all_lower(struct layer_target *target, const struct layer_seen *seen, int dir_fd,
			  unsigned depth)
{
	cleanup_with(strlist_clear) struct strlist names = { 0 };

	TRY(tree_list(dir_fd, SIZE_MAX, &names));
	for (size_t i = 0; i < names.len; i++)
		TRY(hide_lower(target, seen, dir_fd, names.items[i], depth));
	return 0;
}

/* Takes `name` away unless this layer brought it; then, of a folder, what a lower layer has in it. */
static int hide_lower(struct layer_target *target, const struct layer_seen *seen, int dir_fd,
		      const char *name, unsigned depth)
{
	int is_ours = layer_seen_has(seen, dir_fd, name);
	cleanup_fd int fd = -1;

	TRY(is_ours);
	if (!is_ours)
		return tree_remove(dir_fd, name, &target->trash);
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
	return depth < HIDE_DEPTH_MAX ? hide_all_lower(target, seen, fd, depth + 1) : -ELOOP;
}

int layer_whiteout_apply(struct layer_target *target, const struct layer_seen *seen, int parent_fd,
			 const char *base, struct err *err)
{
	const char *hidden = base + strlen(WHITEOUT_PREFIX);
	char shown[SHOWN_NAME_BYTES];
	int rc;

	if (strcmp(base, WHITEOUT_OPAQUE) == 0) {
		rc = target->has_lower ? hide_all_lower(target, seen, parent_fd, 0) : 0;
		return rc < 0 ? err_sys(err, -rc, "opaque whiteout") : 0;
	}
	str_escape(shown, sizeof(shown), base, strlen(base));
	if (!*hidden || strcmp(hidden, ".") == 0 || strcmp(hidden, "..") == 0)
		return err_set(err, EINVAL, "whiteout '%s' names no file", shown);
	rc = target->has_lower ? hide_lower(target, seen, parent_fd, hidden, 0) : 0;
	return rc < 0 ? err_sys(err, -rc, "whiteout '%s'", shown) : 0;
}
