/* SPDX-License-Identifier: Apache-2.0
 *
 * The archive of secrets; see stdin_archive.h. Runs in: the proxy's worker, before it has anything. Holds: what
 * the archive holds, in the caller's memory. No sentence quotes a byte of it but a name.
 */
#include "proxy/stdin_archive.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"

enum { BLOCK = 512, TYPE_FILE = '0' };

struct header {
	char name[100];
	char mode[8], uid[8], gid[8];
	char size[12], mtime[12];
	char checksum[8];
	char type;
	char link[100];
	char magic[8]; /* with the version: "ustar", NUL, "00" */
	char user[32], group[32];
	char major[8], minor[8];
	char prefix[155];
	char unused[12];
};
static_assert(sizeof(struct header) == BLOCK, "a header is one block");

const char *const stdin_file_names[STDIN_FILES] = {
	[STDIN_ROUTES] = "etc/egress-proxy/routes.yaml",
	[STDIN_CA] = "home/mitmproxy/.mitmproxy/mitmproxy-ca.pem",
	[STDIN_UPSTREAM_CA] = "home/mitmproxy/.mitmproxy/pipelock-ca.pem",
	[STDIN_EXTRA_CA] = "etc/egress-proxy/extra-ca.pem",
	[STDIN_TOKENS] = "run/egress-proxy/tokens",
};

static bool is_zero(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i])
			return false;
	return true;
}

/* Octal digits, then NULs or blanks to the field's end; -1 for anything else. */
static int64_t octal(const char *field, size_t size)
{
	int64_t value = 0;
	size_t i = 0;

	for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
		value = value * 8 + (field[i] - '0');
	if (i == 0 || i == size)
		return -1;
	for (; i < size; i++)
		if (field[i] != '\0' && field[i] != ' ')
			return -1;
	return value;
}

/* The sum of the header's bytes, those of the checksum counted as blanks. */
static int64_t sum_of(const char *block)
{
	const size_t from = offsetof(struct header, checksum), to = offsetof(struct header, type);
	int64_t sum = 0;

	for (size_t i = 0; i < BLOCK; i++)
		sum += i >= from && i < to ? ' ' : (unsigned char)block[i];
	return sum;
}

static int check_form(const struct header *header, const char *block, struct err *err)
{
	if (memcmp(header->magic,
		   "ustar\0"
		   "00",
		   sizeof(header->magic)) != 0)
		return err_set(err, EINVAL, "a block is no header of a POSIX ustar archive");
	if (octal(header->checksum, sizeof(header->checksum)) != sum_of(block))
		return err_set(err, EINVAL, "a header's checksum is wrong");
	if (header->name[sizeof(header->name) - 1] ||
	    !is_zero(header->prefix, sizeof(header->prefix)))
		return err_set(err, EINVAL, "a name is too long");
	return 0;
}

static int find_file(const struct stdin_archive *archive, const struct header *header,
		     unsigned *ret_file, struct err *err)
{
	char shown[128];
	unsigned file = 0;

	str_escape(shown, sizeof(shown), header->name, strlen(header->name));
	while (file < STDIN_FILES && strcmp(header->name, stdin_file_names[file]) != 0)
		file++;
	if (file == STDIN_FILES)
		return err_set(err, EINVAL, "'%s' is none of the files that may come", shown);
	if (header->type != TYPE_FILE)
		return err_set(err, EINVAL, "'%s' is no regular file", shown);
	if (file < archive->next)
		return err_set(err, EINVAL, "'%s' comes twice, or not in its turn", shown);
	*ret_file = file;
	return 0;
}

/* The block after a file, or the first: a header, or the first of the two that end the archive. Sets the
 * length of the file's bytes with their padding. */
static int read_header(struct stdin_archive *archive, const char *block, size_t *ret_padded,
		       struct err *err)
{
	struct header header;
	unsigned file = 0;
	int64_t size;

	memcpy(&header, block, sizeof(header));
	TRY(check_form(&header, block, err));
	TRY(find_file(archive, &header, &file, err));
	size = octal(header.size, sizeof(header.size));
	if (size < 0)
		return err_set(err, EINVAL, "the size of '%s' is no number", header.name);
	if (size > STDIN_ARCHIVE_MAX_BYTES - 3 * BLOCK - (int64_t)archive->at)
		return err_set(err, EINVAL, "more than %d bytes", STDIN_ARCHIVE_MAX_BYTES);
	archive->has[file] = true;
	archive->files[file] = (struct span){ block + BLOCK, (size_t)size };
	archive->next = file + 1;
	*ret_padded = ((size_t)size + BLOCK - 1) / BLOCK * BLOCK;
	return 0;
}

static int check_whole(const struct stdin_archive *archive, struct err *err)
{
	if (!archive->has[STDIN_ROUTES] || !archive->has[STDIN_CA])
		return err_set(
			err, EINVAL, "'%s' is missing",
			stdin_file_names[archive->has[STDIN_ROUTES] ? STDIN_CA : STDIN_ROUTES]);
	return 0;
}

ssize_t stdin_archive_read(struct stdin_archive *archive, const char *bytes, size_t len,
			   struct err *err)
{
	while (len >= archive->at + BLOCK) {
		const char *block = bytes + archive->at;
		size_t padded = 0;

		if (is_zero(block, BLOCK)) {
			if (archive->is_ending)
				return check_whole(archive, err);
			archive->is_ending = true;
		} else if (archive->is_ending) {
			return err_set(err, EINVAL,
				       "something follows the archive's first end block");
		} else {
			TRY(read_header(archive, block, &padded, err));
		}
		archive->at += BLOCK + padded;
	}
	return (ssize_t)(archive->at + BLOCK - len);
}
