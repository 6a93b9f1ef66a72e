/* SPDX-License-Identifier: Apache-2.0
 *
 * nghttp2's options and callbacks; see h2_session.h and h2_link.h. Runs in: the proxy's worker.
 *
 * Each callback does the bookkeeping of one frame and notes on the stream what the owner has to settle.
 * None pumps, and but for on_head and on_bad_body, which end in submissions, none leaves this file.
 */
#include "proxy/h2_session.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum { OUT_BYTES = 64 * 1024, FRAME_ROOM = 32 * 1024, FRAME_HEAD_BYTES = 9 };

/* nghttp2 counts 12 more for each field: a head of HTTP/1 that is as long as may be fits with room to spare. */
enum { BLOCK_MAX_BYTES = 128 * 1024 };

/* What h2_session_produce makes, for whichever link. */
static uint8_t out[OUT_BYTES + FRAME_ROOM];
static size_t out_len;

static struct h2_stream *find(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct h2_link *link = ctx;

	(void)session;
	(void)frame;
	h2_head_reset(&link->head);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *ctx)
{
	struct h2_link *link = ctx;

	(void)session;
	(void)frame;
	(void)flags;
	if (h2_head_add(&link->head, (struct span){ (const char *)name, name_len },
			(struct span){ (const char *)value, value_len }) == 0)
		return 0;
	h2_link_give_up(link, NGHTTP2_ENHANCE_YOUR_CALM, "a header list of absurd length");
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

void h2_stream_spoil(struct h2_stream *stream, const char *detail)
{
	if (stream->is_bad)
		return;
	stream->is_bad = true;
	stream->link->ops->on_bad_body(stream, detail);
}

/* The inbound message is whole. */
static void end_inbound(struct h2_stream *stream)
{
	struct pipe *pipe = stream->link->ops->inbound(stream);

	stream->peer_ended = true;
	if (!stream->has_head)
		h2_stream_spoil(stream, "a stream that ended without a head");
	else if (stream->has_length && stream->length_left)
		h2_stream_spoil(stream, "a body shorter than its content-length");
	if (stream->is_bad)
		return;
	if (pipe)
		pipe->ended = true;
	h2_stream_note(stream, H2_DUE_READY);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct h2_link *link = ctx;
	struct h2_stream *stream;
	bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	stream = find(session, frame->hd.stream_id);
	if (frame->hd.type == NGHTTP2_HEADERS) {
		if (stream)
			stream->moved_ms = loop_now_ms();
		link->ops->on_head(link, stream, frame->hd.stream_id, ends);
		h2_head_reset(&link->head);
		stream = find(session, frame->hd.stream_id);
	}
	if (stream && ends)
		end_inbound(stream);
	return 0;
}

/* Into the pipe, which the window fits. Without a pipe, or memory for it, the bytes are lost. */
static bool put(struct pipe *pipe, const uint8_t *bytes, size_t len)
{
	while (pipe && len) {
		size_t room = 0;
		uint8_t *at = pipe_room(pipe, &room);
		if (room > len)
			room = len;
		if (!room && !pipe_widen(pipe))
			return false;
		if (!room)
			continue;
		memcpy(at, bytes, room);
		pipe_commit(pipe, room);
		bytes += room;
		len -= room;
	}
	return pipe != NULL;
}

/* What a client still sends behind an answer that did not need it is thrown away for a while before the
 * stream is reset (RFC 9113, 8.1): one that gets the reset along with the answer may lose the answer,
 * as curl 7.88 does in the middle of an upload. */
static void discard(struct h2_stream *stream, size_t len)
{
	stream->discarded_bytes += len;
	if (stream->discarded_bytes > H2_DISCARD_MAX && !stream->is_reset)
		h2_stream_reset(stream, NGHTTP2_NO_ERROR);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
		   size_t len, void *ctx)
{
	struct h2_link *link = ctx;
	struct h2_stream *stream = find(session, id);
	struct pipe *pipe;

	(void)flags;
	nghttp2_session_consume_connection(session, len);
	if (stream && !stream->has_head)
		h2_stream_spoil(stream, "a body before its head");
	else if (stream && stream->has_length && stream->length_left < len)
		h2_stream_spoil(stream, "a body longer than its content-length");
	pipe = stream && !stream->is_bad ? link->ops->inbound(stream) : NULL;
	if (!pipe) {
		nghttp2_session_consume_stream(session, id, len);
		if (stream && stream->we_ended && !link->is_client)
			discard(stream, len);
		return 0;
	}
	stream->length_left -= stream->has_length ? len : 0;
	stream->held += len;
	stream->moved_ms = loop_now_ms();
	if (!put(pipe, bytes, len))
		h2_stream_reset(stream, NGHTTP2_INTERNAL_ERROR);
	h2_stream_note(stream, H2_DUE_READY);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *ctx)
{
	struct h2_stream *stream = find(session, id);

	(void)ctx;
	if (!stream)
		return 0;
	stream->is_closed = true;
	stream->close_code = error_code;
	h2_stream_note(stream, H2_DUE_CLOSED);
	return 0;
}

/* A reset that the peer brought about counts as if it had sent it. */
static void count_reset(struct h2_link *link, const nghttp2_frame *frame)
{
	const struct h2_stream *stream = find(link->session, frame->hd.stream_id);
	const char *problem;

	if (link->is_client || (stream && stream->is_reset))
		return;
	if (h2_guard_count_reset(&link->guard, loop_now_ms(), &problem) < 0)
		h2_link_give_up(link, NGHTTP2_ENHANCE_YOUR_CALM, problem);
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct h2_link *link = ctx;
	struct h2_stream *stream;

	if (frame->hd.type == NGHTTP2_RST_STREAM) {
		count_reset(link, frame);
	} else if (frame->hd.type == NGHTTP2_GOAWAY) {
		if (frame->goaway.error_code != NGHTTP2_NO_ERROR && !link->is_broken) {
			link->is_broken = true;
			link->ops->on_broken(link,
					     nghttp2_http2_strerror(frame->goaway.error_code));
		}
	} else if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
		   (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA)) {
		stream = find(session, frame->hd.stream_id);
		if (stream) {
			stream->we_ended = true;
			stream->moved_ms = loop_now_ms(); /* the answer's time begins */
		}
	}
	return 0;
}

/* A head or trailers that nghttp2 will not write end their stream: else the peer waits for them for ever.
 * That of a request it ends by itself, and one that is about to end needs nothing. */
static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error,
			     void *ctx)
{
	struct h2_stream *stream;

	(void)ctx;
	if (frame->hd.type != NGHTTP2_HEADERS || error == NGHTTP2_ERR_STREAM_CLOSED ||
	    error == NGHTTP2_ERR_STREAM_CLOSING || frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		return 0;
	stream = find(session, frame->hd.stream_id);
	if (!stream || stream->is_reset)
		return 0;
	fprintf(stderr, "egress-proxy: a header block of HTTP/2 was not sent: %s\n",
		nghttp2_strerror(error));
	h2_stream_reset(stream, NGHTTP2_INTERNAL_ERROR);
	return 0;
}

static void take_trailers(struct h2_stream *stream, struct pipe *pipe)
{
	if (pipe && pipe->ended && !stream->trailers)
		stream->trailers = take_ptr(pipe->trailers);
}

/* The last DATA frame, or with trailers the last but for them. */
static int end_data(struct h2_stream *stream, uint32_t *flags)
{
	const struct h2_list *list;

	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (!stream->trailers)
		return 0;
	*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
	list = h2_list_of_fields(stream->trailers);
	return nghttp2_submit_trailer(stream->link->session, stream->id, list->items, list->count);
}

/* What the next DATA frame of the stream holds; the bytes stay in the pipe until send_data. */
static ssize_t provide(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len,
		       uint32_t *flags, nghttp2_data_source *source, void *ctx)
{
	struct h2_stream *stream = source->ptr;
	struct h2_link *link = ctx;
	struct pipe *pipe = link->ops->outbound(stream);
	size_t there = pipe ? pipe->len : 0;
	bool ended = pipe ? pipe->ended : stream->is_finished;

	(void)session;
	(void)id;
	(void)buf;
	if (!pipe && !ended)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (!there && !ended) {
		stream->is_waiting = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	take_trailers(stream, pipe);
	if (there > len)
		return (ssize_t)len;
	if (ended && end_data(stream, flags) != 0)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	return (ssize_t)there;
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
		     size_t len, nghttp2_data_source *source, void *ctx)
{
	struct h2_stream *stream = source->ptr;
	struct h2_link *link = ctx;
	struct pipe *pipe = link->ops->outbound(stream);

	(void)session;
	(void)frame;
	if (len && (!pipe || pipe->len < len))
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (out_len + FRAME_HEAD_BYTES + len > OUT_BYTES)
		return NGHTTP2_ERR_WOULDBLOCK;
	memcpy(out + out_len, head, FRAME_HEAD_BYTES);
	out_len += FRAME_HEAD_BYTES;
	if (len) {
		memcpy(out + out_len, pipe->data + pipe->start, len);
		pipe_consume(pipe, len);
		out_len += len;
		h2_guard_forgive(&link->guard);
	}
	stream->moved_ms = loop_now_ms();
	h2_stream_note(stream, H2_DUE_SPACE);
	return 0;
}

ssize_t h2_session_produce(struct h2_link *link, const uint8_t **ret_bytes)
{
	out_len = 0;
	*ret_bytes = out;
	while (out_len < OUT_BYTES) {
		const uint8_t *bytes;
		ssize_t n = nghttp2_session_mem_send(link->session, &bytes);
		if (n < 0)
			return n == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
		if (n == 0)
			break;
		if ((size_t)n > sizeof(out) - out_len)
			return -EPROTO;
		memcpy(out + out_len, bytes, (size_t)n);
		out_len += (size_t)n;
	}
	return (ssize_t)out_len;
}

void h2_session_wipe(struct h2_link *link)
{
	if (link->is_client)
		explicit_bzero(out, out_len);
}

nghttp2_data_provider h2_stream_provider(struct h2_stream *stream)
{
	return (nghttp2_data_provider){ .source.ptr = stream, .read_callback = provide };
}

void h2_stream_wake(struct h2_stream *stream, struct pipe *pipe)
{
	take_trailers(stream, pipe);
	if (stream->is_waiting && !stream->is_closed) {
		stream->is_waiting = false;
		nghttp2_session_resume_data(stream->link->session, stream->id);
		stream->link->ops->defer(stream->link);
	}
}

/* Of an answer alone: see h2_link.h. */
static void widen(struct h2_stream *stream)
{
	struct h2_link *link = stream->link;

	if (!link->is_client || stream->is_wide || link->wide_count == H2_WIDE_MAX)
		return;
	if (nghttp2_session_set_local_window_size(link->session, NGHTTP2_FLAG_NONE, stream->id,
						  PIPE_WIDE_BYTES) != 0)
		return; /* for want of memory: it stays as it is */
	stream->is_wide = true;
	link->wide_count++;
}

void h2_stream_give_back(struct h2_stream *stream, const struct pipe *pipe)
{
	size_t still = pipe ? pipe->len : 0;
	size_t drained = stream->held - still;

	if (stream->is_closed || !drained)
		return;
	stream->held = still;
	nghttp2_session_consume_stream(stream->link->session, stream->id, drained);
	if (pipe && pipe->total_bytes >= PIPE_BYTES && !stream->peer_ended)
		widen(stream);
	stream->link->ops->defer(stream->link);
}

void h2_stream_reset(struct h2_stream *stream, uint32_t error_code)
{
	if (stream->is_closed)
		return;
	stream->is_reset = true;
	nghttp2_submit_rst_stream(stream->link->session, NGHTTP2_FLAG_NONE, stream->id, error_code);
	stream->link->ops->defer(stream->link);
}

void h2_stream_expect(struct h2_stream *stream, enum body_kind kind, uint64_t content_length)
{
	stream->has_length = kind == BODY_LENGTH || kind == BODY_NONE;
	stream->length_left = kind == BODY_LENGTH ? content_length : 0;
}

/* Made once; both live as long as the process. */
static nghttp2_session_callbacks *callbacks;
static nghttp2_option *options;

static int prepare(void)
{
	if (options)
		return 0;
	if (!callbacks && nghttp2_session_callbacks_new(&callbacks) != 0)
		return -ENOMEM;
	if (nghttp2_option_new(&options) != 0)
		return -ENOMEM;
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_frame_not_send);
	nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
	nghttp2_option_set_no_http_messaging(options, 1); /* h2_head.c checks them */
	nghttp2_option_set_no_auto_window_update(options, 1);
	nghttp2_option_set_no_closed_streams(options, 1);
	nghttp2_option_set_max_reserved_remote_streams(options, 0);
	nghttp2_option_set_max_outbound_ack(options, H2_QUEUE_MAX + 1);
	nghttp2_option_set_max_settings(options, 32);
	nghttp2_option_set_max_send_header_block_length(options, BLOCK_MAX_BYTES);
	return 0;
}

/* The memory of a session with a server: it holds credentials in its queue, its frames, and, where a
 * name is indexed, its tables. */
static void *take(size_t size, void *ctx)
{
	(void)ctx;
	return malloc(size);
}

static void *take_zeroed(size_t count, size_t size, void *ctx)
{
	(void)ctx;
	return calloc(count, size);
}

static void wipe(void *memory, void *ctx)
{
	(void)ctx;
	if (memory)
		explicit_bzero(memory, malloc_usable_size(memory));
	free(memory);
}

static void *resize(void *memory, size_t size, void *ctx)
{
	size_t had = memory ? malloc_usable_size(memory) : 0;
	void *grown = malloc(size);

	if (!grown)
		return NULL;
	if (memory)
		memcpy(grown, memory, had < size ? had : size);
	wipe(memory, ctx);
	return grown;
}

static int new_session(struct h2_link *link)
{
	static nghttp2_mem memory = { NULL, take, wipe, take_zeroed, resize };

	TRY(prepare());
	if (link->is_client)
		return nghttp2_session_client_new3(&link->session, callbacks, link, options,
						   &memory);
	return nghttp2_session_server_new2(&link->session, callbacks, link, options);
}

int h2_session_open(struct h2_link *link)
{
	static const nghttp2_settings_entry of_server[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_STREAMS_MAX },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_LIST_BYTES },
		{ NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
	};
	static const nghttp2_settings_entry of_client[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_LIST_BYTES },
	};
	const nghttp2_settings_entry *settings = link->is_client ? of_client : of_server;
	size_t count = link->is_client ? 2 : 3;

	if (new_session(link) != 0 ||
	    nghttp2_submit_settings(link->session, NGHTTP2_FLAG_NONE, settings, count) != 0 ||
	    nghttp2_session_set_local_window_size(link->session, NGHTTP2_FLAG_NONE, 0,
						  H2_LINK_WINDOW) != 0)
		return -ENOMEM;
	return 0;
}
