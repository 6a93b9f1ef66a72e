/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing HTTP/1; see outbound.h. Runs in: the proxy's worker. Holds: for the time of a write, the
 * credential of a request.
 *
 * A head and a short body leave in one write. Longer content is written straight out of the pipe; what
 * is to be chunked is copied behind its size line, since three writes, and three TLS records, cost more
 * than the copy. While a write out of the pipe is not through, nothing is put before it: TLS wants the
 * same bytes again.
 */
#include "proxy/outbound.h"

#include <errno.h>
#include <string.h>

#include "proxy/block.h"
#include "proxy/http1.h"

/* A chunk with its framing is one TLS record. */
enum { CHUNK_MAX = BLOCK_BYTES - 64 };

static void give_back(struct outbound *out)
{
	block_give(out->buf.data, out->buf.cap);
	out->buf = (struct buf){ 0 };
	out->at = 0;
}

int outbound_begin(struct outbound *out)
{
	if (out->buf.data)
		return out->buf.failed ? -ENOMEM : 0;
	out->buf.data = block_take(BLOCK_BYTES);
	if (!out->buf.data)
		return -ENOMEM;
	out->buf.cap = BLOCK_BYTES;
	return 0;
}

void outbound_start_body(struct outbound *out, enum body_kind kind, uint64_t content_length)
{
	out->kind = kind;
	out->left = content_length;
}

static size_t waiting(const struct outbound *out)
{
	return out->buf.len - out->at;
}

bool outbound_is_empty(const struct outbound *out)
{
	return waiting(out) == 0;
}

int outbound_flush(struct outbound *out, struct io *io)
{
	if (out->buf.failed)
		return -ENOMEM;
	while (waiting(out)) {
		ssize_t n = io_write(io, out->buf.data + out->at, waiting(out));

		if (n < 0)
			return (int)n;
		out->at += (size_t)n;
	}
	if (out->holds_secret)
		explicit_bzero(out->buf.data, out->buf.len);
	out->holds_secret = false;
	give_back(out);
	return io_flush(io);
}

/* How much of the pipe can be put behind what waits. */
static size_t room_behind(const struct outbound *out)
{
	return out->buf.cap > out->buf.len + 1 ? out->buf.cap - out->buf.len - 1 : 0;
}

static void add_chunk(struct outbound *out, struct pipe *pipe, size_t len)
{
	char head[20];

	buf_append(&out->buf, head, http1_chunk_head(head, len));
	buf_append(&out->buf, pipe->data + pipe->start, len);
	buf_append(&out->buf, "\r\n", 2);
}

/* Fills the buffer with chunks, and with the last one where the body has ended. */
static int add_chunks(struct outbound *out, struct pipe *pipe, size_t *ret_moved)
{
	TRY(outbound_begin(out));
	if (pipe->len && room_behind(out) > 64) {
		size_t room = room_behind(out) - 64;
		size_t len = pipe->len < room ? pipe->len : room;

		if (len > CHUNK_MAX)
			len = CHUNK_MAX;
		add_chunk(out, pipe, len);
		pipe_consume(pipe, len);
		*ret_moved += len;
	}
	/* A client's side is left as soon as the pipe is empty: the end must not wait for room. But never by
	 * a realloc(3) that would leave a copy of a credential behind. */
	if (pipe->ended && !pipe->len && (!out->holds_secret || room_behind(out) >= 5)) {
		buf_append(&out->buf, "0\r\n\r\n", 5);
		out->kind = BODY_NONE;
	}
	return 0;
}

/* Behind a head that waits. */
static void add_plain(struct outbound *out, struct pipe *pipe, size_t *ret_moved)
{
	size_t room = room_behind(out), len = pipe->len < room ? pipe->len : room;

	buf_append(&out->buf, pipe->data + pipe->start, len);
	pipe_consume(pipe, len);
	*ret_moved += len;
	out->left -= len;
}

static int write_plain(struct outbound *out, struct io *io, struct pipe *pipe, size_t *ret_moved)
{
	ssize_t n = io_write(io, pipe->data + pipe->start, pipe->len);

	if (n < 0)
		return (int)n;
	pipe_consume(pipe, (size_t)n);
	*ret_moved += (size_t)n;
	out->left -= (uint64_t)n;
	return 0;
}

/* Whether a body that is not chunked is through, and as long as it was said to be. */
static int check_plain(struct outbound *out, const struct pipe *pipe)
{
	bool has_length = out->kind == BODY_LENGTH;

	if (has_length && pipe->len > out->left)
		return -EMSGSIZE;
	if (pipe->len || !(pipe->ended || (has_length && !out->left)))
		return 0;
	if (has_length && out->left)
		return -EMSGSIZE;
	out->kind = BODY_NONE;
	return 0;
}

int outbound_move(struct outbound *out, struct io *io, struct pipe *pipe, size_t *ret_moved)
{
	*ret_moved = 0;
	for (;;) {
		if (out->kind == BODY_CHUNKED) {
			TRY(add_chunks(out, pipe, ret_moved));
		} else if (out->kind != BODY_NONE) {
			TRY(check_plain(out, pipe));
			if (pipe->len && waiting(out))
				add_plain(out, pipe, ret_moved);
		}
		TRY(outbound_flush(out, io));
		if (out->kind == BODY_NONE)
			return 1;
		if (pipe->len && out->kind != BODY_CHUNKED)
			TRY(write_plain(out, io, pipe, ret_moved));
		else if (!pipe->len && !pipe->ended)
			return 0;
	}
}

void outbound_clear(struct outbound *out)
{
	if (out->holds_secret && out->buf.data)
		explicit_bzero(out->buf.data, out->buf.len);
	out->holds_secret = false;
	give_back(out);
	out->kind = BODY_NONE;
}
