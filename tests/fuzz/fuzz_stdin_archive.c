/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer target of the reader of the secrets' archive. Beyond not crashing: an archive means the same whole
 * and piece by piece, the reader never asks for a byte beyond an archive's end or its limit, and every file
 * lies in what came. Checksums are made right first, or nothing would be reached.
 *   clang -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -I. tests/fuzz/fuzz_stdin_archive.c
 *     proxy/stdin_archive.c base/str.c base/err.c
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/stdin_archive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BLOCK = 512, CHECKSUM = 148, CHECKSUM_BYTES = 8 };

static void require(int holds)
{
	if (!holds)
		abort();
}

/* Every block that claims to be a header gets its checksum, unless its last byte says not. */
static void mend(char *bytes, size_t size)
{
	for (size_t at = 0; at + BLOCK <= size; at += BLOCK) {
		char *block = bytes + at, text[CHECKSUM_BYTES + 1];
		unsigned sum = 0;

		if (memcmp(block + 257, "ustar", 5) != 0 || block[BLOCK - 1] == 'x')
			continue;
		memset(block + CHECKSUM, ' ', CHECKSUM_BYTES);
		for (size_t i = 0; i < BLOCK; i++)
			sum += (unsigned char)block[i];
		snprintf(text, sizeof(text), "%06o", sum);
		memcpy(block + CHECKSUM, text, CHECKSUM_BYTES - 1);
	}
}

static void check_files(const struct stdin_archive *archive, const char *bytes, size_t len)
{
	require(archive->has[STDIN_ROUTES] && archive->has[STDIN_CA]);
	for (int i = 0; i < STDIN_FILES; i++)
		if (archive->has[i])
			require(archive->files[i].at >= bytes &&
				archive->files[i].at + archive->files[i].len <= bytes + len);
}

/* As the proxy reads: only ever so many bytes as were asked for. */
static ssize_t read_in_pieces(struct stdin_archive *archive, const char *bytes, size_t size,
			      size_t *ret_len)
{
	struct err err;
	size_t len = 0;

	for (;;) {
		ssize_t more = stdin_archive_read(archive, bytes, len, &err);

		*ret_len = len;
		if (more <= 0)
			return more;
		require(len + (size_t)more <= STDIN_ARCHIVE_MAX_BYTES);
		if (len + (size_t)more > size)
			return more;
		len += (size_t)more;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stdin_archive whole = { 0 }, pieces = { 0 };
	char *bytes = malloc(size ? size : 1);
	struct err err;
	size_t len;
	ssize_t more;

	require(bytes != NULL);
	memcpy(bytes, data, size);
	mend(bytes, size);
	more = read_in_pieces(&pieces, bytes, size, &len);
	if (more == 0) {
		check_files(&pieces, bytes, len);
		require(stdin_archive_read(&whole, bytes, size, &err) == 0);
		require(!memcmp(&whole, &pieces, sizeof(whole)));
	}
	free(bytes);
	return 0;
}
