/* SPDX-License-Identifier: Apache-2.0
 * Two layers, one over the other, out of one input that is cut, at a tar block, by its first byte. The
 * tree lies in a folder with something beside it; after each input that must be as it was, and the
 * tree must be deletable. Runs in: `make fuzz` alone. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "rootfs/image_user.h"
#include "rootfs/layer.h"
#include "rootfs/mountpoints.h"
#include "rootfs/tree.h"

#define SECRET "untouched"

static void check(bool holds)
{
	if (!holds)
		abort();
}

static char world_dir[] = "/dev/shm/bottle-fuzz-XXXXXX";

static void world_remove(void)
{
	cleanup_fd int fd = open(world_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && tree_empty(fd, NULL) == 0)
		(void)rmdir(world_dir);
}

/* Made once, in memory where there is a /dev/shm; after a crash it stays, to be looked at. */
static int world_fd(void)
{
	static int fd = -1;

	if (fd >= 0)
		return fd;
	check(mkdtemp(world_dir) != NULL && atexit(world_remove) == 0);
	fd = open(world_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(fd >= 0 && mkdirat(fd, "outside", 0700) == 0);
	cleanup_fd int secret_fd = openat(fd, "outside/secret", O_WRONLY | O_CREAT | O_CLOEXEC,
					  0600);

	check(fd_write_all(secret_fd, SECRET, strlen(SECRET)) == 0);
	return fd;
}

static void check_outside(int fd)
{
	cleanup_with(strlist_clear) struct strlist top = { 0 };
	cleanup_with(strlist_clear) struct strlist outside = { 0 };
	cleanup_with(buf_clear) struct buf text = { 0 };
	cleanup_fd int outside_fd = openat(fd, "outside", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	check(tree_list(fd, 100, &top) == 0 && top.len == 3);
	check(outside_fd >= 0 && tree_list(outside_fd, 100, &outside) == 0 && outside.len == 1);
	check(file_read(outside_fd, "secret", 100, &text, NULL) == 0);
	check(strcmp(text.data, SECRET) == 0);
	check(fstatat(outside_fd, "secret", &st, AT_SYMLINK_NOFOLLOW) == 0);
	check(st.st_nlink == 1 && (st.st_mode & 07777) == 0600);
}

enum { TAR_BLOCK = 512, TAR_CHECKSUM_AT = 148, TAR_MAGIC_AT = 257 };

/* Gives every header its right checksum: a fuzzer does not guess it, and would see parsers of
 * nothing but checksums. */
static void seal_headers(uint8_t *tar, size_t size)
{
	for (size_t at = 0; at + TAR_BLOCK <= size; at += TAR_BLOCK) {
		uint8_t *header = tar + at;
		char text[8];
		unsigned sum = 0;

		if (memcmp(header + TAR_MAGIC_AT, "ustar", 5) != 0)
			continue;
		memset(header + TAR_CHECKSUM_AT, ' ', 8);
		for (size_t i = 0; i < TAR_BLOCK; i++)
			sum += header[i];
		snprintf(text, sizeof(text), "%06o", sum);
		memcpy(header + TAR_CHECKSUM_AT, text, 7);
	}
}

static int unpack(struct layer_target *target, const uint8_t *data, size_t size)
{
	cleanup_with(blob_clear) struct blob blob = { .size = size, .name = strdup("fuzz") };
	uint8_t stored[SHA256_BYTES], diff[SHA256_BYTES];
	struct err err = { 0 };
	int rc;

	blob.fd = memfd_create("layer", MFD_CLOEXEC);
	check(blob.fd > 0 && fd_write_all(blob.fd, data, size) == 0);
	rc = layer_unpack(target, &blob, stored, diff, &err);
	check(rc == 0 || (*err.text && !strpbrk(err.text, "\n\r\x1b")));
	target->has_lower = true;
	return rc;
}

static void unpack_both(struct layer_target *target, const uint8_t *data, size_t size)
{
	size_t cut = size ? size * (data[0] % 8) / 8 & ~(size_t)511 : 0;
	uint32_t uid, gid;

	if (cut && unpack(target, data, cut) < 0)
		return;
	if (unpack(target, data + cut, size - cut) < 0)
		return;
	(void)!image_user_resolve(target->root_fd, "a:b", &uid, &gid, NULL);
	(void)!mountpoints_make(target->root_fd, &target->trash, NULL);
}

static void empty_and_remove(int fd, const char *name)
{
	cleanup_fd int dir_fd = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	check(dir_fd >= 0 && tree_empty(dir_fd, NULL) == 0);
	check(unlinkat(fd, name, AT_REMOVEDIR) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free uint8_t *tar = malloc(size + 1);
	int fd = world_fd();
	struct layer_target target = {
		.limits = { .stream_bytes = 1 << 22,
			    .file_bytes = 1 << 22,
			    .entries = 1000,
			    .name_bytes = 1 << 16 },
	};

	check(tar != NULL);
	memcpy(tar, data, size);
	seal_headers(tar, size);
	check(mkdirat(fd, "root", 0755) == 0 && mkdirat(fd, "trash", 0700) == 0);
	target.root_fd = openat(fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	target.trash.fd = openat(fd, "trash", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unpack_both(&target, tar, size);
	check_outside(fd);
	close(target.root_fd);
	close(target.trash.fd);
	empty_and_remove(fd, "root");
	empty_and_remove(fd, "trash");
	return 0;
}
