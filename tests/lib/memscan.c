/* SPDX-License-Identifier: Apache-2.0
 * Searches this process's memory; see memscan.h. Runs in: unit tests. */
#include "tests/lib/memscan.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { CHUNK_BYTES = 1 << 20, MAPPING_MAX_BYTES = 512 << 20 };

void memscan_add(struct memscan *scan, const char *what, const void *bytes, size_t len,
		 int reversed)
{
	const uint8_t *from = bytes;
	uint8_t *to = scan->needles[scan->count].masked;

	if (scan->count == MEMSCAN_NEEDLES || len > MEMSCAN_NEEDLE_BYTES)
		return;
	for (size_t i = 0; i < len; i++)
		to[i] = from[reversed ? len - 1 - i : i] ^ MEMSCAN_MASK;
	scan->needles[scan->count].what = what;
	scan->needles[scan->count++].len = len;
}

static int scan_chunk(const struct memscan *scan, uint8_t *chunk, size_t len, uintptr_t address,
		      const char *mapping)
{
	int hits = 0;

	for (size_t i = 0; i < len; i++)
		chunk[i] ^= MEMSCAN_MASK;
	for (size_t i = 0; i < scan->count; i++) {
		const uint8_t *at = memmem(chunk, len, scan->needles[i].masked,
					   scan->needles[i].len);

		if (!at)
			continue;
		hits++;
		if (scan->quiet)
			continue;
		fprintf(stderr, "memory: %s at %#" PRIxPTR " in %s\n", scan->needles[i].what,
			address + (uintptr_t)(at - chunk), mapping);
	}
	return hits;
}

static int scan_mapping(const struct memscan *scan, int mem_fd, uint8_t *chunk, uintptr_t from,
			uintptr_t to, const char *mapping)
{
	int hits = 0;

	for (uintptr_t at = from; at < to;) {
		ssize_t n = pread(mem_fd, chunk, CHUNK_BYTES, (off_t)at);

		if (n <= 0)
			break;
		if ((uintptr_t)n > to - at)
			n = (ssize_t)(to - at);
		hits += scan_chunk(scan, chunk, (size_t)n, at, mapping);
		/* the next one overlaps, for a needle across the border */
		at += (uintptr_t)n > MEMSCAN_NEEDLE_BYTES && at + (uintptr_t)n < to
			      ? (uintptr_t)n - MEMSCAN_NEEDLE_BYTES
			      : (uintptr_t)n;
	}
	return hits;
}

int memscan_self(const struct memscan *scan)
{
	cleanup_file FILE *maps = fopen("/proc/self/maps", "re");
	cleanup_fd int mem_fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	uint8_t *chunk = mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uintptr_t self = (uintptr_t)chunk, from, to;
	char line[512];
	int hits = 0;

	if (!maps || mem_fd < 0 || chunk == MAP_FAILED)
		return -errno;
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &from, &to) != 2 ||
		    to - from > MAPPING_MAX_BYTES)
			continue;
		line[strcspn(line, "\n")] = '\0';
		/* neighbours may have been merged with the chunk's own mapping */
		if (self >= from && self < to) {
			hits += scan_mapping(scan, mem_fd, chunk, from, self, line);
			from = self + CHUNK_BYTES;
		}
		hits += scan_mapping(scan, mem_fd, chunk, from, to, line);
	}
	munmap(chunk, CHUNK_BYTES);
	return hits;
}
