/* SPDX-License-Identifier: Apache-2.0
 *
 * The secrets by standard input, where nobody can lay files or must not (Docker keeps both what `docker cp` brings
 * and what `-e` says on its disk): the archive of stdin_archive.h is read from descriptor 0, its files are
 * written under tmpfs mounts, its tokens stay in memory.
 */
#ifndef PROXY_STDIN_SECRETS_H
#define PROXY_STDIN_SECRETS_H

#include <stdbool.h>

#include "base/err.h"
#include "proxy/tokens.h"

/* Whether EGRESS_PROXY_SECRETS asks for it: `stdin`, or nothing. */
int stdin_secrets_wanted(bool *ret_wanted, struct err *err) MUST_CHECK;

/* Reads `fd` to the end of the archive and no further, lays the files (0400, the caller's) below `root_fd` and takes
 * the tokens. A folder that is no tmpfs or ramfs, or a file that is there already, is an error. */
int stdin_secrets_take(int fd, int root_fd, struct tokens *ret_tokens, struct err *err) MUST_CHECK;

/* Descriptor 0 becomes /dev/null. */
int stdin_secrets_close(struct err *err) MUST_CHECK;

#endif
