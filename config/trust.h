/* SPDX-License-Identifier: Apache-2.0
 *
 * Digests of accepted manifests. A manifest that was found (./bottle.yaml) rather than named could
 * have been written by the last agent or by a hostile clone; it counts only once `bottle trust`
 * accepted its SHA-256 for its path, and those of the CA files that it names. One file per path, in <state>/trust/, which no bottle can
 * write.
 */
#ifndef CONFIG_TRUST_H
#define CONFIG_TRUST_H

#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

/* 0 when accepted; -ENOKEY when never seen, -EKEYREJECTED when it changed since, else -errno; the
 * sentence says what to run. `path` is absolute and real; state_dir_fd is the state folder. ret_files is
 * given the SHA-256s of the further files that were accepted with it, in their order: whoever reads one
 * compares. */
int trust_check(int state_dir_fd, const char *path, const void *text, size_t len,
		struct strlist *ret_files, struct err *err) MUST_CHECK;

/* Keeps the digest of exactly these bytes (the ones that were shown), and `files`, the SHA-256s in
 * hexadecimal of the files that it leads to, atomically. */
int trust_accept(int state_dir_fd, const char *path, const void *text, size_t len,
		 const struct strlist *files, struct err *err) MUST_CHECK;

/* Fills `err` for what was found to be other than it was accepted: `what` says it ("ca.pem has changed").
 * Returns -EKEYREJECTED. */
int trust_refuse(const char *path, const char *what, struct err *err);

#endif
