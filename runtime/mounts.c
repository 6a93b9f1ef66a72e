/* SPDX-License-Identifier: Apache-2.0
 *
 * The interpreter of a mount list; see mounts.h. Runs in: the reapers, as root of U1, in a mount
 * namespace of their own. Power: CAP_SYS_ADMIN over U1.
 *
 * Theory of operation. The stage is a small tmpfs over a folder of the old root, which only this
 * namespace sees:
 *
 *     STAGE/root      the new root (a tmpfs or the image's tree)
 *     STAGE/secret    ramfs: files that must never be swapped (tmpfs swaps, and `noswap` is refused
 *                     in a user namespace)
 *     STAGE/plain     tmpfs: other files, masks
 *
 * A file on STAGE/secret or STAGE/plain is cloned, made read-only and moved over its place in the new
 * root. The clone is read-only while the descriptor that was opened through the stage's own mount
 * stays writable: so the launcher can fill (and on reload rewrite) a file that is read-only inside.
 * Detached mounts are no source for open_tree(2) before 6.15, hence a stage that is attached.
 */
#include "runtime/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "runtime/mount_place.h"

struct stage {
	int dir_fd;    /* STAGE */
	int root_fd;   /* STAGE/root, once the root is attached */
	int secret_fd; /* STAGE/secret, made when first needed */
	int plain_fd;
	unsigned files; /* names handed out in secret/ and plain/ */
	uid_t owner;
};

static void stage_clear(struct stage *stage)
{
	fd_close(&stage->dir_fd);
	fd_close(&stage->root_fd);
	fd_close(&stage->secret_fd);
	fd_close(&stage->plain_fd);
}

/* --- thin names for the mount API of 5.2 and 5.12 ------------------------------------------- */

static int clone_tree(int dir_fd, const char *path, bool recursive)
{
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH |
			 (recursive ? AT_RECURSIVE : 0);
	long fd = syscall(SYS_open_tree, dir_fd, path, flags);

	return fd < 0 ? -errno : (int)fd;
}

static int set_attr(int mount_fd, uint64_t attr, bool recursive)
{
	struct mount_attr set = { .attr_set = attr };

	return syscall(SYS_mount_setattr, mount_fd, "",
		       AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &set, sizeof(set)) < 0
		       ? -errno
		       : 0;
}

static int attach(int mount_fd, int target_fd)
{
	return syscall(SYS_move_mount, mount_fd, "", target_fd, "",
		       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0
		       ? -errno
		       : 0;
}

struct fs_option {
	const char *key;
	const char *value;
};

/* A new filesystem as a detached mount; options end with a NULL key. */
static int new_filesystem(const char *type, const struct fs_option *options, unsigned attr)
{
	cleanup_fd int fs_fd = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
	long mount_fd;

	if (fs_fd < 0)
		return -errno;
	for (; options->key; options++)
		if (syscall(SYS_fsconfig, fs_fd, FSCONFIG_SET_STRING, options->key, options->value,
			    0) < 0)
			return -errno;
	if (syscall(SYS_fsconfig, fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	mount_fd = syscall(SYS_fsmount, fs_fd, FSMOUNT_CLOEXEC, attr);
	return mount_fd < 0 ? -errno : (int)mount_fd;
}

enum {
	TMPFS_BYTES_PER_INODE = 4096, /* as many files as there is room for with a page in each */
	TMPFS_INODES_MIN = 1024,
	TMPFS_INODES_MAX = 1 << 20
};

/* `size` counts pages of data alone: folders and empty files take none, but about 1 KiB each of the
 * kernel's memory, which is never swapped. */
static uint64_t tmpfs_inodes(uint64_t bytes)
{
	return MIN(MAX(bytes / TMPFS_BYTES_PER_INODE, TMPFS_INODES_MIN), TMPFS_INODES_MAX);
}

/* bytes 0: both are the kernel's default; for the stage's own, which no program writes. */
static int new_tmpfs(uint64_t bytes, mode_t mode, uid_t owner, unsigned attr)
{
	char size[24], inodes[24], mode_text[8], owner_text[16];
	struct fs_option options[] = {
		{ "mode", mode_text },		 { "uid", owner_text },	  { "gid", owner_text },
		{ bytes ? "size" : NULL, size }, { "nr_inodes", inodes }, { NULL, NULL },
	};

	snprintf(size, sizeof(size), "%llu", (unsigned long long)bytes);
	snprintf(inodes, sizeof(inodes), "%llu", (unsigned long long)tmpfs_inodes(bytes));
	snprintf(mode_text, sizeof(mode_text), "%o", mode);
	snprintf(owner_text, sizeof(owner_text), "%u", owner);
	return new_filesystem("tmpfs", options, attr);
}

static bool is_folder(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

static int attach_at(const struct stage *stage, int mount_fd, const struct mount_op *op)
{
	cleanup_fd int target_fd = mount_place_open(stage->root_fd, op->at, op->flags & MOUNT_MAKE,
						    is_folder(mount_fd));

	if (target_fd < 0)
		return target_fd;
	return attach(mount_fd, target_fd);
}

/* --- the stage's own files ------------------------------------------------------------------ */

static int open_store(struct stage *stage, bool secret)
{
	int *store_fd = secret ? &stage->secret_fd : &stage->plain_fd;
	const char *name = secret ? "secret" : "plain";
	cleanup_fd int mount_fd = -1;
	cleanup_fd int target_fd = -1;

	if (*store_fd >= 0)
		return *store_fd;
	mount_fd = secret ? new_filesystem("ramfs", &(struct fs_option){ 0 },
					   MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
			  : new_tmpfs(0, 0755, 0,
				      MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (mount_fd < 0)
		return mount_fd;
	if (mkdirat(stage->dir_fd, name, 0700) < 0)
		return -errno;
	target_fd = openat(stage->dir_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (target_fd < 0)
		return -errno;
	TRY(attach(mount_fd, target_fd));
	*store_fd = openat(stage->dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *store_fd < 0 ? -errno : *store_fd;
}

/* Makes a file or folder in a store and returns a read-only clone of it as a detached mount; with
 * ret_file_fd, a descriptor that can write it (files only). */
static int new_store_item(struct stage *stage, bool secret, bool folder, mode_t mode,
			  int *ret_file_fd)
{
	int store_fd = open_store(stage, secret);
	cleanup_fd int file_fd = -1;
	cleanup_fd int mount_fd = -1;
	char name[16];

	if (store_fd < 0)
		return store_fd;
	snprintf(name, sizeof(name), "%u", stage->files++);
	if (folder) {
		if (mkdirat(store_fd, name, mode) < 0)
			return -errno;
	} else {
		file_fd = openat(store_fd, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, mode);
		if (file_fd < 0)
			return -errno;
		if (secret && stage->owner && fchown(file_fd, stage->owner, stage->owner) < 0)
			return -errno;
	}
	mount_fd = clone_tree(store_fd, name, false);
	if (mount_fd < 0)
		return mount_fd;
	TRY(set_attr(mount_fd, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, false));
	if (ret_file_fd)
		*ret_file_fd = take_fd(&file_fd);
	return take_fd(&mount_fd);
}

/* --- the operations -------------------------------------------------------------------------- */

/* Remembers the mount, now attached, of an operation that has to hold to the end. */
static int note_guard(struct mount_result *result, const struct mount_op *op, int mount_fd)
{
	struct mount_guard *grown;
	struct statx stx;

	if (!(op->flags & MOUNT_GUARD))
		return 0;
	if (statx(mount_fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) < 0)
		return -errno;
	if (!(stx.stx_mask & STATX_MNT_ID))
		return -ENOSYS;
	grown = realloc(result->guards, (result->guard_count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	result->guards = grown;
	grown[result->guard_count++] = (struct mount_guard){ stx.stx_mnt_id, op };
	return 0;
}

static int op_bind(struct stage *stage, const struct mount_op *op, int source_fd,
		   struct mount_result *result)
{
	uint64_t attr = MOUNT_ATTR_NOSUID;

	if (source_fd < 0)
		return 0; /* optional and not there */
	/* A device can be written through a read-only mount, but its node cannot be chmod'ed: that of the
	 * host is the caller's own where bottle is started as root. */
	if (!(op->flags & MOUNT_WRITABLE))
		attr |= MOUNT_ATTR_RDONLY;
	if (!(op->flags & MOUNT_DEVICE))
		attr |= MOUNT_ATTR_NODEV;
	if (op->flags & MOUNT_NOEXEC)
		attr |= MOUNT_ATTR_NOEXEC;
	TRY(set_attr(source_fd, attr, true));
	TRY(attach_at(stage, source_fd, op));
	return note_guard(result, op, source_fd);
}

static int op_tmpfs(struct stage *stage, const struct mount_op *op, int source_fd,
		    struct mount_result *result)
{
	unsigned attr = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
			(op->flags & MOUNT_NOEXEC ? MOUNT_ATTR_NOEXEC : 0);
	cleanup_fd int mount_fd = new_tmpfs(op->bytes, op->mode, stage->owner, attr);

	(void)source_fd;
	(void)result;
	return mount_fd < 0 ? mount_fd : attach_at(stage, mount_fd, op);
}

static int op_dir(struct stage *stage, const struct mount_op *op, int source_fd,
		  struct mount_result *result)
{
	cleanup_fd int target_fd = mount_place_open(stage->root_fd, op->at, true, true);

	(void)source_fd;
	(void)result;
	return target_fd < 0 ? target_fd : 0;
}

static int op_symlink(struct stage *stage, const struct mount_op *op, int source_fd,
		      struct mount_result *result)
{
	char name[NAME_MAX + 1];
	cleanup_fd int parent_fd = mount_place_parent(stage->root_fd, op->at, true, name);

	(void)source_fd;
	(void)result;
	if (parent_fd < 0)
		return parent_fd;
	return symlinkat(op->source, parent_fd, name) < 0 ? -errno : 0;
}

static int op_text(struct stage *stage, const struct mount_op *op, int source_fd,
		   struct mount_result *result)
{
	cleanup_fd int file_fd = -1;
	cleanup_fd int mount_fd = new_store_item(stage, false, false, 0444, &file_fd);

	(void)source_fd;
	(void)result;
	if (mount_fd < 0)
		return mount_fd;
	TRY(fd_write_all(file_fd, op->source, strlen(op->source)));
	return attach_at(stage, mount_fd, op);
}

static int op_handed(struct stage *stage, const struct mount_op *op, int source_fd,
		     struct mount_result *result)
{
	bool secret = op->flags & MOUNT_SECRET;
	cleanup_fd int file_fd = -1;
	cleanup_fd int mount_fd = new_store_item(stage, secret, false, secret ? 0400 : 0444,
						 &file_fd);

	(void)source_fd;
	if (mount_fd < 0)
		return mount_fd;
	if (result->handed_count == MOUNT_HANDED_MAX)
		return -E2BIG;
	TRY(attach_at(stage, mount_fd, op));
	result->handed_fds[result->handed_count++] = take_fd(&file_fd);
	return 0;
}

static int op_proc(struct stage *stage, const struct mount_op *op, int source_fd,
		   struct mount_result *result)
{
	cleanup_fd int mount_fd = new_filesystem("proc", &(struct fs_option){ 0 },
						 MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
							 MOUNT_ATTR_NOEXEC);

	(void)source_fd;
	(void)result;
	if (mount_fd < 0)
		return mount_fd;
	TRY(attach_at(stage, mount_fd, op));
	/* A second view, writable and without what the list is going to mount over parts of the first: a
	 * role's id map and its own user.max_user_namespaces are written through it. */
	fd_close(&result->proc_fd);
	result->proc_fd = clone_tree(mount_fd, "", false);
	if (result->proc_fd < 0)
		return result->proc_fd;
	/* The first view is the program's, and is only read: by /proc/self/autogroup it would set the nice
	 * value of its whole session, pid 1 included, which watches over it. No id map of a namespace of
	 * its own is lost, since it can make none. */
	return set_attr(mount_fd, MOUNT_ATTR_RDONLY, false);
}

/* Without `gid=`: that group is not mapped in a single map, and the mount would fail. */
static int op_devpts(struct stage *stage, const struct mount_op *op, int source_fd,
		     struct mount_result *result)
{
	static const struct fs_option options[] = { { "ptmxmode", "0666" },
						    { "mode", "0620" },
						    { NULL, NULL } };
	cleanup_fd int mount_fd = new_filesystem("devpts", options,
						 MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);

	(void)source_fd;
	(void)result;
	return mount_fd < 0 ? mount_fd : attach_at(stage, mount_fd, op);
}

static int op_mask(struct stage *stage, const struct mount_op *op, int source_fd,
		   struct mount_result *result)
{
	cleanup_fd int target_fd = fd_open_in_root(stage->root_fd, op->at, O_PATH, 0);
	cleanup_fd int mount_fd = -1;

	(void)source_fd;
	if (target_fd < 0)
		return op->flags & MOUNT_OPTIONAL && (target_fd == -ENOENT || target_fd == -EACCES)
			       ? 0
			       : target_fd;
	mount_fd = new_store_item(stage, false, is_folder(target_fd), 0, NULL);
	if (mount_fd < 0)
		return mount_fd;
	TRY(attach(mount_fd, target_fd));
	return note_guard(result, op, mount_fd);
}

static int op_alias(struct stage *stage, const struct mount_op *op, int source_fd,
		    struct mount_result *result)
{
	cleanup_fd int from_fd = -1;
	cleanup_fd int mount_fd = -1;

	(void)source_fd;
	from_fd = op->flags & MOUNT_NO_SYMLINKS
			  ? fd_open_nosymlinks(stage->root_fd, op->source + 1, O_PATH, 0)
			  : fd_open_in_root(stage->root_fd, op->source, O_PATH, 0);
	if (from_fd < 0)
		return op->flags & MOUNT_OPTIONAL && from_fd == -ENOENT ? 0 : from_fd;
	mount_fd = clone_tree(from_fd, "", true);
	if (mount_fd < 0)
		return mount_fd;
	if (!(op->flags & MOUNT_WRITABLE))
		TRY(set_attr(mount_fd, MOUNT_ATTR_RDONLY, true));
	TRY(attach_at(stage, mount_fd, op));
	return note_guard(result, op, mount_fd);
}

static int op_root_read_only(struct stage *stage, const struct mount_op *op, int source_fd,
			     struct mount_result *result)
{
	(void)op;
	(void)source_fd;
	(void)result;
	return set_attr(stage->root_fd, MOUNT_ATTR_RDONLY, false);
}

static int op_root(struct stage *stage, const struct mount_op *op, int source_fd,
		   struct mount_result *result)
{
	cleanup_fd int mount_fd = -1;
	cleanup_fd int target_fd = -1;

	(void)result;
	if (op->kind == MOUNT_ROOT_TREE) {
		TRY(set_attr(source_fd, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
			     true));
	} else {
		mount_fd = new_tmpfs(op->bytes, 0755, 0, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
		if (mount_fd < 0)
			return mount_fd;
	}
	target_fd = openat(stage->dir_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (target_fd < 0)
		return -errno;
	TRY(attach(op->kind == MOUNT_ROOT_TREE ? source_fd : mount_fd, target_fd));
	stage->root_fd = openat(stage->dir_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return stage->root_fd < 0 ? -errno : 0;
}

static const struct op_entry {
	const char *verb;
	bool has_source; /* cloned before the stage hides anything */
	int (*carry_out)(struct stage *stage, const struct mount_op *op, int source_fd,
			 struct mount_result *result);
} op_table[] = {
	[MOUNT_ROOT_TMPFS] = { "make the root", false, op_root },
	[MOUNT_ROOT_TREE] = { "mount the image", true, op_root },
	[MOUNT_BIND] = { "bind", true, op_bind },
	[MOUNT_TMPFS] = { "mount a tmpfs at", false, op_tmpfs },
	[MOUNT_DIR] = { "make the folder", false, op_dir },
	[MOUNT_SYMLINK] = { "make the symlink", false, op_symlink },
	[MOUNT_TEXT] = { "write", false, op_text },
	[MOUNT_HANDED] = { "make the file", false, op_handed },
	[MOUNT_PROC] = { "mount proc at", false, op_proc },
	[MOUNT_DEVPTS] = { "mount devpts at", false, op_devpts },
	[MOUNT_MASK] = { "mask", false, op_mask },
	[MOUNT_ALIAS] = { "bind inside the root at", false, op_alias },
	[MOUNT_ROOT_READ_ONLY] = { "make read-only", false, op_root_read_only },
};
_Static_assert(sizeof(op_table) / sizeof(op_table[0]) == MOUNT_KIND_COUNT, "one entry per kind");

static int open_source(const struct mount_op *op)
{
	cleanup_fd int path_fd = op->flags & MOUNT_NO_SYMLINKS
					 ? fd_open_nosymlinks(AT_FDCWD, op->source, O_PATH, 0)
					 : open(op->source, O_PATH | O_CLOEXEC);

	if (path_fd < 0)
		return path_fd == -1 ? -errno : path_fd;
	return clone_tree(path_fd, "", true);
}

static int open_sources(const struct mount_list *list, int *source_fds, struct err *err)
{
	for (size_t i = 0; i < list->len; i++) {
		const struct mount_op *op = &list->ops[i];

		if (!op_table[op->kind].has_source)
			continue;
		source_fds[i] = open_source(op);
		if (source_fds[i] == -ENOENT && op->flags & MOUNT_OPTIONAL)
			source_fds[i] = -1;
		else if (source_fds[i] == -ELOOP)
			return err_set(
				err, ELOOP,
				"%s: a part of this path is a symbolic link; name the real path",
				op->source);
		else if (source_fds[i] < 0)
			return err_sys(err, -source_fds[i], "open %s", op->source);
	}
	return 0;
}

/* Any folder of the old root will do: what it holds is hidden in this namespace alone, and every
 * source was opened before. */
static int stage_open(struct stage *stage, struct err *err)
{
	static const char *const places[] = { "/tmp", "/mnt", "/var", "/usr" };
	cleanup_fd int mount_fd = new_tmpfs(0, 0755, 0, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	cleanup_fd int target_fd = -1;

	if (mount_fd < 0)
		return err_sys(err, -mount_fd, "mount a tmpfs for the stage");
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && target_fd < 0; i++)
		target_fd = open(places[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (target_fd < 0)
		return err_sys(err, errno, "find a folder for the stage");
	if (mkdirat(mount_fd, "root", 0755) < 0)
		return err_sys(err, errno, "make the stage");
	int rc = attach(mount_fd, target_fd);
	if (rc < 0)
		return err_sys(err, -rc, "attach the stage");
	stage->dir_fd = take_fd(&mount_fd);
	return 0;
}

static int enter(const struct stage *stage, struct err *err)
{
	if (fchdir(stage->root_fd) < 0)
		return err_sys(err, errno, "enter the new root");
	/* pivot_root(2), "pivot_root(".", ".")": the old root lies on top of the new one. */
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return err_sys(err, errno, "pivot_root");
	if (umount2(".", MNT_DETACH) < 0)
		return err_sys(err, errno, "detach the old root");
	if (chdir("/") < 0)
		return err_sys(err, errno, "chdir to the new root");
	return 0;
}

static int carry_out(struct stage *stage, const struct mount_list *list, int *source_fds,
		     struct mount_result *ret_result, struct err *err)
{
	for (size_t i = 0; i < list->len; i++) {
		const struct mount_op *op = &list->ops[i];
		const struct op_entry *entry = &op_table[op->kind];
		int rc = entry->carry_out(stage, op, source_fds[i], ret_result);

		if (rc < 0)
			ret_result->failed = op->kind;
		if (rc < 0)
			return err_sys(err, -rc, "%s %s", entry->verb,
				       op->at ? op->at : op->source);
		fd_close(&source_fds[i]);
	}
	return 0;
}

static void restore_umask(mode_t *mask)
{
	umask(*mask);
}

int mounts_build_and_enter(const struct mount_list *list, uid_t owner,
			   struct mount_result *ret_result, struct err *err)
{
	cleanup_with(stage_clear) struct stage stage = {
		.dir_fd = -1, .root_fd = -1, .secret_fd = -1, .plain_fd = -1, .owner = owner
	};
	cleanup_with(restore_umask)
		mode_t mask = umask(0); /* modes in the list are meant as said */
	cleanup_free int *source_fds = malloc((list->len + 1) * sizeof(*source_fds));

	(void)mask;
	if (!source_fds)
		return err_sys(err, ENOMEM, "build a root");
	for (size_t i = 0; i < list->len; i++)
		source_fds[i] = -1;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, errno, "make the mounts private");
	TRY(open_sources(list, source_fds, err));
	TRY(stage_open(&stage, err));
	TRY(carry_out(&stage, list, source_fds, ret_result, err));
	return enter(&stage, err);
}
