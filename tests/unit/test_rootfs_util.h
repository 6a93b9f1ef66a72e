/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by the tests of rootfs/: tars written header by header, so that they can say what no sane
 * writer would; and a folder with a tree to unpack into and, next to it, things that must stay as
 * they are.
 */
#ifndef TESTS_UNIT_TEST_ROOTFS_UTIL_H
#define TESTS_UNIT_TEST_ROOTFS_UTIL_H

#include <archive.h>
#include <archive_entry.h>
#include <criterion/criterion.h>
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
#include "base/str.h"
#include "rootfs/layer.h"
#include "rootfs/tree.h"

enum { TAR_BLOCK = 512, TAR_MTIME = 1234567890 };

struct tar_header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type;
	char link[100], magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155];
	char pad[12];
};
_Static_assert(sizeof(struct tar_header) == TAR_BLOCK, "ustar header");

static inline void tar_seal(struct tar_header *header)
{
	const unsigned char *bytes = (const unsigned char *)header;
	unsigned sum = 0;

	memset(header->checksum, ' ', sizeof(header->checksum));
	for (size_t i = 0; i < sizeof(*header); i++)
		sum += bytes[i];
	snprintf(header->checksum, sizeof(header->checksum), "%06o", sum);
}

static inline void tar_pad(struct buf *tar)
{
	static const char zeros[TAR_BLOCK];

	if (tar->len % TAR_BLOCK)
		buf_append(tar, zeros, TAR_BLOCK - tar->len % TAR_BLOCK);
}

/* A header that claims `size`, with no data behind it. */
static inline void tar_header(struct buf *tar, char type, const char *name, const char *link,
			      unsigned mode, uint64_t size)
{
	struct tar_header header = { .type = type };

	cr_assert(strlen(name) <= sizeof(header.name) && strlen(link) <= sizeof(header.link));
	memcpy(header.name, name, strlen(name));
	memcpy(header.link, link, strlen(link));
	memcpy(header.magic, "ustar", 6);
	memcpy(header.version, "00", 2);
	snprintf(header.mode, sizeof(header.mode), "%07o", mode);
	snprintf(header.mtime, sizeof(header.mtime), "%011o", TAR_MTIME);
	if (size < 1ULL << 33) {
		snprintf(header.size, sizeof(header.size), "%011llo", (unsigned long long)size);
	} else { /* GNU's base-256 */
		header.size[0] = (char)0x80;
		for (int i = 0; i < 8; i++)
			header.size[4 + i] = (char)(size >> (56 - 8 * i));
	}
	tar_seal(&header);
	buf_append(tar, &header, sizeof(header));
}

static inline void tar_data(struct buf *tar, char type, const char *name, const void *bytes,
			    size_t len, unsigned mode)
{
	tar_header(tar, type, name, "", mode, len);
	buf_append(tar, bytes, len);
	tar_pad(tar);
}

static inline void tar_file(struct buf *tar, const char *name, const char *text)
{
	tar_data(tar, '0', name, text, strlen(text), 0644);
}

static inline void tar_dir(struct buf *tar, const char *name, unsigned mode)
{
	tar_header(tar, '5', name, "", mode, 0);
}

static inline void tar_symlink(struct buf *tar, const char *name, const char *target)
{
	tar_header(tar, '2', name, target, 0777, 0);
}

static inline void tar_hard_link(struct buf *tar, const char *name, const char *target)
{
	tar_header(tar, '1', name, target, 0644, 0);
}

/* A PAX record "LEN key=value\n" for the entry that follows. */
static inline void tar_pax(struct buf *tar, const char *key, const char *value)
{
	cleanup_with(buf_clear) struct buf record = { 0 };
	size_t body = strlen(key) + strlen(value) + 3, len = body + 1;

	while (snprintf(NULL, 0, "%zu", len) + body != len)
		len++;
	buf_printf(&record, "%zu %s=%s\n", len, key, value);
	tar_data(tar, 'x', "pax", record.data, record.len, 0644);
}

static inline void tar_long_name(struct buf *tar, const char *name)
{
	tar_data(tar, 'L', "././@LongLink", name, strlen(name) + 1, 0644);
}

static inline void tar_end(struct buf *tar)
{
	static const char zeros[2 * TAR_BLOCK];

	buf_append(tar, zeros, sizeof(zeros));
}

/* gzip or zstd, by libarchive's own writer. */
static inline void compress_buf(const struct buf *in, bool zstd, struct buf *out)
{
	size_t room = in->len + in->len / 8 + 4096, used = 0;
	struct archive *a = archive_write_new();
	struct archive_entry *entry = archive_entry_new();

	out->data = malloc(room);
	cr_assert_not_null(out->data);
	cr_assert_eq(archive_write_set_format_raw(a), ARCHIVE_OK);
	cr_assert_eq(zstd ? archive_write_add_filter_zstd(a) : archive_write_add_filter_gzip(a),
		     ARCHIVE_OK);
	archive_write_set_bytes_in_last_block(a, 1);
	cr_assert_eq(archive_write_open_memory(a, out->data, room, &used), ARCHIVE_OK);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_pathname(entry, "data");
	cr_assert_eq(archive_write_header(a, entry), ARCHIVE_OK);
	cr_assert_eq(archive_write_data(a, in->data, in->len), (la_ssize_t)in->len);
	cr_assert_eq(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
	archive_entry_free(entry);
	out->len = used;
	out->cap = room;
}

/* <dir>/{root,trash,outside/secret} */
struct world {
	char dir[32];
	int dir_fd;
	struct layer_target target;
};

#define SECRET_TEXT "untouched"

static inline void put_file(int dir_fd, const char *name, const char *text)
{
	cleanup_fd int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);

	cr_assert_geq(fd, 0, "%s: %m", name);
	cr_assert_eq(fd_write_all(fd, text, strlen(text)), 0);
}

static inline struct world world_make(void)
{
	struct world world = { .dir = "/tmp/bottle-test-XXXXXX" };

	umask(077); /* modes must not depend on it */
	cr_assert_not_null(mkdtemp(world.dir));
	world.dir_fd = open(world.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(world.dir_fd, 0);
	cr_assert_eq(mkdirat(world.dir_fd, "root", 0755), 0);
	cr_assert_eq(mkdirat(world.dir_fd, "trash", 0700), 0);
	cr_assert_eq(mkdirat(world.dir_fd, "outside", 0750), 0);
	put_file(world.dir_fd, "outside/secret", SECRET_TEXT);
	cr_assert_eq(fchmodat(world.dir_fd, "outside", 0750, 0), 0);
	cr_assert_eq(fchmodat(world.dir_fd, "outside/secret", 0640, 0), 0);
	world.target.root_fd = openat(world.dir_fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	world.target.trash.fd = openat(world.dir_fd, "trash", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	world.target.limits = layer_limits_default;
	cr_assert(world.target.root_fd >= 0 && world.target.trash.fd >= 0);
	return world;
}

/* That nothing but the tree was written. */
static inline void world_check(const struct world *world)
{
	cleanup_with(strlist_clear) struct strlist top = { 0 };
	cleanup_with(strlist_clear) struct strlist outside = { 0 };
	cleanup_with(buf_clear) struct buf text = { 0 };
	cleanup_fd int fd = openat(world->dir_fd, "outside", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	cr_assert_geq(fd, 0, "outside is gone");
	cr_assert_eq(tree_list(world->dir_fd, 100, &top), 0);
	cr_assert_eq(top.len, 3, "something was made beside the tree");
	cr_assert_eq(tree_list(fd, 100, &outside), 0);
	cr_assert_eq(outside.len, 1, "something was made outside");
	cr_assert_eq(file_read(fd, "secret", 100, &text, NULL), 0);
	cr_assert_str_eq(text.data, SECRET_TEXT);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0750, "mode of outside changed to %o", st.st_mode);
	cr_assert_eq(fstatat(fd, "secret", &st, AT_SYMLINK_NOFOLLOW), 0);
	cr_assert_eq(st.st_mode & 07777, 0640);
	cr_assert_eq(st.st_nlink, 1, "the secret was linked");
}

static inline void world_end(struct world *world)
{
	world_check(world);
	cr_assert_eq(tree_empty(world->dir_fd, NULL), 0);
	cr_assert_eq(rmdir(world->dir), 0);
	close(world->target.root_fd);
	close(world->target.trash.fd);
	close(world->dir_fd);
}

/* Unpacks these bytes as one layer; the second and later have lower ones. */
static inline int world_unpack_raw(struct world *world, const void *bytes, size_t len,
				   struct err *err)
{
	cleanup_with(blob_clear) struct blob blob = { .size = len, .name = strdup("test") };
	uint8_t stored[SHA256_BYTES], diff[SHA256_BYTES];
	int rc;

	blob.fd = memfd_create("layer", MFD_CLOEXEC);
	cr_assert_gt(blob.fd, 0);
	cr_assert_eq(fd_write_all(blob.fd, bytes, len), 0);
	rc = layer_unpack(&world->target, &blob, stored, diff, err);
	world->target.has_lower = true;
	world_check(world);
	return rc;
}

/* Ends the tar, unpacks it, and empties it for the next layer. */
static inline int world_unpack(struct world *world, struct buf *tar, struct err *err)
{
	int rc;

	tar_end(tar);
	rc = world_unpack_raw(world, tar->data, tar->len, err);
	buf_clear(tar);
	return rc;
}

static inline void world_must_unpack(struct world *world, struct buf *tar)
{
	struct err err = { 0 };
	int rc = world_unpack(world, tar, &err);

	cr_assert_eq(rc, 0, "%s", err.text);
}

static inline void world_must_refuse(struct world *world, struct buf *tar, const char *words)
{
	struct err err = { 0 };
	int rc = world_unpack(world, tar, &err);

	cr_assert_lt(rc, 0, "was taken, but '%s' was expected", words);
	cr_assert_not_null(strstr(err.text, words), "'%s' has no '%s'", err.text, words);
	cr_assert_null(strchr(err.text, '\n'), "more than one line");
}

/* Whether root/<path> is a regular file of ours with this text; path is taken as it is on the host. */
static inline bool world_has(const struct world *world, const char *path, const char *text)
{
	cleanup_with(buf_clear) struct buf found = { 0 };
	cleanup_fd int fd = fd_open_nosymlinks(world->target.root_fd, path, O_RDONLY, 0);

	if (fd < 0 || fd_read_all(fd, 1 << 20, &found) < 0)
		return false;
	return strcmp(found.data ? found.data : "", text) == 0;
}

static inline bool world_exists(const struct world *world, const char *path)
{
	struct stat st;

	return fstatat(world->target.root_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static inline struct stat world_stat(const struct world *world, const char *path)
{
	struct stat st;

	cr_assert_eq(fstatat(world->target.root_fd, path, &st, AT_SYMLINK_NOFOLLOW), 0, "%s: %m",
		     path);
	return st;
}

#endif
