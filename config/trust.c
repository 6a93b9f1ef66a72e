/* SPDX-License-Identifier: Apache-2.0
 *
 * Digests of accepted manifests; see trust.h. Runs in: launcher. Power: writes <state>/trust/.
 *
 * One file for each path, named by the path's SHA-256, so that no path can be made to name
 * another's file. It holds, a line each, the digest of the manifest, the path for people, and
 * the digest of each CA file that the manifest names. It is written whole under another name and
 * renamed; it is read only when it is a regular file of the caller's own.
 */
#include "config/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/sha256.h"
#include "base/str.h"

static const char folder[] = "trust";

/* A record's first line. */
enum { RECORD_DIGEST_BYTES = SHA256_HEX_BYTES - 1, RECORD_MAX_BYTES = 65536 };

static void hex_of(const void *bytes, size_t len, char ret_hex[static SHA256_HEX_BYTES])
{
	uint8_t digest[SHA256_BYTES];
	struct sha256 sha;

	sha256_init(&sha);
	sha256_update(&sha, bytes, len);
	sha256_final(&sha, digest);
	sha256_hex(digest, ret_hex);
}

/* Opens <state>/trust; -ENOENT when there is none yet. */
static int open_folder(int state_dir_fd)
{
	return fd_open_nosymlinks(state_dir_fd, folder, O_RDONLY | O_DIRECTORY, 0);
}

/* The lines after the path's. -EBADMSG when one is no digest. */
static int read_files(const char *record, struct strlist *ret_files)
{
	const char *line = strchr(record + RECORD_DIGEST_BYTES + 1, '\n');

	for (line = line ? line + 1 : ""; *line; line += RECORD_DIGEST_BYTES + 1) {
		if (strspn(line, "0123456789abcdef") != RECORD_DIGEST_BYTES ||
		    line[RECORD_DIGEST_BYTES] != '\n')
			return -EBADMSG;
		TRY(strlist_addf(ret_files, "%.*s", (int)RECORD_DIGEST_BYTES, line));
	}
	return 0;
}

/* Reads the digests that were accepted for the path whose hash is `name`. -ENOENT: none. */
static int read_record(int folder_fd, const char *name, char ret_hex[static SHA256_HEX_BYTES],
		       struct strlist *ret_files)
{
	/* O_NONBLOCK: a FIFO in its place must not hang the run. */
	cleanup_fd int fd = fd_open_nosymlinks(folder_fd, name, O_RDONLY | O_NONBLOCK, 0);
	cleanup_with(buf_clear) struct buf record = { 0 };
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022))
		return -EPERM;
	TRY(fd_read_all(fd, RECORD_MAX_BYTES, &record));
	if (record.len < RECORD_DIGEST_BYTES + 1 || record.data[RECORD_DIGEST_BYTES] != '\n')
		return -EBADMSG;
	memcpy(ret_hex, record.data, RECORD_DIGEST_BYTES);
	ret_hex[RECORD_DIGEST_BYTES] = '\0';
	buf_append(&record, "", 1);
	return record.failed ? -ENOMEM : read_files(record.data, ret_files);
}

/* The command for people to paste. A hostile clone chose the folder's name: what a shell minds is quoted, and
 * what cannot be shown as it is stands in no command. */
static void put_command(struct buf *out, const char *path, const char *shown)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "._-/@%+:,";

	if (strcmp(path, shown) != 0) {
		buf_puts(out, "look at it with 'bottle trust' in its folder");
	} else if (strspn(path, plain) == strlen(path)) {
		buf_printf(out, "look at it with 'bottle trust %s'", path);
	} else {
		buf_puts(out, "look at it with: bottle trust ");
		buf_quote(out, path);
	}
}

int trust_refuse(const char *path, const char *what, struct err *err)
{
	cleanup_with(buf_clear) struct buf command = { 0 };
	char shown[512];

	put_command(&command, path, str_escape(shown, sizeof(shown), path, strlen(path)));
	return err_set(err, EKEYREJECTED, "%s: %s; %s, or name it with -f", shown, what,
		       command.failed ? "look at it with 'bottle trust'" : command.data);
}

/* The sentence for a check that failed with `rc`. */
static int explain(const char *path, const char *name, int rc, struct err *err)
{
	cleanup_with(buf_clear) struct buf command = { 0 };
	char shown[512];

	str_escape(shown, sizeof(shown), path, strlen(path));
	put_command(&command, path, shown);
	if (command.failed)
		return err_sys(err, ENOMEM, "%s", shown);
	switch (-rc) {
	case ENOENT:
		return err_set(
			err, ENOKEY,
			"%s: this manifest was found, not named, and nobody has accepted it yet; "
			"%s, or name it with -f",
			shown, command.data);
	case EKEYREJECTED:
		return trust_refuse(path, "this manifest has changed since it was accepted", err);
	case EPERM:
	case ELOOP:
		return err_set(
			err, -rc,
			"%s: its record %s/%s in the state folder is not a file that only you may "
			"write; remove it and run 'bottle trust' again",
			shown, folder, name);
	default:
		return err_sys(err, -rc, "%s: its record %s/%s in the state folder", shown, folder,
			       name);
	}
}

int trust_check(int state_dir_fd, const char *path, const void *text, size_t len,
		struct strlist *ret_files, struct err *err)
{
	char name[SHA256_HEX_BYTES], wanted[SHA256_HEX_BYTES], accepted[SHA256_HEX_BYTES];
	cleanup_fd int folder_fd = open_folder(state_dir_fd);
	int rc = folder_fd;

	hex_of(path, strlen(path), name);
	hex_of(text, len, wanted);
	if (folder_fd >= 0)
		rc = read_record(folder_fd, name, accepted, ret_files);
	if (rc == 0 && strcmp(wanted, accepted) != 0)
		rc = -EKEYREJECTED;
	return rc < 0 ? explain(path, name, rc, err) : 0;
}

/* The record's name while it is written. A kill leaves one behind; nothing ever reads it. */
static int make_temporary(int folder_fd, char *ret_name, size_t size)
{
	uint64_t number;

	if (getentropy(&number, sizeof(number)) < 0)
		return -EIO;
	snprintf(ret_name, size, ".new-%016llx", (unsigned long long)number);
	return fd_open_nosymlinks(folder_fd, ret_name, O_WRONLY | O_CREAT | O_EXCL, 0600);
}

static int write_record(int folder_fd, const char *name, const struct buf *record)
{
	char temporary[32];
	cleanup_fd int fd = make_temporary(folder_fd, temporary, sizeof(temporary));
	int rc;

	if (fd < 0)
		return fd;
	rc = fd_write_all(fd, record->data, record->len);
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	if (rc == 0 && renameat(folder_fd, temporary, folder_fd, name) < 0)
		rc = -errno;
	if (rc < 0) {
		(void)unlinkat(folder_fd, temporary, 0);
		return rc;
	}
	/* The rename itself is on the disk only when the folder is. */
	return fsync(folder_fd) < 0 ? -errno : 0;
}

int trust_accept(int state_dir_fd, const char *path, const void *text, size_t len,
		 const struct strlist *files, struct err *err)
{
	char name[SHA256_HEX_BYTES], digest[SHA256_HEX_BYTES];
	cleanup_with(buf_clear) struct buf record = { 0 };
	cleanup_fd int folder_fd = -1;
	char shown[PATH_MAX];
	int rc;

	if (mkdirat(state_dir_fd, folder, 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "cannot make %s in the state folder", folder);
	folder_fd = open_folder(state_dir_fd);
	if (folder_fd < 0)
		return err_sys(err, -folder_fd, "cannot open %s in the state folder", folder);
	hex_of(path, strlen(path), name);
	hex_of(text, len, digest);
	str_escape(shown, sizeof(shown), path, strlen(path));
	buf_printf(&record, "%s\n%s\n", digest, shown);
	for (size_t i = 0; i < files->len; i++)
		buf_printf(&record, "%s\n", files->items[i]);
	rc = record.failed ? -ENOMEM : write_record(folder_fd, name, &record);
	return rc < 0 ? err_sys(err, -rc, "cannot write %s/%s in the state folder", folder, name)
		      : 0;
}
