/* SPDX-License-Identifier: Apache-2.0
 *
 * The pipes between the two sides of an exchange; see stream.h. Runs in: the proxy's worker.
 *
 * A pipe begins with a small block, and takes a large one when that is full or the body has proved to be
 * long: small bodies under way, which are most, cost a quarter.
 */
#include <stdlib.h>
#include <string.h>

#include "proxy/block.h"
#include "proxy/stream.h"

_Static_assert((int)PIPE_BYTES == (int)BLOCK_LARGE_BYTES, "a pipe is one block");

/* Moves what is there to the front of a block of `size` bytes, which may be the same. */
static bool settle(struct pipe *pipe, size_t size)
{
	uint8_t *data = size == pipe->cap ? pipe->data : block_take(size);

	if (!data)
		return false;
	if (pipe->len)
		memmove(data, pipe->data + pipe->start, pipe->len);
	if (data != pipe->data)
		block_give(pipe->data, pipe->cap);
	pipe->data = data;
	pipe->cap = size;
	pipe->start = 0;
	return true;
}

uint8_t *pipe_room(struct pipe *pipe, size_t *ret_room)
{
	bool is_long = pipe->total_bytes >= PIPE_BYTES;
	bool is_ready = true;

	if (!pipe->data)
		is_ready = settle(pipe, is_long ? BLOCK_LARGE_BYTES : BLOCK_BYTES);
	else if (pipe->len == pipe->cap && pipe->cap < PIPE_BYTES)
		is_ready = settle(pipe, BLOCK_LARGE_BYTES);
	else if (pipe->start && pipe->start + pipe->len == pipe->cap)
		is_ready = settle(pipe, pipe->cap);
	*ret_room = is_ready ? pipe->cap - pipe->start - pipe->len : 0;
	return is_ready ? pipe->data + pipe->start + pipe->len : NULL;
}

bool pipe_widen(struct pipe *pipe)
{
	return pipe->cap < PIPE_WIDE_BYTES && settle(pipe, PIPE_WIDE_BYTES);
}

void pipe_commit(struct pipe *pipe, size_t len)
{
	pipe->len += len;
	pipe->total_bytes += len;
}

static void give_back(struct pipe *pipe)
{
	block_give(pipe->data, pipe->cap);
	pipe->data = NULL;
	pipe->start = pipe->len = pipe->cap = 0;
}

void pipe_consume(struct pipe *pipe, size_t len)
{
	pipe->start += len;
	pipe->len -= len;
	if (!pipe->len)
		give_back(pipe);
}

void pipe_clear(struct pipe *pipe)
{
	give_back(pipe);
	free(pipe->trailers);
	pipe->trailers = NULL;
}
