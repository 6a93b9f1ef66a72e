/* SPDX-License-Identifier: Apache-2.0
 *
 * Work on a directory tree whose contents were chosen by somebody else: by descriptor only, names
 * checked first, symlinks followed only inside the tree's own root, and nothing that needs a
 * descriptor or a stack frame for each level of depth.
 */
#ifndef ROOTFS_TREE_H
#define ROOTFS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

/* A name of an archive, made relative: `dir` is "." or "a/b", `base` one component, never "", "."
 * or "..". An entry for the root itself has an empty base. Zero-initialise. */
struct tree_name {
	char *dir;
	char *base;
};

void tree_name_clear(struct tree_name *name);

/* No image nests as deep; a limit on the work that one name can cause. */
enum { TREE_NAME_DEPTH_MAX = 256 };

/* Splits a name as an archive wrote it: leading "/" and "." components fall away, ".." is refused
 * (-EINVAL), so is an empty name; -ENAMETOOLONG past PATH_MAX, NAME_MAX or TREE_NAME_DEPTH_MAX. */
int tree_name_split(const char *text, struct tree_name *ret_name, struct err *err) MUST_CHECK;

/* Opens folder `dir` below root_fd; symlinks on the way are followed inside the root. Missing
 * folders are made (0755). */
struct tree_walk {
	bool over_dangling; /* in: a symlink to nothing in the way is replaced, not refused */
	size_t room;	    /* in: how many folders may be made; -E2BIG past it */
	size_t made;	    /* out: how many were; if any, `dir` was not there */
};
int tree_open_dir(int root_fd, const char *dir, struct tree_walk *walk, int *ret_fd,
		  struct err *err) MUST_CHECK;

/* Where removed folders go first, on the same file system: a rename is whole and needs no walk. */
struct tree_trash {
	int fd;	       /* borrowed */
	unsigned next; /* the next name to try */
};

/* Takes `name` out of parent_fd, whatever it is. 0 also when there was nothing. */
int tree_remove(int parent_fd, const char *name, struct tree_trash *trash) MUST_CHECK;

/* Deletes everything below dir_fd except the entry `keep` (NULL: nothing is kept). Folders are
 * first moved up into dir_fd, so a tree of any depth needs three descriptors and no recursion. */
int tree_empty(int dir_fd, const char *keep) MUST_CHECK;

/* The entries of a folder, without "." and "..", at most `max` (-E2BIG). */
int tree_list(int dir_fd, size_t max, struct strlist *ret_names) MUST_CHECK;

/* renameat2(2) with RENAME_NOREPLACE; on a file system without it, a look and a rename: callers
 * hold the lock that makes this enough. -EEXIST when the new name is taken. */
int tree_rename_new(int old_fd, const char *old_name, int new_fd, const char *new_name) MUST_CHECK;

#endif
