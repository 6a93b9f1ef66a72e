/* SPDX-License-Identifier: Apache-2.0
 *
 * What `bottle image import` is given (a tar, a compressed tar, an OCI layout folder, stdin) as one
 * thing: named blobs that can be read at any offset, any number of times.
 */
#ifndef ROOTFS_ARCHIVE_H
#define ROOTFS_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

struct image_archive_member;

/* Zero-initialise; image_archive_close frees all of it. */
struct image_archive {
	const char *path; /* borrowed, for messages; "-" is stdin */
	int dir_fd;	  /* > 0: an OCI layout folder */
	int spool_fd;	  /* > 0: an unlinked file with the members of the tar, end to end */
	struct image_archive_member *members;
	size_t member_count;
};

/* A member's bytes: [offset, offset + size) of fd. */
struct blob {
	int fd; /* > 0: owned; 0: none */
	uint64_t offset;
	uint64_t size;
	char *name; /* owned, escaped: for messages */
};

void blob_clear(struct blob *blob);

struct image_archive_limits {
	uint64_t spool_bytes; /* all members of the outer tar */
	uint64_t members;
};
extern const struct image_archive_limits image_archive_limits_default;

/* Opens and, where it is a tar, spools it into an unlinked file below spool_dir_fd: layers are read
 * after the manifest that names them, which may come last, and stdin cannot be read twice. In memory
 * where spool_dir_fd is -1. */
int image_archive_open(const char *path, int spool_dir_fd,
		       const struct image_archive_limits *limits, struct image_archive *ret_archive,
		       struct err *err) MUST_CHECK;
void image_archive_close(struct image_archive *archive);

/* A member by name; symlinks in the archive (`docker save` of old wrote a shared layer as one) are
 * followed within it. -ENOENT without a sentence when there is none. */
int image_archive_find(const struct image_archive *archive, const char *name, struct blob *ret_blob,
		       struct err *err) MUST_CHECK;

/* Reads [at, at + len) of the blob, at most what there is; the count or -errno. */
ssize_t blob_read(const struct blob *blob, uint64_t at, void *bytes, size_t len) MUST_CHECK;

/* Appends the whole blob; -EFBIG past max_bytes. */
int blob_read_all(const struct blob *blob, size_t max_bytes, struct buf *ret_buf,
		  struct err *err) MUST_CHECK;

/* libarchive turns names into the locale's character set, and in the C locale that a program starts
 * in it writes "?" for what it cannot. These set the calling thread's locale to UTF-8 and back. */
struct utf8_locale {
	void *utf8;
	void *before;
};
struct utf8_locale utf8_locale_enter(void);
void utf8_locale_leave(struct utf8_locale *locale);

#endif
