/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 (FIPS 180-4). Here so that digests of manifests and images need no OpenSSL, which belongs
 * to ca/ and proxy/. Not for secrets: the state is not wiped, and HMAC is not offered.
 */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHA256_BYTES = 32, SHA256_BLOCK_BYTES = 64, SHA256_HEX_BYTES = 65 };

struct sha256 {
	uint32_t state[8];
	uint64_t total_bytes;
	uint8_t block[SHA256_BLOCK_BYTES]; /* the first total_bytes % 64 bytes wait here */
};

void sha256_init(struct sha256 *sha);
void sha256_update(struct sha256 *sha, const void *bytes, size_t len);

/* The object must be initialised anew before it is used again. */
void sha256_final(struct sha256 *sha, uint8_t ret_digest[static SHA256_BYTES]);

/* Lower-case hexadecimal, NUL-terminated. */
void sha256_hex(const uint8_t digest[static SHA256_BYTES], char ret_hex[static SHA256_HEX_BYTES]);

/* Whether this machine's SHA instructions are used; for the tests, which check both ways. */
bool sha256_uses_hardware(void);
void sha256_set_portable(bool portable); /* tests only: not thread-safe */

#endif
