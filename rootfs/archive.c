/* SPDX-License-Identifier: Apache-2.0
 * An image archive as named blobs; see archive.h. Runs in: launcher (`bottle image`).
 *
 * libarchive parses, it never writes: members go to one unlinked spool file, so no name of the
 * archive is ever used as a path. Decompression is by content (gzip, zstd). */
#include "rootfs/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "rootfs/tree.h"

enum {
	READ_BLOCK_BYTES = 256 * 1024,
	LINK_HOPS_MAX = 8,
	SHOWN_NAME_BYTES = 256,
};

const struct image_archive_limits image_archive_limits_default = {
	.spool_bytes = 16ULL << 30,
	.members = 65536,
};

struct image_archive_member {
	char *name; /* relative, without "." and ".." */
	char *link; /* a symlink's target as written, or a hard link's name from the top; else NULL */
	bool is_hard;
	uint64_t offset;
	uint64_t size;
};

struct utf8_locale utf8_locale_enter(void)
{
	struct utf8_locale locale = { 0 };

	locale.utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	if (locale.utf8)
		locale.before = uselocale(locale.utf8);
	return locale;
}

void utf8_locale_leave(struct utf8_locale *locale)
{
	if (!locale->utf8)
		return;
	uselocale(locale->before);
	freelocale(locale->utf8);
}

void blob_clear(struct blob *blob)
{
	if (blob->fd > 0)
		close(blob->fd);
	free(blob->name);
	*blob = (struct blob){ 0 };
}

ssize_t blob_read(const struct blob *blob, uint64_t at, void *bytes, size_t len)
{
	ssize_t n;

	if (at >= blob->size)
		return 0;
	if (len > blob->size - at)
		len = (size_t)(blob->size - at);
	do {
		n = pread(blob->fd, bytes, len, (off_t)(blob->offset + at));
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int blob_read_all(const struct blob *blob, size_t max_bytes, struct buf *ret_buf, struct err *err)
{
	char chunk[16384];
	uint64_t at = 0;

	if (blob->size > max_bytes)
		return err_set(err, EFBIG, "%s: %llu bytes, more than the %zu that are allowed",
			       blob->name, (unsigned long long)blob->size, max_bytes);
	while (at < blob->size) {
		ssize_t n = blob_read(blob, at, chunk, sizeof(chunk));

		if (n <= 0)
			return err_sys(err, n < 0 ? (int)-n : EIO, "%s", blob->name);
		buf_append(ret_buf, chunk, (size_t)n);
		at += (uint64_t)n;
	}
	return ret_buf->failed ? err_sys(err, ENOMEM, "%s", blob->name) : 0;
}

/* Never 0, so that a zero-initialised struct holds no descriptor. */
static int dup_above_zero(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

static int make_spool(int dir_fd, struct err *err)
{
	cleanup_fd int fd = dir_fd < 0 ? memfd_create("spool", MFD_CLOEXEC)
				       : openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (dir_fd >= 0 && fd < 0) { /* a file system without O_TMPFILE (NFS, some FUSE) */
		fd = openat(dir_fd, "spool", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd >= 0 && unlinkat(dir_fd, "spool", 0) < 0)
			return err_sys(err, errno, "making a spool file in the image store");
	}
	if (fd < 0)
		return err_sys(err, errno, "making a spool file in the image store");
	return dup_above_zero(fd);
}

/* What one reading of the outer tar carries along. */
struct spooling {
	struct image_archive *archive;
	const struct image_archive_limits *limits;
	struct archive *reader;
	uint64_t used;
	uint64_t
		passed_over; /* bytes of members that are not kept: they are inflated all the same */
	uint64_t entries;
	size_t room; /* allocated members */
};

static int add_member(struct spooling *spool, const struct image_archive_member *member)
{
	struct image_archive *archive = spool->archive;

	if (archive->member_count == spool->room) {
		size_t room = spool->room ? spool->room * 2 : 64;
		struct image_archive_member *grown = realloc(archive->members,
							     room * sizeof(*archive->members));

		if (!grown)
			return -ENOMEM;
		archive->members = grown;
		spool->room = room;
	}
	archive->members[archive->member_count++] = *member;
	return 0;
}

static int write_at(int fd, const void *bytes, size_t len, uint64_t at)
{
	const char *from = bytes;

	while (len) {
		ssize_t n = pwrite(fd, from, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		from += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int reader_failed(const struct spooling *spool, struct err *err)
{
	const char *text = archive_error_string(spool->reader);

	return err_set(err, EBADMSG, "%s: not a tar archive that can be read: %s",
		       spool->archive->path, text ? text : "unknown error");
}

/* Whether `len` more bytes are too many for a whole archive. */
static int check_room(const struct spooling *spool, uint64_t len, struct err *err)
{
	if (len <= spool->limits->spool_bytes - spool->used - spool->passed_over)
		return 0;
	return err_set(err, EFBIG, "%s: holds more than %llu bytes", spool->archive->path,
		       (unsigned long long)spool->limits->spool_bytes);
}

/* A piece of the current entry: its bytes are libarchive's, and have room. 1, 0 at the end, or -errno. */
struct piece {
	const void *bytes;
	size_t len;
	la_int64_t offset;
};

static int next_piece(const struct spooling *spool, struct piece *piece, struct err *err)
{
	int rc = archive_read_data_block(spool->reader, &piece->bytes, &piece->len, &piece->offset);

	if (rc == ARCHIVE_EOF)
		return 0;
	if (rc != ARCHIVE_OK)
		return reader_failed(spool, err);
	TRY(check_room(spool, piece->len, err));
	return 1;
}

/* libarchive would do so unasked, and without a bound. */
static int pass_over_data(struct spooling *spool, struct err *err)
{
	struct piece piece;
	int rc;

	while ((rc = next_piece(spool, &piece, err)) > 0)
		spool->passed_over += piece.len;
	return rc;
}

/* Copies the data of the current entry to the end of the spool. */
static int spool_data(struct spooling *spool, uint64_t *ret_size, struct err *err)
{
	struct piece piece;
	uint64_t size = 0;
	int rc;

	while ((rc = next_piece(spool, &piece, err)) > 0) {
		if (piece.offset < 0 || (uint64_t)piece.offset != size)
			return err_set(err, EBADMSG, "%s: a sparse member is not an image's",
				       spool->archive->path);
		rc = write_at(spool->archive->spool_fd, piece.bytes, piece.len, spool->used);
		if (rc < 0)
			return err_sys(err, -rc, "writing the image store");
		spool->used += piece.len;
		size += piece.len;
	}
	*ret_size = size;
	return rc;
}

/* A relative name without "." and ".."; such a name in an outer archive is nobody's member, so
 * what has none is passed over: NULL. */
static char *member_name(const char *text)
{
	cleanup_with(tree_name_clear) struct tree_name name = { 0 };

	if (!text || tree_name_split(text, &name, NULL) < 0 || !*name.base)
		return NULL;
	return strcmp(name.dir, ".") == 0 ? strdup(name.base)
					  : str_printf("%s/%s", name.dir, name.base);
}

static int spool_entry(struct spooling *spool, struct archive_entry *entry, struct err *err)
{
	const char *hard = archive_entry_hardlink(entry);
	const char *soft = archive_entry_symlink(entry);
	struct image_archive_member member = { .offset = spool->used };
	cleanup_free char *name = member_name(archive_entry_pathname(entry));
	cleanup_free char *link = NULL;

	if (++spool->entries > spool->limits->members)
		return err_set(err, E2BIG, "%s: more than %llu members", spool->archive->path,
			       (unsigned long long)spool->limits->members);
	if (!name)
		return pass_over_data(spool, err);
	if (hard || (soft && archive_entry_filetype(entry) == AE_IFLNK)) {
		link = strdup(hard ? hard : soft);
		if (!link)
			return err_sys(err, ENOMEM, "%s", spool->archive->path);
		member.is_hard = hard != NULL;
		TRY(pass_over_data(spool, err));
	} else if (archive_entry_filetype(entry) != AE_IFREG) {
		return pass_over_data(spool, err);
	} else {
		TRY(spool_data(spool, &member.size, err));
	}
	member.name = name;
	member.link = link;
	if (add_member(spool, &member) < 0)
		return err_sys(err, ENOMEM, "%s", spool->archive->path);
	(void)take_ptr(name);
	(void)take_ptr(link);
	return 0;
}

static int spool_entries(struct spooling *spool, struct err *err)
{
	struct archive_entry *entry;
	int rc;

	while ((rc = archive_read_next_header(spool->reader, &entry)) != ARCHIVE_EOF) {
		if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
			return reader_failed(spool, err);
		TRY(spool_entry(spool, entry, err));
	}
	return 0;
}

static void reader_free(struct archive **reader)
{
	archive_read_free(*reader);
}

static int spool_tar(int fd, struct image_archive *archive,
		     const struct image_archive_limits *limits, struct err *err)
{
	cleanup_with(utf8_locale_leave) struct utf8_locale utf8 = utf8_locale_enter();
	cleanup_with(reader_free) struct archive *reader = archive_read_new();
	struct spooling spool = { .archive = archive, .limits = limits, .reader = reader };

	(void)utf8; /* in force until the end of this function */
	if (!reader || archive_read_support_format_tar(reader) != ARCHIVE_OK ||
	    archive_read_support_filter_gzip(reader) != ARCHIVE_OK ||
	    archive_read_support_filter_zstd(reader) != ARCHIVE_OK)
		return err_set(err, ENOMEM, "%s: no memory for a tar reader", archive->path);
	if (archive_read_open_fd(reader, fd, READ_BLOCK_BYTES) != ARCHIVE_OK)
		return reader_failed(&spool, err);
	if (archive_filter_count(reader) > 2) /* one, and the file itself */
		return err_set(err, EBADMSG, "%s: is compressed more than once", archive->path);
	return spool_entries(&spool, err);
}

static int open_path(const char *path, struct err *err)
{
	int fd;

	if (strcmp(path, "-") == 0) {
		if (isatty(STDIN_FILENO))
			return err_set(err, EINVAL,
				       "stdin is a terminal: pipe an archive into it, "
				       "as in `docker save IMAGE | bottle image "
				       "import -`");
		fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	} else {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	}
	return fd < 0 ? err_sys(err, errno, "%s", path) : fd;
}

int image_archive_open(const char *path, int spool_dir_fd,
		       const struct image_archive_limits *limits, struct image_archive *ret_archive,
		       struct err *err)
{
	cleanup_with(image_archive_close) struct image_archive archive = { .path = path };
	cleanup_fd int fd = open_path(path, err);
	struct stat st;

	TRY(fd);
	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "%s", path);
	if (S_ISDIR(st.st_mode)) {
		archive.dir_fd = dup_above_zero(fd);
		if (archive.dir_fd < 0)
			return err_sys(err, -archive.dir_fd, "%s", path);
	} else {
		archive.spool_fd = make_spool(spool_dir_fd, err);
		TRY(archive.spool_fd);
		TRY(spool_tar(fd, &archive, limits, err));
	}
	*ret_archive = archive;
	archive = (struct image_archive){ 0 };
	return 0;
}

void image_archive_close(struct image_archive *archive)
{
	if (archive->dir_fd > 0)
		close(archive->dir_fd);
	if (archive->spool_fd > 0)
		close(archive->spool_fd);
	for (size_t i = 0; i < archive->member_count; i++) {
		free(archive->members[i].name);
		free(archive->members[i].link);
	}
	free(archive->members);
	*archive = (struct image_archive){ 0 };
}

static int find_in_dir(const struct image_archive *archive, const char *name, struct blob *ret_blob,
		       struct err *err)
{
	/* The folder is "/" for its symlinks: one that leads out of it finds nothing there. A FIFO
	 * laid in it must not hang the import. */
	cleanup_fd int fd = fd_open_in_root(archive->dir_fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY,
					    0);
	struct stat st;

	if (fd == -ENOENT)
		return fd;
	if (fd < 0)
		return err_sys(err, -fd, "%s: %s", archive->path, ret_blob->name);
	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "%s: %s", archive->path, ret_blob->name);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "%s: %s is not a regular file", archive->path,
			       ret_blob->name);
	ret_blob->fd = dup_above_zero(fd);
	ret_blob->size = (uint64_t)st.st_size;
	return ret_blob->fd < 0
		       ? err_sys(err, -ret_blob->fd, "%s: %s", archive->path, ret_blob->name)
		       : 0;
}

/* The last of that name counts, as when a tar is unpacked. */
static const struct image_archive_member *member_by_name(const struct image_archive *archive,
							 const char *name)
{
	for (size_t i = archive->member_count; i-- > 0;)
		if (strcmp(archive->members[i].name, name) == 0)
			return &archive->members[i];
	return NULL;
}

/* "a/b/layer.tar" with link "../../c/layer.tar" → "c/layer.tar"; NULL where it leads out. */
static char *link_target(const struct image_archive_member *member)
{
	cleanup_free char *dir = strdup(member->name);
	cleanup_free char *joined = NULL;
	const char *link = member->link;
	char *slash;

	if (!dir)
		return NULL;
	if (member->is_hard || *link == '/')
		return member_name(link);
	slash = strrchr(dir, '/');
	while (str_starts(link, "../") || str_starts(link, "./")) {
		if (link[1] == '/') {
			link += 2;
			continue;
		}
		if (!slash)
			return NULL;
		*slash = '\0';
		slash = strrchr(dir, '/');
		link += 3;
	}
	if (!slash)
		return member_name(link);
	*slash = '\0';
	joined = str_printf("%s/%s", dir, link);
	return joined ? member_name(joined) : NULL;
}

static const struct image_archive_member *member_followed(const struct image_archive *archive,
							  const char *name)
{
	const struct image_archive_member *member = member_by_name(archive, name);

	for (int hops = 0; member && member->link; hops++) {
		cleanup_free char *target = hops < LINK_HOPS_MAX ? link_target(member) : NULL;

		member = target ? member_by_name(archive, target) : NULL;
	}
	return member;
}

int image_archive_find(const struct image_archive *archive, const char *name, struct blob *ret_blob,
		       struct err *err)
{
	cleanup_with(blob_clear) struct blob blob = { 0 };
	const struct image_archive_member *member;
	char shown[SHOWN_NAME_BYTES];

	blob.name = strdup(str_escape(shown, sizeof(shown), name, strlen(name)));
	if (!blob.name)
		return err_sys(err, ENOMEM, "%s", archive->path);
	if (archive->dir_fd > 0) {
		TRY(find_in_dir(archive, name, &blob, err));
	} else {
		member = member_followed(archive, name);
		if (!member)
			return -ENOENT;
		blob.offset = member->offset;
		blob.size = member->size;
		blob.fd = dup_above_zero(archive->spool_fd);
		if (blob.fd < 0)
			return err_sys(err, -blob.fd, "%s", archive->path);
	}
	*ret_blob = blob;
	blob = (struct blob){ 0 };
	return 0;
}
