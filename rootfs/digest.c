/* SPDX-License-Identifier: Apache-2.0
 * Digests as text; see digest.h. Runs in: launcher. */
#include "rootfs/digest.h"

#include <string.h>

#include "base/str.h"

bool digest_is_hex(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
			return false;
	return len > 0;
}

const char *digest_hex(const char *text)
{
	const char *hex = text + strlen(DIGEST_PREFIX);

	if (!str_starts(text, DIGEST_PREFIX) || strlen(hex) != DIGEST_HEX_LEN)
		return NULL;
	return digest_is_hex(hex, DIGEST_HEX_LEN) ? hex : NULL;
}

void digest_of(const void *bytes, size_t len, char ret_hex[static SHA256_HEX_BYTES])
{
	uint8_t digest[SHA256_BYTES];
	struct sha256 sha;

	sha256_init(&sha);
	sha256_update(&sha, bytes, len);
	sha256_final(&sha, digest);
	sha256_hex(digest, ret_hex);
}
