/* SPDX-License-Identifier: Apache-2.0
 * SHA-256 against FIPS 180-4's and NIST CAVP's vectors, portable and with the processor's own
 * instructions, and every split of the input. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"

static void digest_hex(const void *bytes, size_t len, char hex[static SHA256_HEX_BYTES])
{
	uint8_t digest[SHA256_BYTES];
	struct sha256 sha;

	sha256_init(&sha);
	sha256_update(&sha, bytes, len);
	sha256_final(&sha, digest);
	sha256_hex(digest, hex);
}

static void check_vectors(void)
{
	static const struct {
		const char *text;
		const char *hex;
	} vectors[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
		{ "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
		  "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
		  "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1" },
	};
	char hex[SHA256_HEX_BYTES];

	for (size_t i = 0; i < sizeof(vectors) / sizeof(*vectors); i++) {
		digest_hex(vectors[i].text, strlen(vectors[i].text), hex);
		cr_assert_str_eq(hex, vectors[i].hex, "vector %zu: %s", i, hex);
	}
}

static void check_million(void)
{
	char *text = malloc(1000000), hex[SHA256_HEX_BYTES];

	cr_assert_not_null(text);
	memset(text, 'a', 1000000);
	digest_hex(text, 1000000, hex);
	free(text);
	cr_assert_str_eq(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

Test(sha256, fips_vectors_portable)
{
	sha256_set_portable(true);
	cr_assert_not(sha256_uses_hardware());
	check_vectors();
	check_million();
}

Test(sha256, fips_vectors_hardware)
{
	sha256_set_portable(false);
	if (!sha256_uses_hardware())
		cr_skip_test("this processor has no SHA extensions");
	check_vectors();
	check_million();
}

Test(sha256, both_ways_agree_on_every_length)
{
	uint8_t bytes[300];
	char portable[SHA256_HEX_BYTES], hardware[SHA256_HEX_BYTES];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + 3);
	sha256_set_portable(false);
	if (!sha256_uses_hardware())
		cr_skip_test("this processor has no SHA extensions");
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		sha256_set_portable(true);
		digest_hex(bytes, len, portable);
		sha256_set_portable(false);
		digest_hex(bytes, len, hardware);
		cr_assert_str_eq(portable, hardware, "length %zu", len);
	}
}

Test(sha256, splits_do_not_matter)
{
	uint8_t bytes[200], digest[SHA256_BYTES];
	char whole[SHA256_HEX_BYTES], split[SHA256_HEX_BYTES];
	struct sha256 sha;

	memset(bytes, 0x5a, sizeof(bytes));
	digest_hex(bytes, sizeof(bytes), whole);
	for (size_t a = 0; a <= sizeof(bytes); a += 3) {
		for (size_t b = a; b <= sizeof(bytes); b += 7) {
			sha256_init(&sha);
			sha256_update(&sha, bytes, a);
			sha256_update(&sha, bytes + a, b - a);
			sha256_update(&sha, bytes + b, sizeof(bytes) - b);
			sha256_final(&sha, digest);
			sha256_hex(digest, split);
			cr_assert_str_eq(split, whole, "split at %zu and %zu", a, b);
		}
	}
}
