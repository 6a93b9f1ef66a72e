/* SPDX-License-Identifier: Apache-2.0
 * Paths of the host as the plan compares them: without a symbolic link in them. */
#ifndef RUNTIME_PLAN_PATH_H
#define RUNTIME_PLAN_PATH_H

#include <limits.h>
#include <stdbool.h>

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

/* The same, also where one folder has two names (a bind mount): by device and inode number. */
bool plan_path_lies_in(const char *path, const char *folder);

/* Whether both names are of one file or folder that exists. */
bool plan_path_is_same(const char *a, const char *b);

#endif
