/* SPDX-License-Identifier: Apache-2.0
 *
 * Free lists of buffers; see block.h. Runs in: the proxy's worker.
 *
 * What a burst leaves is bounded by `most` of each size. The link lies in the free block itself.
 */
#include "proxy/block.h"

#include <stdlib.h>

struct free_block {
	struct free_block *next;
};

struct free_list {
	size_t size, most;
	size_t count;
	struct free_block *first;
};

static struct free_list lists[] = {
	{ .size = BLOCK_BYTES, .most = 128 },
	{ .size = BLOCK_LARGE_BYTES, .most = 16 },
};

static struct free_list *list_of(size_t size)
{
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (lists[i].size == size)
			return &lists[i];
	return NULL;
}

void *block_take(size_t size)
{
	struct free_list *list = list_of(size);
	struct free_block *block = list ? list->first : NULL;

	if (!block)
		return malloc(size);
	list->first = block->next;
	list->count--;
	return block;
}

void block_give(void *memory, size_t size)
{
	struct free_list *list = list_of(size);
	struct free_block *block = memory;

	if (!memory)
		return;
	if (!list || list->count == list->most) {
		free(memory);
		return;
	}
	block->next = list->first;
	list->first = block;
	list->count++;
}
