/* SPDX-License-Identifier: Apache-2.0
 *
 * An allocator that fails on request, linked in front of the proxy's own (-Wl,--wrap): the number in the
 * file that BOTTLE_FAIL_FILE names, mapped shared, says of how many calls one fails; 0: none. The test
 * writes it while the proxy runs, so that it can boot first.
 *
 * Runs in: the test variant of the native proxy, every process of it.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static const _Atomic uint32_t none;
static const _Atomic uint32_t *every = &none;
static uint32_t calls;

static __attribute__((constructor)) void map_file(void)
{
	const char *path = getenv("BOTTLE_FAIL_FILE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *at = fd < 0 ? MAP_FAILED : mmap(NULL, 4, PROT_READ, MAP_SHARED, fd, 0);

	if (at != MAP_FAILED)
		every = at;
	if (fd >= 0)
		close(fd);
}

static bool fails_now(void)
{
	uint32_t n = atomic_load_explicit(every, memory_order_relaxed);

	return n && ++calls % n == 0;
}

void *__wrap_malloc(size_t size)
{
	return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return size && fails_now() ? NULL : __real_realloc(old, size);
}
