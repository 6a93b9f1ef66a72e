/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks of memory for what is on its way: heads and bodies. Free lists of two sizes, so that a request
 * costs no malloc(3) and an idle connection holds no buffer.
 */
#ifndef PROXY_BLOCK_H
#define PROXY_BLOCK_H

#include <stddef.h>

enum { BLOCK_BYTES = 16 * 1024, BLOCK_LARGE_BYTES = 64 * 1024 };

/* BLOCK_BYTES or BLOCK_LARGE_BYTES long; NULL: out of memory. Contents are whatever was there. */
void *block_take(size_t size);

/* Of any malloc'd memory: what has neither size is freed. NULL is allowed. */
void block_give(void *block, size_t size);

#endif
