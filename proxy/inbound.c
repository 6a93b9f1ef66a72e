/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading HTTP/1; see inbound.h. Runs in: the proxy's worker.
 *
 * Heads and framing are read into a block of the connection's own; content that follows goes straight
 * into the pipe as soon as the block is used up, so that a long body is copied once, by the kernel or
 * by TLS. A connection that waits for its next head has no block.
 */
#include "proxy/inbound.h"

#include <errno.h>
#include <string.h>

#include "proxy/block.h"

static void give_back(struct inbound *in)
{
	block_give(in->data, in->cap);
	in->data = NULL;
	in->start = in->len = in->cap = 0;
}

/* Moves what is there to the front of a block of `size` bytes. */
static int settle(struct inbound *in, size_t size)
{
	char *data = size == in->cap ? in->data : block_take(size);

	if (!data)
		return -ENOMEM;
	if (in->len)
		memmove(data, in->data + in->start, in->len);
	if (data != in->data)
		block_give(in->data, in->cap);
	in->data = data;
	in->cap = size;
	in->start = 0;
	return 0;
}

static int make_room(struct inbound *in)
{
	_Static_assert((int)HTTP1_HEAD_MAX == (int)BLOCK_LARGE_BYTES, "a head is one block");

	if (!in->data)
		return settle(in, BLOCK_BYTES);
	if (in->start + in->len < in->cap)
		return 0;
	if (in->start)
		return settle(in, in->cap);
	return in->cap < BLOCK_LARGE_BYTES ? settle(in, BLOCK_LARGE_BYTES) : -ENOBUFS;
}

ssize_t inbound_fill(struct inbound *in, struct io *io, size_t limit)
{
	size_t room;
	ssize_t n;

	if (!io->may_read)
		return -EAGAIN;
	TRY(make_room(in));
	room = in->cap - in->start - in->len;
	n = io_read(io, in->data + in->start + in->len, room < limit ? room : limit);
	if (n > 0)
		in->len += (size_t)n;
	else if (!in->len)
		give_back(in);
	return n;
}

char *inbound_bytes(struct inbound *in)
{
	return in->data + in->start;
}

void inbound_use(struct inbound *in, size_t len)
{
	in->start += len;
	in->len -= len;
	if (!in->len)
		give_back(in);
}

/* Content that was read along with a head or with framing. */
static enum inbound_result move_buffered(struct inbound *in, struct pipe *pipe,
					 struct inbound_step *step)
{
	size_t room, data_len;
	uint8_t *to = pipe_room(pipe, &room);
	const char *data;

	if (!room)
		return pipe->len ? INBOUND_FULL : INBOUND_NO_MEMORY;
	/* Content is never longer than the bytes that hold it. */
	if (http1_body_read(&in->body, inbound_bytes(in), in->len < room ? in->len : room,
			    &step->used, &data, &data_len, &step->error) < 0)
		return INBOUND_BAD;
	memcpy(to, data, data_len);
	pipe_commit(pipe, data_len);
	inbound_use(in, step->used);
	step->moved = data_len;
	return in->body.done ? INBOUND_DONE : INBOUND_MOVED;
}

static enum inbound_result read_failed(struct inbound *in, ssize_t rc)
{
	if (rc == -EAGAIN)
		return INBOUND_AGAIN;
	if (rc == -ENOMEM)
		return INBOUND_NO_MEMORY;
	if (rc)
		return INBOUND_RESET;
	return http1_body_end(&in->body) ? INBOUND_DONE : INBOUND_ENDED;
}

/* `content` bytes at least come next that are nothing else. */
static enum inbound_result read_content(struct inbound *in, struct io *io, struct pipe *pipe,
					size_t content, struct inbound_step *step)
{
	size_t room, data_len;
	const char *data;
	uint8_t *to;
	ssize_t n;

	if (!io->may_read)
		return INBOUND_AGAIN;
	to = pipe_room(pipe, &room);
	if (!room)
		return pipe->len ? INBOUND_FULL : INBOUND_NO_MEMORY;
	n = io_read(io, to, room < content ? room : content);
	if (n <= 0) {
		pipe_consume(pipe, 0);
		return read_failed(in, n);
	}
	if (http1_body_read(&in->body, (char *)to, (size_t)n, &step->used, &data, &data_len,
			    &step->error) < 0)
		return INBOUND_BAD;
	pipe_commit(pipe, data_len);
	step->moved = data_len;
	return in->body.done ? INBOUND_DONE : INBOUND_MOVED;
}

enum inbound_result inbound_move(struct inbound *in, struct io *io, struct pipe *pipe,
				 struct inbound_step *ret_step)
{
	size_t content = http1_body_content(&in->body);
	ssize_t n;

	*ret_step = (struct inbound_step){ 0 };
	if (in->body.done)
		return INBOUND_DONE;
	if (in->len)
		return move_buffered(in, pipe, ret_step);
	if (content)
		return read_content(in, io, pipe, content, ret_step);
	n = inbound_fill(in, io, SIZE_MAX);
	return n > 0 ? INBOUND_MOVED : read_failed(in, n);
}

void inbound_clear(struct inbound *in)
{
	give_back(in);
}
