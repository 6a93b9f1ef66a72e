/* SPDX-License-Identifier: Apache-2.0
 * One layer over a tree; see layer.h. Runs in: launcher (`bottle image import`), as the caller, with
 * no right beyond his.
 *
 * The archive is hostile. What keeps it in the tree:
 *
 *   names      split and checked first; ".." is refused, a leading "/" is the tree's own
 *   parents    opened from the root with openat2(RESOLVE_IN_ROOT): a symlink that an earlier entry
 *              or layer laid may be followed (usrmerge: bin → usr/bin), but only inside the tree
 *   last part  never followed: what is there is taken away, then made with O_EXCL | O_NOFOLLOW
 *   hard links their target is found the same way, must be a regular file, and is not followed
 *   nodes      devices, FIFOs and sockets are counted and left out; what was there goes
 *   modes      rwx, and the sticky bit of folders; set-id bits, owners, xattrs (file capabilities)
 *              and ACLs are dropped. The caller owns all of it and can always read and traverse it:
 *              he could not serve or remove it else
 *
 * Modification times are kept to the nanosecond: Python compares a source's with its .pyc's. Those
 * of folders are set when the layer is through, since each entry made inside changes them again. */
#include "rootfs/layer.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "rootfs/layer_seen.h"
#include "rootfs/layer_stream.h"
#include "rootfs/layer_whiteout.h"

enum { SHOWN_NAME_BYTES = 256 };

const struct layer_limits layer_limits_default = {
	.stream_bytes = 16ULL << 30,
	.file_bytes = 16ULL << 30,
	.entries = 1000 * 1000,
	.name_bytes = 64 << 20,
};

struct dir_time {
	struct tree_name name;
	struct timespec mtime;
};

/* One layer under way. */
struct unpack {
	struct layer_target *target;
	struct layer_stream *stream;
	struct layer_seen seen;
	struct dir_time *dir_times;
	size_t dir_time_count, dir_time_room;
	uint64_t dir_time_bytes; /* of their names */
};

/* One entry, with its parent open. */
struct place {
	struct archive_entry *entry;
	struct tree_name name;
	int parent_fd;
};

static void place_clear(struct place *place)
{
	tree_name_clear(&place->name);
	fd_close(&place->parent_fd);
}

static void unpack_clear(struct unpack *unpack)
{
	layer_stream_close(&unpack->stream);
	layer_seen_clear(&unpack->seen);
	for (size_t i = 0; i < unpack->dir_time_count; i++)
		tree_name_clear(&unpack->dir_times[i].name);
	free(unpack->dir_times);
}

static struct timespec entry_mtime(struct archive_entry *entry)
{
	struct timespec mtime = { .tv_nsec = UTIME_OMIT };
	long nsec = archive_entry_mtime_nsec(entry);

	if (archive_entry_mtime_is_set(entry) && nsec >= 0 && nsec < 1000 * 1000 * 1000) {
		mtime.tv_sec = archive_entry_mtime(entry);
		mtime.tv_nsec = nsec;
	}
	return mtime;
}

static int set_mtime_fd(int fd, struct timespec mtime)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, mtime };

	return futimens(fd, times) < 0 ? -errno : 0;
}

static int too_many_entries(const struct layer_target *target, struct err *err)
{
	return err_set(err, E2BIG, "the image has more than %llu entries",
		       (unsigned long long)target->limits.entries);
}

static int too_many_names(const struct layer_target *target, struct err *err)
{
	return err_set(err, E2BIG, "the names of a layer's entries take more than %llu bytes",
		       (unsigned long long)target->limits.name_bytes);
}

/* Opens the folder that an entry goes into. It and those above count as this layer's too: a tar may
 * leave their own entries out. Those that are made here use up the limit of entries: one name can
 * imply as many as it has parts. */
static int open_parent(struct unpack *unpack, struct place *place, struct err *err)
{
	struct layer_target *target = unpack->target;
	struct tree_walk walk = { .room = target->limits.entries - target->usage.entries };
	int rc = tree_open_dir(target->root_fd, place->name.dir, &walk, &place->parent_fd, err);

	if (rc == -E2BIG)
		return too_many_entries(target, err);
	TRY(rc);
	target->usage.entries += walk.made;
	if (target->has_lower)
		rc = layer_seen_add_path(&unpack->seen, target->root_fd, place->name.dir);
	if (rc == -E2BIG)
		return too_many_names(target, err);
	return rc < 0 ? err_sys(err, -rc, "noting a layer's folders") : 0;
}

static bool same_name(const struct tree_name *a, const struct tree_name *b)
{
	return strcmp(a->base, b->base) == 0 && strcmp(a->dir, b->dir) == 0;
}

static int grow_dir_times(struct unpack *unpack)
{
	if (unpack->dir_time_count == unpack->dir_time_room) {
		size_t room = unpack->dir_time_room ? unpack->dir_time_room * 2 : 256;
		struct dir_time *grown = realloc(unpack->dir_times, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		unpack->dir_times = grown;
		unpack->dir_time_room = room;
	}
	return 0;
}

/* A small archive can repeat a long name very often: the same one in a row is kept once, and the sum
 * of all is bounded. */
static int remember_dir_time(struct unpack *unpack, struct place *place, struct err *err)
{
	size_t bytes = strlen(place->name.dir) + strlen(place->name.base);
	struct dir_time *last = unpack->dir_time_count
					? &unpack->dir_times[unpack->dir_time_count - 1]
					: NULL;

	if (last && same_name(&last->name, &place->name)) {
		last->mtime = entry_mtime(place->entry);
		return 0;
	}
	if (bytes > unpack->target->limits.name_bytes - unpack->dir_time_bytes)
		return too_many_names(unpack->target, err);
	TRY(grow_dir_times(unpack));
	unpack->dir_time_bytes += bytes;
	unpack->dir_times[unpack->dir_time_count++] = (struct dir_time){
		.name = place->name,
		.mtime = entry_mtime(place->entry),
	};
	place->name = (struct tree_name){ 0 };
	return 0;
}

/* A folder that is there stays, and gets this layer's mode and time; anything else makes way. */
static int make_dir(struct unpack *unpack, struct place *place)
{
	const char *base = *place->name.base ? place->name.base : ".";
	mode_t mode = (archive_entry_perm(place->entry) & 01777) | 0700;
	cleanup_fd int fd = -1;
	struct stat st;

	if (fstatat(place->parent_fd, base, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode)) {
		TRY(tree_remove(place->parent_fd, base, &unpack->target->trash));
		if (mkdirat(place->parent_fd, base, 0700) < 0)
			return -errno;
	}
	fd = openat(place->parent_fd, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchmod(fd, mode) < 0)
		return -errno;
	return 0;
}

/* Blocks come in order; a gap between them is a hole. */
static int write_data(struct unpack *unpack, int fd, uint64_t size)
{
	for (;;) {
		const void *block;
		size_t len;
		la_int64_t offset;
		int rc = archive_read_data_block(unpack->stream->tar, &block, &len, &offset);

		if (rc == ARCHIVE_EOF)
			return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
		if (rc != ARCHIVE_OK)
			return -EBADMSG;
		if (len == 0)
			continue;
		if (offset < 0 || (uint64_t)offset > size || len > size - (uint64_t)offset)
			return -EBADMSG;
		if (lseek(fd, offset, SEEK_SET) < 0)
			return -errno;
		TRY(fd_write_all(fd, block, len));
	}
}

static int make_file(struct unpack *unpack, struct place *place, struct err *err)
{
	mode_t mode = (archive_entry_perm(place->entry) & 0777) | 0400;
	la_int64_t size = archive_entry_size(place->entry);
	struct layer_target *target = unpack->target;
	cleanup_fd int fd = -1;

	if (size < 0)
		return -EBADMSG;
	if ((uint64_t)size > target->limits.file_bytes - target->usage.file_bytes)
		return err_set(err, EFBIG,
			       "with it the image's files are larger than the %llu bytes that are "
			       "allowed",
			       (unsigned long long)target->limits.file_bytes);
	target->usage.file_bytes += (uint64_t)size;
	TRY(tree_remove(place->parent_fd, place->name.base, &target->trash));
	fd = openat(place->parent_fd, place->name.base,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	TRY(write_data(unpack, fd, (uint64_t)size));
	if (fchmod(fd, mode) < 0)
		return -errno;
	return set_mtime_fd(fd, entry_mtime(place->entry));
}

static int make_symlink(struct unpack *unpack, struct place *place)
{
	const char *link_target = archive_entry_symlink(place->entry);
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, entry_mtime(place->entry) };

	if (!link_target || !*link_target)
		return -EBADMSG;
	TRY(tree_remove(place->parent_fd, place->name.base, &unpack->target->trash));
	if (symlinkat(link_target, place->parent_fd, place->name.base) < 0 ||
	    utimensat(place->parent_fd, place->name.base, times, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

/* The target's folder is opened like any parent, its last part is looked at and linked without
 * being followed (linkat(2) without AT_SYMLINK_FOLLOW); nobody else writes this tree meanwhile. */
static int make_hard_link(struct unpack *unpack, struct place *place, struct err *err)
{
	cleanup_with(tree_name_clear) struct tree_name source = { 0 };
	const char *text = archive_entry_hardlink(place->entry);
	cleanup_fd int source_fd = -1;
	struct stat st, old;

	TRY(tree_name_split(text, &source, err));
	source_fd = fd_open_in_root(unpack->target->root_fd, source.dir, O_RDONLY | O_DIRECTORY, 0);
	if (source_fd < 0 || fstatat(source_fd, source.base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(err, ENOENT, "it is a hard link to something that is not there");
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "it is a hard link to what is no regular file");
	if (fstatat(place->parent_fd, place->name.base, &old, AT_SYMLINK_NOFOLLOW) == 0 &&
	    old.st_ino == st.st_ino)
		return 0; /* a link to itself, or made before: removing the name could lose it */
	TRY(tree_remove(place->parent_fd, place->name.base, &unpack->target->trash));
	if (linkat(source_fd, source.base, place->parent_fd, place->name.base, 0) < 0)
		return -errno;
	return 0;
}

/* Whether make_entry leaves it out: no hard link, and of no type that it makes. */
static bool is_left_out(struct archive_entry *entry)
{
	mode_t type = archive_entry_filetype(entry);

	return !archive_entry_hardlink(entry) && type != AE_IFDIR && type != AE_IFREG &&
	       type != AE_IFLNK;
}

/* What is not made hides what lies below it all the same, and is nothing that this layer has. */
static int note_seen(struct unpack *unpack, const struct place *place, struct err *err)
{
	int rc;

	if (is_left_out(place->entry))
		return 0;
	rc = layer_seen_add(&unpack->seen, place->parent_fd, place->name.base);
	return rc == -E2BIG ? too_many_names(unpack->target, err) : rc;
}

static int leave_out(struct unpack *unpack, struct place *place)
{
	TRY(tree_remove(place->parent_fd, place->name.base, &unpack->target->trash));
	unpack->target->usage.skipped++;
	return 0;
}

/* The one place that decides what an entry is. *err->text is empty where only errno's words say
 * what went wrong. */
static int make_entry(struct unpack *unpack, struct place *place, struct err *err)
{
	mode_t type = archive_entry_filetype(place->entry);

	if (archive_entry_hardlink(place->entry))
		return make_hard_link(unpack, place, err);
	switch (type) {
	case AE_IFDIR:
		return make_dir(unpack, place);
	case AE_IFREG:
		return make_file(unpack, place, err);
	case AE_IFLNK:
		return make_symlink(unpack, place);
	default:
		return leave_out(unpack, place);
	}
}

static int place_error(struct unpack *unpack, const struct place *place, int rc, struct err *err)
{
	char shown[SHOWN_NAME_BYTES];
	const char *name = archive_entry_pathname(place->entry);

	str_escape(shown, sizeof(shown), name, strlen(name));
	if (!*err->text && rc == -EBADMSG)
		(void)!layer_stream_failed(unpack->stream, err);
	if (*err->text)
		return err_context(err, rc, "entry '%s'", shown);
	return err_sys(err, -rc, "entry '%s'", shown);
}

/* The root's own entry may only be a folder; everything else needs a name. */
static bool is_root_but_no_dir(const struct place *place)
{
	return !*place->name.base && (archive_entry_hardlink(place->entry) ||
				      archive_entry_filetype(place->entry) != AE_IFDIR);
}

static int unpack_place(struct unpack *unpack, struct place *place, struct err *err)
{
	bool is_dir = archive_entry_filetype(place->entry) == AE_IFDIR &&
		      !archive_entry_hardlink(place->entry);
	struct err detail = { 0 };
	int rc;

	if (is_root_but_no_dir(place))
		return err_set(err, EINVAL, "an entry would replace the image's root folder");
	TRY(open_parent(unpack, place, err));
	if (layer_whiteout_is(place->name.base))
		return layer_whiteout_apply(unpack->target, &unpack->seen, place->parent_fd,
					    place->name.base, err);
	rc = make_entry(unpack, place, &detail);
	if (rc == 0 && unpack->target->has_lower && *place->name.base)
		rc = note_seen(unpack, place, &detail);
	if (rc == 0 && is_dir)
		rc = remember_dir_time(unpack, place, &detail);
	if (rc == 0)
		return 0;
	rc = place_error(unpack, place, rc, &detail);
	if (err)
		*err = detail;
	return rc;
}

static int unpack_entry(struct unpack *unpack, struct archive_entry *entry, struct err *err)
{
	cleanup_with(place_clear) struct place place = { .entry = entry, .parent_fd = -1 };
	const char *name = archive_entry_pathname(entry);
	struct layer_target *target = unpack->target;

	if (target->usage.entries >= target->limits.entries)
		return too_many_entries(target, err);
	target->usage.entries++;
	if (!name)
		return err_set(err, EILSEQ, "an entry's name is not UTF-8");
	TRY(tree_name_split(name, &place.name, err));
	if (layer_whiteout_is_foreign(&place.name))
		return 0;
	return unpack_place(unpack, &place, err);
}

/* libarchive goes on after a name that it could not convert, with "?" in its place. */
static bool name_is_lost(struct archive *tar)
{
	const char *text = archive_error_string(tar);

	return text && (str_starts(text, "Pathname") || str_starts(text, "Linkname"));
}

static int unpack_entries(struct unpack *unpack, struct err *err)
{
	struct archive *tar = unpack->stream->tar;
	struct archive_entry *entry;
	int rc;

	while ((rc = archive_read_next_header(tar, &entry)) != ARCHIVE_EOF) {
		if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
			return layer_stream_failed(unpack->stream, err);
		if (rc == ARCHIVE_WARN && name_is_lost(tar))
			return err_set(err, EILSEQ, "an entry's name is not UTF-8");
		TRY(unpack_entry(unpack, entry, err));
	}
	return 0;
}

/* A folder that a later entry has replaced is passed over. */
static int set_dir_times(struct unpack *unpack)
{
	for (size_t i = 0; i < unpack->dir_time_count; i++) {
		const struct dir_time *dir = &unpack->dir_times[i];
		cleanup_fd int parent_fd = fd_open_in_root(unpack->target->root_fd, dir->name.dir,
							   O_RDONLY | O_DIRECTORY, 0);
		cleanup_fd int fd = -1;

		if (parent_fd < 0)
			continue;
		fd = openat(parent_fd, *dir->name.base ? dir->name.base : ".",
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0)
			TRY(set_mtime_fd(fd, dir->mtime));
	}
	return 0;
}

int layer_unpack(struct layer_target *target, const struct blob *blob,
		 uint8_t ret_stored[static SHA256_BYTES], uint8_t ret_diff[static SHA256_BYTES],
		 struct err *err)
{
	cleanup_with(utf8_locale_leave) struct utf8_locale utf8 = utf8_locale_enter();
	cleanup_with(unpack_clear) struct unpack unpack = {
		.target = target,
		.seen = { .room_bytes = target->limits.name_bytes },
	};
	int rc;

	(void)utf8; /* in force until the end of this function */
	unpack.stream = layer_stream_open(
		blob, target->limits.stream_bytes - target->usage.stream_bytes, err);
	if (!unpack.stream)
		return -EBADMSG;
	TRY(unpack_entries(&unpack, err));
	TRY(layer_stream_finish(unpack.stream, ret_stored, ret_diff, err));
	target->usage.stream_bytes += unpack.stream->inflated_bytes;
	rc = set_dir_times(&unpack);
	if (rc == 0)
		rc = tree_empty(target->trash.fd, NULL);
	return rc < 0 ? err_sys(err, -rc, "finishing the layer") : 0;
}
