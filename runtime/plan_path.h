/* SPDX-License-Identifier: Apache-2.0
 * Paths of the host as the plan compares them: without a symbolic link in them. */
#ifndef RUNTIME_PLAN_PATH_H
#define RUNTIME_PLAN_PATH_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* Whether a symbolic link that stands in `folder` (canonical) must not be followed. */
typedef bool plan_path_distrusts(const void *ctx, const char *folder);

/* The canonical name of `path` (from the current folder where it is not absolute), as realpath(3), but
 * what does not exist is taken as it is written. `distrusts` may be NULL. -EPERM where a link stands in
 * a folder that it names, -ELOOP after 40 links, -ENAMETOOLONG. */
int plan_path_resolve(const char *path, plan_path_distrusts *distrusts, const void *ctx,
		      char ret_path[static PATH_MAX]) MUST_CHECK;

/* Whether `path` is `folder` or below it, by the names alone: both canonical. */
bool plan_path_is_below(const char *path, const char *folder);

/* A path and the folders it lies in by device and inode number, since one folder may have two names (a bind
 * mount): asked of the kernel once, to be compared with many. Innermost first, what exists of them. */
struct plan_path_place {
	char path[PATH_MAX];
	bool exists; /* then the first of ids is its own */
	size_t count;
	struct plan_path_id {
		dev_t dev;
		ino_t ino;
	} ids[PATH_MAX / 2 + 1];
};

/* `path` is canonical, as plan_path_resolve gives it. */
void plan_path_place(const char *path, struct plan_path_place *ret_place);

/* Whether the place is `folder` or lies in it. */
bool plan_path_lies_in(const struct plan_path_place *place, const char *folder);

/* Whether `path` is the place or lies in it. `outside` (NULL: none) is a folder of which it is known that
 * it does not, so that only what of `path` lies below it is asked for. */
bool plan_path_holds(const struct plan_path_place *place, const char *path, const char *outside);

/* Whether both names are of one file or folder that exists. */
bool plan_path_is_same(const char *a, const char *b);

#endif
