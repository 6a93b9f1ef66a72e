/* SPDX-License-Identifier: Apache-2.0
 *
 * One HTTP/2 connection: its bytes, and the owner's turn between them; see h2_link.h. Runs in: the
 * proxy's worker. Holds: nothing beyond the connection.
 *
 * Input and output go through two buffers that serve all connections, since there is one thread. Only
 * what a socket does not take is copied aside, so an idle connection holds no buffer.
 */
#include "proxy/h2_link.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/h2_session.h"

enum { IN_BYTES = 16 * 1024 /* one TLS record */ };

void h2_stream_note(struct h2_stream *stream, unsigned due)
{
	struct h2_link *link = stream->link;

	if (!stream->due) {
		stream->due_next = NULL;
		*link->due_end = stream;
		link->due_end = &stream->due_next;
	}
	stream->due |= due;
}

/* Settling one stream may note others, also itself again. */
static void settle(struct h2_link *link)
{
	while (link->due) {
		struct h2_stream *stream = link->due;
		unsigned due = stream->due;

		link->due = stream->due_next;
		if (!link->due)
			link->due_end = &link->due;
		stream->due = 0;
		link->ops->settle(stream, due);
	}
}

void h2_link_sweep(struct h2_link *link)
{
	uint64_t now_ms = loop_now_ms();

	for (struct h2_stream *stream = link->streams, *next; stream; stream = next) {
		unsigned patience_ms = link->ops->patience(stream);

		next = stream->next;
		if (!patience_ms)
			stream->moved_ms = now_ms;
		else if (now_ms - stream->moved_ms >= patience_ms && !stream->is_reset)
			link->ops->on_stalled(stream);
	}
}

static void on_sweep(struct timer *timer)
{
	struct h2_link *link = (struct h2_link *)((char *)timer - offsetof(struct h2_link, sweep));

	h2_link_sweep(link);
	if (link->streams)
		timer_set(timer, H2_SWEEP_MS);
}

void h2_stream_add(struct h2_link *link, struct h2_stream *stream, int32_t id)
{
	stream->link = link;
	stream->id = id;
	stream->moved_ms = loop_now_ms();
	if (!link->sweep.heap_at)
		timer_set(&link->sweep, H2_SWEEP_MS);
	stream->next = link->streams;
	stream->prev = &link->streams;
	if (stream->next)
		stream->next->prev = &stream->next;
	link->streams = stream;
	link->stream_count++;
}

static void forget_todo(struct h2_link *link, const struct h2_stream *stream)
{
	struct h2_stream **at = &link->due;

	while (*at && *at != stream)
		at = &(*at)->due_next;
	if (!*at)
		return;
	*at = stream->due_next;
	if (!*at)
		link->due_end = at;
}

void h2_stream_remove(struct h2_stream *stream)
{
	struct h2_link *link = stream->link;

	if (stream->due)
		forget_todo(link, stream);
	if (!stream->is_closed)
		nghttp2_session_set_stream_user_data(link->session, stream->id, NULL);
	*stream->prev = stream->next;
	if (stream->next)
		stream->next->prev = stream->prev;
	link->stream_count--;
	link->wide_count -= stream->is_wide;
	free(stream->trailers);
	stream->trailers = NULL;
}

int h2_link_open(struct h2_link *link, struct io *io, const struct h2_link_ops *ops, bool is_client)
{
	*link = (struct h2_link){ .io = io, .ops = ops, .is_client = is_client };
	link->due_end = &link->due;
	link->sweep.on_due = on_sweep;
	h2_guard_init(&link->guard, !is_client);
	return h2_session_open(link);
}

static void drop_backlog(struct h2_link *link)
{
	if (link->backlog)
		explicit_bzero(link->backlog, link->backlog_start + link->backlog_len);
	free(link->backlog);
	link->backlog = NULL;
	link->backlog_len = 0;
}

void h2_link_clear(struct h2_link *link)
{
	timer_cancel(&link->sweep);
	nghttp2_session_del(link->session);
	link->session = NULL;
	h2_head_reset(&link->head);
	drop_backlog(link);
}

void h2_link_give_up(struct h2_link *link, uint32_t error_code, const char *detail)
{
	if (!link->is_broken)
		link->ops->on_broken(link, detail);
	link->is_broken = true;
	nghttp2_session_terminate_session(link->session, error_code);
}

void h2_link_retire(struct h2_link *link, uint32_t error_code)
{
	int32_t last = nghttp2_session_get_last_proc_stream_id(link->session);

	/* Fails for want of memory alone; the connection then lives a little longer. */
	(void)nghttp2_submit_goaway(link->session, NGHTTP2_FLAG_NONE, last, error_code, NULL, 0);
	link->ops->defer(link);
}

/* Feeds nghttp2 what was read. 0 or -EPROTO: no more can be said on this connection. */
static int feed(struct h2_link *link, const uint8_t *bytes, size_t len)
{
	const char *problem;
	ssize_t used;

	if (h2_guard_look(&link->guard, bytes, len, loop_now_ms(), &problem) < 0) {
		h2_link_give_up(link, link->guard.error_code, problem);
		return 0;
	}
	used = nghttp2_session_mem_recv(link->session, bytes, len);
	if (used >= 0)
		return 0;
	if (!link->is_broken)
		link->ops->on_broken(link, nghttp2_strerror((int)used));
	link->is_broken = true;
	return -EPROTO;
}

/* A peer that sends and does not read is not listened to: answers that wait cost memory. */
static bool may_receive(const struct h2_link *link)
{
	if (link->peer_gone || !link->io->may_read || !nghttp2_session_want_read(link->session))
		return false;
	return !link->backlog_len ||
	       nghttp2_session_get_outbound_queue_size(link->session) < H2_QUEUE_MAX;
}

/* One read. The number of bytes, 0: none now, or -errno: the link is over. */
static ssize_t receive(struct h2_link *link)
{
	static uint8_t in[IN_BYTES];
	ssize_t n;

	if (!may_receive(link))
		return 0;
	n = io_read(link->io, in, sizeof(in));
	if (n == -EAGAIN)
		return 0;
	if (n <= 0) {
		link->peer_gone = true;
		return n;
	}
	link->moved_bytes += (uint64_t)n;
	TRY(feed(link, in, (size_t)n));
	return n;
}

/* Writes bytes[len]. How many the socket took, or -errno. */
static ssize_t write_some(struct h2_link *link, const uint8_t *bytes, size_t len)
{
	size_t done = 0;

	while (done < len && link->io->may_write) {
		ssize_t n = io_write(link->io, bytes + done, len - done);
		if (n == -EAGAIN)
			break;
		if (n < 0) {
			link->peer_gone = true;
			return n;
		}
		done += (size_t)n;
	}
	link->moved_bytes += done;
	return (ssize_t)done;
}

static int keep_backlog(struct h2_link *link, const uint8_t *bytes, size_t len)
{
	link->backlog = malloc(len);
	if (!link->backlog)
		return -ENOMEM;
	memcpy(link->backlog, bytes, len);
	link->backlog_start = 0;
	link->backlog_len = len;
	return 0;
}

static ssize_t write_backlog(struct h2_link *link)
{
	ssize_t n = write_some(link, link->backlog + link->backlog_start, link->backlog_len);

	if (n < 0)
		return n;
	link->backlog_start += (size_t)n;
	link->backlog_len -= (size_t)n;
	if (!link->backlog_len)
		drop_backlog(link);
	return n;
}

/* One buffer of frames. The number of bytes that went out, or -errno: the link is over. */
static ssize_t transmit(struct h2_link *link)
{
	const uint8_t *bytes;
	ssize_t made, done;

	if (link->backlog_len)
		return write_backlog(link);
	made = h2_session_produce(link, &bytes);
	if (made <= 0)
		return made;
	done = write_some(link, bytes, (size_t)made);
	if (done >= 0 && done < made)
		made = keep_backlog(link, bytes + done, (size_t)(made - done));
	h2_session_wipe(link);
	return made < 0 ? made : done;
}

static bool is_over(const struct h2_link *link)
{
	return !link->backlog_len && !nghttp2_session_want_read(link->session) &&
	       !nghttp2_session_want_write(link->session);
}

bool h2_link_pump(struct h2_link *link)
{
	size_t share = IO_SHARE_BYTES;
	ssize_t in, out;

	do {
		in = receive(link);
		settle(link);
		out = transmit(link);
		settle(link);
		if (in < 0 || out < 0 || link->peer_gone)
			return false;
		share -= (size_t)(in + out) < share ? (size_t)(in + out) : share;
	} while ((in || out) && share);
	if (!share)
		link->ops->defer(link);
	return !is_over(link);
}
