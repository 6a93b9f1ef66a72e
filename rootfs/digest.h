/* SPDX-License-Identifier: Apache-2.0
 *
 * "sha256:<64 lower-case hex>", the one kind of digest that images are named by here.
 */
#ifndef ROOTFS_DIGEST_H
#define ROOTFS_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/sha256.h"

#define DIGEST_PREFIX "sha256:"
enum { DIGEST_HEX_LEN = SHA256_HEX_BYTES - 1, DIGEST_SHORT_LEN = 12 };

/* Whether text[0..len) is lower-case hexadecimal and not empty. */
bool digest_is_hex(const char *text, size_t len);

/* The 64 digits of "sha256:…", borrowed from `text`, or NULL when it is none. */
const char *digest_hex(const char *text);

/* The SHA-256 of some bytes as hex. */
void digest_of(const void *bytes, size_t len, char ret_hex[static SHA256_HEX_BYTES]);

#endif
