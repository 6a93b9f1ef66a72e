/* SPDX-License-Identifier: Apache-2.0
 * What macOS has under another name, or not at all. The Makefile includes it before every file of a bottle of
 * `make DOCKER_ONLY=1`; elsewhere it says nothing. */
#ifndef BASE_COMPAT_H
#define BASE_COMPAT_H

#ifdef __APPLE__
#define __STDC_WANT_LIB_EXT1__ 1
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define O_PATH			     O_RDONLY
#define explicit_bzero(bytes, count) memset_s(bytes, count, 0, count)

static inline void *reallocarray(void *old, size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(old, total);
}
#endif

#endif
