/* SPDX-License-Identifier: Apache-2.0
 *
 * A POSIX ustar archive as a list of parts that are written from where they stand: a key and a token are
 * copied into the pipe and nowhere else. And the reading of the archive that `docker cp NAME:path -`
 * prints.
 *
 * Runs in: the launcher of the Docker backend. The parts borrow the secrets.
 */
#ifndef RUNTIME_DOCKER_TAR_H
#define RUNTIME_DOCKER_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct docker_tar_part {
	const void *bytes; /* borrowed, or `own` */
	size_t len;
	char *own;
};

struct docker_tar {
	struct docker_tar_part *parts;
	size_t count;
};

struct docker_tar_owner {
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

/* A regular file of `count` pieces, one after the other; or, where `name` ends in a slash, a folder. `name`
 * has no slash in front. */
int docker_tar_add(struct docker_tar *tar, const char *name, const struct docker_tar_owner *owner,
		   const struct docker_tar_part *pieces, size_t count) MUST_CHECK;

/* Memory that pieces lie in: freed with the archive. */
int docker_tar_keep(struct docker_tar *tar, char *memory) MUST_CHECK;

/* Text as it is: for what is no archive and goes the same way. Borrowed. */
int docker_tar_text(struct docker_tar *tar, const char *text) MUST_CHECK;

/* The two zero blocks. */
int docker_tar_end(struct docker_tar *tar) MUST_CHECK;

/* Writes on from *sent (bytes), as much as the descriptor takes. 1: all of it is written; 0: not yet;
 * -errno. */
int docker_tar_send(const struct docker_tar *tar, size_t *sent, int fd) MUST_CHECK;

void docker_tar_clear(struct docker_tar *tar);

/* The first regular file of an archive: its owner and, borrowed from `bytes`, its content. -EBADMSG. */
int docker_tar_first(const char *bytes, size_t len, struct docker_tar_owner *ret_owner,
		     const char **ret_content, size_t *ret_len) MUST_CHECK;

/* The same of one that begins with a folder. */
int docker_tar_first_folder(const char *bytes, size_t len,
			    struct docker_tar_owner *ret_owner) MUST_CHECK;

#endif
