/* SPDX-License-Identifier: Apache-2.0
 * What the files of the secrets have of each other; nobody else includes this. */
#ifndef RUNTIME_SECRETS_PARTS_H
#define RUNTIME_SECRETS_PARTS_H

#include <stddef.h>

#include "base/err.h"

/* secrets_linux.c, secrets_posix.c: keeps the pages out of children that are forked, and of core dumps as
 * far as the system can. 0 or -1 with errno. */
int secrets_protect(void *pages, size_t size) MUST_CHECK;

#endif
