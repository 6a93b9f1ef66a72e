/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256; see sha256.h. Runs in: every process.
 *
 * Two ways to take in blocks: portable C, and the SHA extensions of x86-64 where the processor has
 * them (importing an image hashes some hundred megabytes twice, and they make that 5 to 8 times
 * faster). The choice is made at run time from CPUID; gcc 12's __builtin_cpu_supports() does not
 * know "sha".
 */
#include "base/sha256.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#define HAVE_SHA_NI 1
#else
#define HAVE_SHA_NI 0
#endif

/* FIPS 180-4, 4.2.2. Aligned for _mm_load_si128. */
static const uint32_t round_constants[64] __attribute__((aligned(16))) = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
	0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
	0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
	0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
	0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
	0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
	0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
	0xc67178f2,
};

static uint32_t rotate_right(uint32_t word, unsigned bits)
{
	return word >> bits | word << (32 - bits);
}

static uint32_t load_be32(const uint8_t bytes[static 4])
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

static void store_be32(uint8_t bytes[static 4], uint32_t word)
{
	bytes[0] = (uint8_t)(word >> 24);
	bytes[1] = (uint8_t)(word >> 16);
	bytes[2] = (uint8_t)(word >> 8);
	bytes[3] = (uint8_t)word;
}

/* FIPS 180-4, 6.2.2, step 1: the message schedule. */
static void schedule(uint32_t w[static 64], const uint8_t *block)
{
	for (size_t i = 0; i < 16; i++)
		w[i] = load_be32(block + 4 * i);
	for (size_t i = 16; i < 64; i++) {
		uint32_t a = w[i - 15], b = w[i - 2];
		uint32_t s0 = rotate_right(a, 7) ^ rotate_right(a, 18) ^ a >> 3;
		uint32_t s1 = rotate_right(b, 17) ^ rotate_right(b, 19) ^ b >> 10;

		w[i] = w[i - 16] + s0 + w[i - 7] + s1;
	}
}

/* One round; instead of moving eight words along, the caller names them shifted by one. */
static inline void one_round(uint32_t v[static 8], unsigned shift, uint32_t addend)
{
	uint32_t a = v[-shift & 7], b = v[(1 - shift) & 7], c = v[(2 - shift) & 7];
	uint32_t e = v[(4 - shift) & 7], f = v[(5 - shift) & 7], g = v[(6 - shift) & 7];
	uint32_t s1 = rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25);
	uint32_t s0 = rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22);
	uint32_t t1 = v[(7 - shift) & 7] + s1 + ((e & f) ^ (~e & g)) + addend;

	v[(3 - shift) & 7] += t1;
	v[(7 - shift) & 7] = t1 + s0 + ((a & b) ^ (a & c) ^ (b & c));
}

static void take_block_portable(uint32_t state[static 8], const uint8_t *block)
{
	uint32_t w[64], v[8];

	schedule(w, block);
	memcpy(v, state, sizeof(v));
	for (size_t i = 0; i < 64; i += 8) {
#pragma GCC unroll 8
		for (unsigned shift = 0; shift < 8; shift++)
			one_round(v, shift, round_constants[i + shift] + w[i + shift]);
	}
	for (size_t i = 0; i < 8; i++)
		state[i] += v[i];
}

static void take_portable(uint32_t state[static 8], const uint8_t *blocks, size_t count)
{
	for (; count; count--, blocks += SHA256_BLOCK_BYTES)
		take_block_portable(state, blocks);
}

#if HAVE_SHA_NI

static bool hardware_present(void)
{
	unsigned a, b, c, d;

	/* Leaf 1 ECX: SSSE3 (bit 9), SSE4.1 (bit 19); leaf 7 EBX: SHA (bit 29). */
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1U << 9) || !(c & 1U << 19))
		return false;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & 1U << 29);
}

/* Four rounds with the schedule words in `w`. SHA256RNDS2 does two and takes its words from the low
 * half; the two state halves swap roles between the calls. */
__attribute__((target("sha,sse4.1,ssse3"), always_inline)) static inline void
four_rounds(__m128i *abef, __m128i *cdgh, __m128i w, size_t first_round)
{
	__m128i words = _mm_add_epi32(
		w, _mm_load_si128((const __m128i *)(const void *)&round_constants[first_round]));

	*cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, words);
	*abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(words, 0x0e));
}

/* The next four schedule words out of the last sixteen (w0 is the oldest). */
__attribute__((target("sha,sse4.1,ssse3"), always_inline)) static inline __m128i
next_words(__m128i w0, __m128i w1, __m128i w2, __m128i w3)
{
	__m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));

	return _mm_sha256msg2_epu32(sum, w3);
}

__attribute__((target("sha,sse4.1,ssse3"))) static void
take_hardware(uint32_t state[static 8], const uint8_t *blocks, size_t count)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
	__m128i *out = (__m128i *)(void *)state;
	__m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128(out), 0xb1);
	__m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128(out + 1), 0x1b);
	__m128i abef = _mm_alignr_epi8(abcd, efgh, 8);
	__m128i cdgh = _mm_blend_epi16(efgh, abcd, 0xf0);

	for (; count; count--, blocks += SHA256_BLOCK_BYTES) {
		__m128i old_abef = abef, old_cdgh = cdgh, w[4];

		for (size_t i = 0; i < 4; i++) {
			const void *at = blocks + 16 * i;

			w[i] = _mm_shuffle_epi8(_mm_loadu_si128(at), swap);
			four_rounds(&abef, &cdgh, w[i], 4 * i);
		}
		for (size_t i = 4; i < 16; i++) {
			size_t slot = i % 4;

			w[slot] = next_words(w[slot], w[(i + 1) % 4], w[(i + 2) % 4],
					     w[(i + 3) % 4]);
			four_rounds(&abef, &cdgh, w[slot], 4 * i);
		}
		abef = _mm_add_epi32(abef, old_abef);
		cdgh = _mm_add_epi32(cdgh, old_cdgh);
	}
	abcd = _mm_shuffle_epi32(abef, 0x1b);
	efgh = _mm_shuffle_epi32(cdgh, 0xb1);
	_mm_storeu_si128(out, _mm_blend_epi16(abcd, efgh, 0xf0));
	_mm_storeu_si128(out + 1, _mm_alignr_epi8(efgh, abcd, 8));
}

#else

static bool hardware_present(void)
{
	return false;
}

static void take_hardware(uint32_t state[static 8], const uint8_t *blocks, size_t count)
{
	take_portable(state, blocks, count);
}

#endif

/* CPUID traps under a hypervisor (some 20 µs), so its answer is kept. */
static enum { UNKNOWN, PORTABLE, HARDWARE } way = UNKNOWN;

bool sha256_uses_hardware(void)
{
	if (way == UNKNOWN)
		way = hardware_present() ? HARDWARE : PORTABLE;
	return way == HARDWARE;
}

void sha256_set_portable(bool portable)
{
	way = portable ? PORTABLE : UNKNOWN;
}

static void take_blocks(uint32_t state[static 8], const uint8_t *blocks, size_t count)
{
	if (sha256_uses_hardware())
		take_hardware(state, blocks, count);
	else
		take_portable(state, blocks, count);
}

void sha256_init(struct sha256 *sha)
{
	static const uint32_t initial[8] = {
		/* FIPS 180-4, 5.3.3 */
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
		0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
	};

	memcpy(sha->state, initial, sizeof(sha->state));
	sha->total_bytes = 0;
}

void sha256_update(struct sha256 *sha, const void *bytes, size_t len)
{
	const uint8_t *in = bytes;
	size_t waiting = sha->total_bytes % SHA256_BLOCK_BYTES;

	sha->total_bytes += len;
	if (waiting) {
		size_t room = SHA256_BLOCK_BYTES - waiting;
		size_t taken = len < room ? len : room;

		if (taken)
			memcpy(sha->block + waiting, in, taken);
		if (taken < room)
			return;
		take_blocks(sha->state, sha->block, 1);
		in += taken;
		len -= taken;
	}
	take_blocks(sha->state, in, len / SHA256_BLOCK_BYTES);
	if (len % SHA256_BLOCK_BYTES)
		memcpy(sha->block, in + len / SHA256_BLOCK_BYTES * SHA256_BLOCK_BYTES,
		       len % SHA256_BLOCK_BYTES);
}

void sha256_final(struct sha256 *sha, uint8_t ret_digest[static SHA256_BYTES])
{
	/* 0x80, zeros, and the length in bits as a big-endian 64-bit number that ends a block. */
	static const uint8_t padding[SHA256_BLOCK_BYTES] = { 0x80 };
	size_t waiting = sha->total_bytes % SHA256_BLOCK_BYTES;
	uint64_t bits = sha->total_bytes * 8;
	uint8_t length[8];

	store_be32(length, (uint32_t)(bits >> 32));
	store_be32(length + 4, (uint32_t)bits);
	sha256_update(sha, padding, (waiting < 56 ? 56 : 120) - waiting);
	sha256_update(sha, length, sizeof(length));
	for (size_t i = 0; i < 8; i++)
		store_be32(ret_digest + 4 * i, sha->state[i]);
}

void sha256_hex(const uint8_t digest[static SHA256_BYTES], char ret_hex[static SHA256_HEX_BYTES])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < SHA256_BYTES; i++) {
		ret_hex[2 * i] = digits[digest[i] >> 4];
		ret_hex[2 * i + 1] = digits[digest[i] & 15];
	}
	ret_hex[SHA256_HEX_BYTES - 1] = '\0';
}
