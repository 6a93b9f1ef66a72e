/* SPDX-License-Identifier: Apache-2.0
 *
 * Digests of accepted manifests. A manifest that was found (./bottle.yaml) rather than named could
 * have been written by the last agent or by a hostile clone; it counts only once `bottle trust`
 * accepted its SHA-256 for its path. One file per path, in <state>/trust/, which no bottle can
 * write.
 */
#ifndef CONFIG_TRUST_H
#define CONFIG_TRUST_H

#include <stddef.h>

#include "base/err.h"

/* 0 when accepted; -ENOKEY when never seen, -EKEYREJECTED when it changed since, else -errno; the
 * sentence says what to run. `path` is absolute and real; state_dir_fd is the state folder. */
int trust_check(int state_dir_fd, const char *path, const void *text, size_t len,
		struct err *err) MUST_CHECK;

/* Keeps the digest of exactly these bytes (the ones that were shown), atomically. */
int trust_accept(int state_dir_fd, const char *path, const void *text, size_t len,
		 struct err *err) MUST_CHECK;

#endif
