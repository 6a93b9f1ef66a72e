/* SPDX-License-Identifier: Apache-2.0
 * ustar archives of a few small files; see docker_tar.h. Runs in: launcher of the Docker backend.
 *
 * The format is POSIX.1-2017, pax, "ustar Interchange Format": numbers are octal text, contents are
 * padded to blocks of 512 bytes, two blocks of zeros are the end. */
#include "runtime/docker_tar.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/str.h"

enum { BLOCK = 512, NAME_BYTES = 100, SEND_PARTS = 16 };

/* Where a field of the header stands. */
enum {
	AT_MODE = 100,
	AT_UID = 108,
	AT_GID = 116,
	AT_SIZE = 124,
	AT_MTIME = 136,
	AT_SUM = 148,
	AT_TYPE = 156,
	AT_MAGIC = 257
};

static const char zeros[2 * BLOCK];

static int add_part(struct docker_tar *tar, struct docker_tar_part part)
{
	struct docker_tar_part *grown = realloc(tar->parts, (tar->count + 1) * sizeof(*grown));

	if (!grown) {
		free(part.own);
		return -ENOMEM;
	}
	tar->parts = grown;
	tar->parts[tar->count++] = part;
	return 0;
}

static unsigned sum_of(const char *header)
{
	unsigned sum = 0;

	for (size_t i = 0; i < BLOCK; i++)
		sum += i >= AT_SUM && i < AT_TYPE ? ' ' : (unsigned char)header[i];
	return sum;
}

static char *make_header(const char *name, const struct docker_tar_owner *owner, size_t size)
{
	char *header = calloc(1, BLOCK);

	if (!header)
		return NULL;
	snprintf(header, NAME_BYTES, "%s", name);
	snprintf(header + AT_MODE, 8, "%07o", (unsigned)owner->mode);
	snprintf(header + AT_UID, 8, "%07o", (unsigned)owner->uid);
	snprintf(header + AT_GID, 8, "%07o", (unsigned)owner->gid);
	snprintf(header + AT_SIZE, 12, "%011zo", size);
	snprintf(header + AT_MTIME, 12, "%011o", 0U);
	header[AT_TYPE] = str_ends(name, "/") ? '5' : '0';
	memcpy(header + AT_MAGIC,
	       "ustar\0"
	       "00",
	       8);
	snprintf(header + AT_SUM, 8, "%06o", sum_of(header));
	header[AT_SUM + 7] = ' ';
	return header;
}

/* Seven octal digits hold an id below 2 097 152; no image of a proxy needs another. */
static bool fits(const char *name, const struct docker_tar_owner *owner)
{
	return strlen(name) < NAME_BYTES && owner->uid < (1U << 21) && owner->gid < (1U << 21);
}

int docker_tar_add(struct docker_tar *tar, const char *name, const struct docker_tar_owner *owner,
		   const struct docker_tar_part *pieces, size_t count)
{
	size_t size = 0;
	char *header;

	for (size_t i = 0; i < count; i++)
		size += pieces[i].len;
	if (!fits(name, owner))
		return -ERANGE;
	header = make_header(name, owner, size);
	if (!header)
		return -ENOMEM;
	TRY(add_part(tar, (struct docker_tar_part){ header, BLOCK, header }));
	for (size_t i = 0; i < count; i++)
		TRY(add_part(tar,
			     (struct docker_tar_part){ pieces[i].bytes, pieces[i].len, NULL }));
	return add_part(tar,
			(struct docker_tar_part){ zeros, (BLOCK - size % BLOCK) % BLOCK, NULL });
}

int docker_tar_keep(struct docker_tar *tar, char *memory)
{
	return add_part(tar, (struct docker_tar_part){ "", 0, memory });
}

int docker_tar_text(struct docker_tar *tar, const char *text)
{
	return add_part(tar, (struct docker_tar_part){ text, strlen(text), NULL });
}

int docker_tar_end(struct docker_tar *tar)
{
	return add_part(tar, (struct docker_tar_part){ zeros, sizeof(zeros), NULL });
}

int docker_tar_send(const struct docker_tar *tar, size_t *sent, int fd)
{
	for (;;) {
		struct iovec vectors[SEND_PARTS];
		size_t skip = *sent;
		int count = 0;
		ssize_t n;

		for (size_t i = 0; i < tar->count && count < SEND_PARTS; i++) {
			const struct docker_tar_part *part = &tar->parts[i];

			if (skip < part->len)
				vectors[count++] = (struct iovec){
					(char *)(uintptr_t)part->bytes + skip, part->len - skip
				};
			skip -= skip < part->len ? skip : part->len;
		}
		if (!count)
			return 1;
		n = writev(fd, vectors, count);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		*sent += (size_t)n;
	}
}

void docker_tar_clear(struct docker_tar *tar)
{
	for (size_t i = 0; i < tar->count; i++)
		free(tar->parts[i].own);
	free(tar->parts);
	*tar = (struct docker_tar){ 0 };
}

/* Octal digits up to a blank or NUL. */
static bool octal(const char *field, size_t len, unsigned long *ret)
{
	unsigned long value = 0;
	size_t digits = 0;

	for (size_t i = 0; i < len && field[i] && field[i] != ' '; i++, digits++) {
		if (field[i] < '0' || field[i] > '7')
			return false;
		value = value * 8 + (unsigned long)(field[i] - '0');
	}
	*ret = value;
	return digits > 0;
}

/* The header of an archive's first entry, of one of `types`. */
static bool read_header(const char *bytes, size_t len, const char *types,
			struct docker_tar_owner *ret_owner, size_t *ret_size)
{
	unsigned long mode, uid, gid, size, sum;

	if (len < BLOCK || !octal(bytes + AT_SUM, 8, &sum) || sum != sum_of(bytes) ||
	    !strchr(types, bytes[AT_TYPE]) || !octal(bytes + AT_MODE, 8, &mode) ||
	    !octal(bytes + AT_UID, 8, &uid) || !octal(bytes + AT_GID, 8, &gid) ||
	    !octal(bytes + AT_SIZE, 12, &size) || size > len - BLOCK)
		return false;
	*ret_owner = (struct docker_tar_owner){ (uid_t)uid, (gid_t)gid, (mode_t)(mode & 07777) };
	*ret_size = size;
	return true;
}

int docker_tar_first(const char *bytes, size_t len, struct docker_tar_owner *ret_owner,
		     const char **ret_content, size_t *ret_len)
{
	/* The type may be NUL, which strchr(3) finds too. */
	if (!read_header(bytes, len, "0", ret_owner, ret_len))
		return -EBADMSG;
	*ret_content = bytes + BLOCK;
	return 0;
}

int docker_tar_first_folder(const char *bytes, size_t len, struct docker_tar_owner *ret_owner)
{
	size_t size;

	return len >= BLOCK && bytes[AT_TYPE] && read_header(bytes, len, "5", ret_owner, &size)
		       ? 0
		       : -EBADMSG;
}
