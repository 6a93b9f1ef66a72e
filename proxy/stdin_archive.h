/* SPDX-License-Identifier: Apache-2.0
 *
 * A strict reader of the archive of secrets that comes on standard input (EGRESS_PROXY_SECRETS=stdin): POSIX
 * ustar (POSIX.1-2017, pax, "ustar Interchange Format") with the regular files of the table below, in its
 * order, then two blocks of zeros. What is not that is refused: another name, type or order, a file twice,
 * no routes or no CA. Owner, mode and time in a header do not count: what is made of a file is the reader's.
 */
#ifndef PROXY_STDIN_ARCHIVE_H
#define PROXY_STDIN_ARCHIVE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "proxy/message.h"

enum { STDIN_ARCHIVE_MAX_BYTES = 4 << 20 }; /* headers and padding with it */

enum stdin_file {
	STDIN_ROUTES,
	STDIN_CA,
	STDIN_UPSTREAM_CA,
	STDIN_EXTRA_CA,
	STDIN_TOKENS,
	STDIN_FILES,
};

/* Without the slash in front, as they stand in the archive. */
extern const char *const stdin_file_names[STDIN_FILES];

/* Zero-initialise. */
struct stdin_archive {
	size_t at;	       /* where the next header begins */
	unsigned next;	       /* the first file that may still come */
	bool is_ending;	       /* the first block of zeros was seen */
	bool has[STDIN_FILES]; /* a file may be empty */
	struct span files[STDIN_FILES];
};

/* Reads on. `bytes` are all that came so far, at the same place in each call. Returns how many more must
 * come before it can read further (never one beyond the archive's end), 0: the archive is whole, or -EINVAL.
 * The spans point into `bytes`. */
ssize_t stdin_archive_read(struct stdin_archive *archive, const char *bytes, size_t len,
			   struct err *err) MUST_CHECK;

#endif
