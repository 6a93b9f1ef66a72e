/* SPDX-License-Identifier: Apache-2.0
 * The image store; see store.h for its layout and who locks what. Runs in: launcher. No bottle can
 * write the data folder, so what lies here was laid by an import. */
#include "rootfs/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "rootfs/digest.h"

#define LOCK_NAME  "lock"
#define TMP_PREFIX "tmp-"
/* What leads to another store. */
#define DATA_VARIABLE "XDG_DATA_HOME"
enum { IMAGES_MAX = 100 * 1000 };

static void close_held(int *fd)
{
	if (*fd > 0)
		close(*fd);
	*fd = 0;
}

/* Takes a new descriptor away from 0, which here means "none". Returns it or -errno. */
static int above_zero(int fd)
{
	int copy;

	if (fd != 0)
		return fd < 0 ? -errno : fd;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	close(fd);
	return copy < 0 ? -errno : copy;
}

static int open_folder(int dir_fd, const char *name, bool create, struct err *err)
{
	int fd;

	if (create && mkdirat(dir_fd, name, 0700) < 0 && errno != EEXIST)
		return err_folder(err, errno, DATA_VARIABLE, "making %s in the image store", name);
	fd = above_zero(openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (fd == -ENOENT && !create)
		return fd;
	return fd < 0 ? err_sys(err, -fd, "%s in the image store", name) : fd;
}

/* mkdir -p, for the folders above the store too (0700, as the XDG specification asks). */
static int make_path(const char *path, struct err *err)
{
	cleanup_free char *copy = strdup(path);

	if (!copy)
		return err_sys(err, ENOMEM, "%s", path);
	for (char *slash = strchr(copy + 1, '/');; slash = strchr(slash + 1, '/')) {
		if (slash)
			*slash = '\0';
		if (mkdir(copy, 0700) < 0 && errno != EEXIST)
			return err_folder(err, errno, DATA_VARIABLE, "making the image store %s",
					  copy);
		if (!slash)
			return 0;
		*slash = '/';
	}
}

int store_open(const char *data_dir, bool create, struct store *ret_store, struct err *err)
{
	cleanup_with(store_close) struct store store = { .dir = data_dir };
	cleanup_fd int fd = -1;

	if (*data_dir != '/')
		return err_set(err, EINVAL, "the image store '%s' is not an absolute path",
			       data_dir);
	if (create)
		TRY(make_path(data_dir, err));
	fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ENOENT : err_sys(err, errno, "%s", data_dir);
	store.images_fd = open_folder(fd, "images", create, err);
	TRY(store.images_fd);
	store.digests_fd = open_folder(store.images_fd, "sha256", create, err);
	TRY(store.digests_fd);
	store.tags_fd = open_folder(fd, "tags", create, err);
	TRY(store.tags_fd);
	*ret_store = store;
	store = (struct store){ 0 };
	return 0;
}

void store_close(struct store *store)
{
	close_held(&store->images_fd);
	close_held(&store->digests_fd);
	close_held(&store->tags_fd);
	close_held(&store->lock_fd);
}

/* Returns the locked descriptor or -errno; -EWOULDBLOCK with LOCK_NB. Who only reads may not be able to
 * write there. An exclusive lock needs an open for writing on NFS alone: flock(2). */
static int open_lock(int dir_fd, int flags, int operation)
{
	const int how = operation & LOCK_SH ? O_RDONLY : O_RDWR;
	cleanup_fd int fd = above_zero(
		openat(dir_fd, LOCK_NAME, how | O_CLOEXEC | O_NOFOLLOW | flags, 0600));

	if (fd < 0)
		return fd;
	while (flock(fd, operation) < 0)
		if (errno != EINTR)
			return -errno;
	return take_fd(&fd);
}

int store_lock(struct store *store, struct err *err)
{
	int fd = open_lock(store->images_fd, O_CREAT, LOCK_EX);

	if (fd < 0)
		return err_folder(err, -fd, DATA_VARIABLE, "locking the image store %s",
				  store->dir);
	store->lock_fd = fd;
	return 0;
}

void store_unlock(struct store *store)
{
	close_held(&store->lock_fd);
}

/* The lock file goes last: while it is there, another sweeper sees that somebody is at work. */
static int delete_tmp(const struct store *store, const char *name)
{
	cleanup_fd int fd = openat(store->images_fd, name,
				   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	TRY(tree_empty(fd, LOCK_NAME));
	if (unlinkat(fd, LOCK_NAME, 0) < 0 && errno != ENOENT)
		return -errno;
	if (unlinkat(store->images_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

static int sweep_one(const struct store *store, const char *name)
{
	cleanup_fd int fd = openat(store->images_fd, name,
				   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_fd int lock_fd = -1;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	lock_fd = open_lock(fd, 0, LOCK_EX | LOCK_NB);
	if (lock_fd == -EWOULDBLOCK)
		return 0;
	/* No lock file: its maker died between mkdir and open, since we hold the store's lock. */
	if (lock_fd < 0 && lock_fd != -ENOENT)
		return lock_fd;
	return delete_tmp(store, name);
}

int store_sweep(struct store *store, struct err *err)
{
	cleanup_with(strlist_clear) struct strlist names = { 0 };
	int rc = tree_list(store->images_fd, IMAGES_MAX, &names);

	for (size_t i = 0; rc == 0 && i < names.len; i++) {
		if (!str_starts(names.items[i], TMP_PREFIX))
			continue;
		rc = sweep_one(store, names.items[i]);
		if (rc < 0)
			return err_sys(
				err, -rc,
				"removing the rest of an import that died: rm -rf %s/images/%s",
				store->dir, names.items[i]);
	}
	return rc < 0 ? err_sys(err, -rc, "%s/images", store->dir) : 0;
}

/* "tmp-" and eight digits that nobody else has. */
static int choose_tmp_name(char ret_name[static 16])
{
	uint32_t number;

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return -errno;
	snprintf(ret_name, 16, TMP_PREFIX "%08x", number);
	return 0;
}

static int make_tmp(const struct store *store, char ret_name[static 16])
{
	for (;;) {
		TRY(choose_tmp_name(ret_name));
		if (mkdirat(store->images_fd, ret_name, 0700) == 0)
			return 0;
		if (errno != EEXIST)
			return -errno;
	}
}

/* Without a folder made first: to remove an image must not need room. */
static int move_to_tmp(const struct store *store, const char *hex, char ret_name[static 16])
{
	int rc;

	do {
		TRY(choose_tmp_name(ret_name));
		rc = tree_rename_new(store->digests_fd, hex, store->images_fd, ret_name);
	} while (rc == -EEXIST);
	return rc;
}

int stage_open(const struct store *store, struct stage *ret_stage, struct err *err)
{
	cleanup_with(stage_close) struct stage stage = { .store = store };
	char name[sizeof(stage.name)];
	int rc = make_tmp(store, name);

	if (rc < 0)
		return err_folder(err, -rc, DATA_VARIABLE, "making a folder in %s/images",
				  store->dir);
	memcpy(stage.name, name, sizeof(name));
	stage.fd = open_folder(store->images_fd, name, false, err);
	if (stage.fd < 0)
		return err_sys(err, -stage.fd, "%s/images/%s", store->dir, name);
	stage.lock_fd = open_lock(stage.fd, O_CREAT | O_EXCL, LOCK_EX | LOCK_NB);
	if (stage.lock_fd < 0)
		return err_sys(err, -stage.lock_fd, "%s/images/%s/lock", store->dir, name);
	stage.root_fd = open_folder(stage.fd, "rootfs", true, err);
	TRY(stage.root_fd);
	stage.trash.fd = open_folder(stage.fd, "trash", true, err);
	TRY(stage.trash.fd);
	if (fchmod(stage.root_fd, 0755) < 0)
		return err_sys(err, errno, "%s/images/%s/rootfs", store->dir, name);
	*ret_stage = stage;
	stage = (struct stage){ 0 };
	return 0;
}

void stage_close(struct stage *stage)
{
	close_held(&stage->root_fd);
	close_held(&stage->trash.fd);
	close_held(&stage->fd);
	/* What cannot be deleted now, the next import sweeps, or says why not. */
	if (*stage->name)
		(void)!delete_tmp(stage->store, stage->name);
	close_held(&stage->lock_fd);
	*stage = (struct stage){ 0 };
}

int stage_write(const struct stage *stage, const char *name, const struct buf *text,
		struct err *err)
{
	cleanup_fd int fd = openat(stage->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int rc;

	if (text->failed)
		return err_sys(err, ENOMEM, "%s", name);
	if (fd < 0)
		return err_sys(err, errno, "%s", name);
	rc = fd_write_all(fd, text->data ? text->data : "", text->len);
	return rc < 0 ? err_sys(err, -rc, "%s", name) : 0;
}

int stage_publish(struct stage *stage, const char *hex, struct err *err)
{
	const struct store *store = stage->store;
	int rc = tree_empty(stage->trash.fd, NULL);

	if (rc < 0 || (unlinkat(stage->fd, "trash", AT_REMOVEDIR) < 0 && errno != ENOENT))
		return err_sys(err, rc < 0 ? -rc : errno, "%s/images/%s", store->dir, stage->name);
	/* One syncfs(2) in place of an fsync for each of some ten thousand files. */
	if (syncfs(stage->fd) < 0)
		return err_sys(err, errno, "writing %s", store->dir);
	rc = tree_rename_new(store->images_fd, stage->name, store->digests_fd, hex);
	if (rc == -EEXIST)
		return rc;
	if (rc < 0)
		return err_sys(err, -rc, "%s/images/sha256/%s", store->dir, hex);
	*stage->name = '\0';
	close_held(&stage->lock_fd); /* a run may have it from here on */
	if (fsync(store->digests_fd) < 0)
		return err_sys(err, errno, "%s/images/sha256", store->dir);
	return 0;
}

static bool is_still_there(const struct store *store, const char *hex, int fd)
{
	struct stat ours, named;

	return fstat(fd, &ours) == 0 &&
	       fstatat(store->digests_fd, hex, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

int store_open_image(const struct store *store, const char *hex, int *ret_fd, int *ret_lock_fd,
		     struct err *err)
{
	cleanup_fd int fd = above_zero(
		openat(store->digests_fd, hex, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
	cleanup_fd int lock_fd = -1;

	if (fd == -ENOENT)
		return fd;
	if (fd < 0)
		return err_sys(err, -fd, "%s/images/sha256/%s", store->dir, hex);
	lock_fd = open_lock(fd, 0, LOCK_SH | LOCK_NB);
	if (lock_fd == -EWOULDBLOCK || lock_fd == -ENOENT)
		return -ENOENT; /* being removed */
	if (lock_fd < 0)
		return err_sys(err, -lock_fd, "%s/images/sha256/%s/lock", store->dir, hex);
	/* The lock may have been had only after a removal was through with it. */
	if (!is_still_there(store, hex, fd))
		return -ENOENT;
	*ret_fd = take_fd(&fd);
	*ret_lock_fd = take_fd(&lock_fd);
	return 0;
}

int store_remove_image(struct store *store, const char *hex, struct err *err)
{
	cleanup_fd int fd = openat(store->digests_fd, hex,
				   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_fd int lock_fd = -1;
	char name[16];
	int rc;

	if (fd < 0)
		return errno == ENOENT
			       ? 0
			       : err_sys(err, errno, "%s/images/sha256/%s", store->dir, hex);
	lock_fd = open_lock(fd, O_CREAT, LOCK_EX | LOCK_NB);
	if (lock_fd == -EWOULDBLOCK)
		return err_set(err, EBUSY,
			       "image sha256:%.12s is used by a bottle that runs; end it first",
			       hex);
	if (lock_fd < 0)
		return err_sys(err, -lock_fd, "%s/images/sha256/%s/lock", store->dir, hex);
	rc = move_to_tmp(store, hex, name);
	if (rc == 0)
		rc = delete_tmp(store, name);
	return rc < 0 ? err_sys(err, -rc, "removing %s/images/sha256/%s", store->dir, hex) : 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int store_list_images(const struct store *store, struct strlist *ret_hex, struct err *err)
{
	cleanup_with(strlist_clear) struct strlist names = { 0 };
	int rc = tree_list(store->digests_fd, IMAGES_MAX, &names);

	for (size_t i = 0; rc == 0 && i < names.len; i++)
		if (strlen(names.items[i]) == DIGEST_HEX_LEN &&
		    digest_is_hex(names.items[i], DIGEST_HEX_LEN))
			rc = strlist_add(ret_hex, names.items[i]);
	if (rc < 0)
		return err_sys(err, -rc, "%s/images/sha256", store->dir);
	if (ret_hex->len)
		qsort(ret_hex->items, ret_hex->len, sizeof(*ret_hex->items), by_text);
	return 0;
}
