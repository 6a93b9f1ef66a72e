/* SPDX-License-Identifier: Apache-2.0
 *
 * Roots: a list of operations (made by the plan, nothing is decided here) and the interpreter that
 * carries it out in a mount namespace of its own, then pivots into the result.
 *
 * Order: every source on the host is opened and cloned first (open_tree(2)), by descriptor and, where
 * a bottle may write above it, without following a symlink. Only then is the stage mounted, the new
 * root put together in it, and entered. After mounts_enter nothing of the old root can be reached.
 */
#ifndef RUNTIME_MOUNTS_H
#define RUNTIME_MOUNTS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum mount_kind {
	MOUNT_ROOT_TMPFS,     /* the root is a fresh tmpfs */
	MOUNT_ROOT_TREE,      /* the root is `source`, read-only */
	MOUNT_BIND,	      /* `source` of the host at `at` */
	MOUNT_TMPFS,	      /* a fresh tmpfs of `bytes` */
	MOUNT_DIR,	      /* a folder (for the tmpfs root) */
	MOUNT_SYMLINK,	      /* `at` points to `source` */
	MOUNT_TEXT,	      /* a file with the text `source`, bound read-only over `at` */
	MOUNT_HANDED,	      /* an empty file that the launcher fills through a descriptor */
	MOUNT_PROC,	      /* this pid namespace's own /proc, read-only */
	MOUNT_DEVPTS,	      /* a devpts instance of its own */
	MOUNT_MASK,	      /* an empty unreadable file or folder over what is there */
	MOUNT_ALIAS,	      /* what is at `source` in the new root, read-only at `at` as well */
	MOUNT_ROOT_READ_ONLY, /* the root tmpfs itself, once everything is in it */
	MOUNT_KIND_COUNT,
};

enum mount_flag {
	MOUNT_WRITABLE = 1 << 0, /* BIND, ALIAS: stays writable */
	MOUNT_OPTIONAL =
		1 << 1, /* no error when the source, or for MASK the target, is not there */
	MOUNT_NO_SYMLINKS = 1 << 2, /* BIND, ALIAS: no component of the source may be a symlink */
	MOUNT_DEVICE = 1 << 3,	    /* BIND: a device node; keep it usable */
	MOUNT_NOEXEC = 1 << 4,
	MOUNT_SECRET = 1 << 5, /* HANDED: on ramfs, 0400; else tmpfs, 0444 */
	MOUNT_MAKE = 1 << 6,   /* make the mount point where it is missing */
	MOUNT_GUARD = 1 << 7,  /* BIND, ALIAS, MASK: no agent without it (guard_watch.h) */
};

struct mount_op {
	enum mount_kind kind;
	unsigned flags;
	mode_t mode;	/* DIR, TMPFS */
	uint64_t bytes; /* TMPFS: size, which bounds its inodes too; 0 = the kernel's default */
	int content;	/* HANDED: what the launcher writes into it (enum plan_content) */
	char *at;	/* absolute path in the new root */
	char *source;	/* host path, link target or text */
};

struct mount_list {
	struct mount_op *ops;
	size_t len;
};

enum { MOUNT_HANDED_MAX = 16 };

/* A mount that was made for an operation with MOUNT_GUARD. */
struct mount_guard {
	uint64_t id;		   /* as mountinfo lists it */
	const struct mount_op *op; /* borrowed from the list */
};

struct mount_result {
	int handed_fds
		[MOUNT_HANDED_MAX]; /* open for reading and writing, in the order of the ops */
	size_t handed_count;
	enum mount_kind failed;	    /* the kind of the operation that failed */
	int proc_fd;		    /* the new /proc, writable, nothing masked; -1 before */
	struct mount_guard *guards; /* the caller frees them */
	size_t guard_count;
};

/* Appends an op; copies the strings. */
int mount_list_add(struct mount_list *list, struct mount_op op) MUST_CHECK;
void mount_list_clear(struct mount_list *list);

/* Builds the root and enters it. `owner` (uid = gid) owns the handed secrets and the tmpfs. Must be
 * pid 1 of its pid namespace for MOUNT_PROC. Everything is in the caller's mount namespace. */
int mounts_build_and_enter(const struct mount_list *list, uid_t owner,
			   struct mount_result *ret_result, struct err *err) MUST_CHECK;

#endif
