/* SPDX-License-Identifier: Apache-2.0
 *
 * One HTTP/2 connection with nghttp2 (RFC 9113), whichever side of the proxy it is on: bytes in and out,
 * windows, streams, and the pipes of their bodies. client_h2.c and upstream_h2.c give it meaning.
 *
 * nghttp2's callbacks never call an exchange to go on with: they note on the stream what happened (`due`)
 * and h2_link_pump, outside of nghttp2, has the owner settle it. In the other direction the owner submits
 * to nghttp2 and asks for a later pump. So the output of many streams goes out in few writes.
 *
 * Windows: a stream's is given back as its pipe is drained, so what waits for a stream fits the pipe.
 * The connection's is given back at once: a stream that stalls does not hold up the others. A window is what
 * can come in one round trip: 64 KiB are 1.3 MB/s from a server 50 ms away. So that of an answer which proved
 * to be long is widened, of a few streams at a time. A request comes from next door, and some clients
 * corrupt what the window admits and their socket does not take: docs/decisions/upload-window.md.
 *
 * Deadlines: bytes that move on one stream say nothing of another. A timer looks at all streams every few
 * seconds: the owner says how long the peer may keep each waiting, if it is the peer that is waited for.
 */
#ifndef PROXY_H2_LINK_H
#define PROXY_H2_LINK_H

#include "proxy/h2_guard.h"
#include "proxy/h2_head.h"
#include "proxy/io.h"
#include "proxy/stream.h"

enum h2_link_limits {
	H2_STREAMS_MAX = 100,
	H2_LINK_WINDOW = 8 * 1024 * 1024, /* costs no memory: what comes is put away at once */
	H2_WIDE_MAX = 8,		  /* streams with a window of PIPE_WIDE_BYTES at a time */
	H2_SWEEP_MS = 10 * 1000,
	H2_DISCARD_MAX = 1024 *
			 1024, /* of a request whose answer is out; then the stream is reset */
	H2_QUEUE_MAX =
		1000, /* frames that wait for a peer that does not read: then nothing is read */
};

struct h2_link;

enum h2_due {
	H2_DUE_READY = 1,  /* the inbound pipe has bytes, or ended */
	H2_DUE_SPACE = 2,  /* the outbound pipe was drained of some */
	H2_DUE_CLOSED = 4, /* the stream is no more */
};

struct h2_stream { /* embedded, first, in the owner's */
	struct h2_link *link;
	int32_t id;
	unsigned due;
	struct h2_stream *due_next;
	struct h2_stream *next, **prev; /* all of the link */
	size_t discarded_bytes;		/* that came after our message was out */
	size_t held;			/* bytes of the window that are not given back */
	uint64_t moved_ms;		/* when bytes last moved, or the peer was not waited for */
	bool has_length;		/* of the inbound body */
	uint64_t length_left;
	bool has_head;		 /* the head of the inbound message was whole */
	bool is_bad;		 /* it breaks a rule: nothing more of it is taken */
	bool peer_ended;	 /* and so is the message */
	bool we_ended;		 /* END_STREAM went out */
	bool is_waiting;	 /* nghttp2 waits for h2_stream_wake */
	bool is_finished;	 /* the outbound pipe is gone, and was whole and empty */
	bool is_reset;		 /* by us, for no fault of the peer's */
	bool is_wide;		 /* its window was widened */
	bool is_closed;		 /* nghttp2 has forgotten it */
	uint32_t close_code;	 /* with is_closed */
	struct fields *trailers; /* taken from the outbound pipe; owned */
};

struct h2_link_ops {
	/* A header block is whole, in link->head. `stream` NULL: it begins a stream. */
	void (*on_head)(struct h2_link *link, struct h2_stream *stream, int32_t id, bool ends);
	/* Where what comes is put, and what goes is taken from; NULL: nowhere, any more. */
	struct pipe *(*inbound)(struct h2_stream *stream);
	struct pipe *(*outbound)(struct h2_stream *stream);
	/* The inbound message breaks a rule. */
	void (*on_bad_body)(struct h2_stream *stream, const char *detail);
	/* How long the peer may go on as it does, in ms; 0: it is not the peer that is waited for. */
	unsigned (*patience)(const struct h2_stream *stream);
	/* It has kept the stream waiting for longer; resets it. */
	void (*on_stalled)(struct h2_stream *stream);
	/* Outside of nghttp2: acts on stream->due; may free it with DUE_CLOSED. */
	void (*settle)(struct h2_stream *stream, unsigned due);
	/* The peer broke the protocol; the link ends with GOAWAY. At most once. */
	void (*on_broken)(struct h2_link *link, const char *detail);
	/* h2_link_pump is wanted before the loop sleeps. */
	void (*defer)(struct h2_link *link);
};

struct h2_link {
	struct io *io;
	nghttp2_session *session;
	const struct h2_link_ops *ops;
	struct h2_guard guard;
	struct h2_head head;
	struct h2_stream *streams;
	size_t stream_count, wide_count;
	struct timer sweep; /* set while there are streams */
	struct h2_stream *due, **due_end;
	uint8_t *backlog; /* what the socket did not take: backlog[start .. start+len) */
	size_t backlog_start, backlog_len;
	uint64_t moved_bytes; /* in and out; tells a stall */
	bool is_client, is_broken;
	bool peer_gone; /* it ended or broke the connection */
};

/* 0 or -ENOMEM. The preface and SETTINGS go out with the first pump. */
int h2_link_open(struct h2_link *link, struct io *io, const struct h2_link_ops *ops,
		 bool is_client) MUST_CHECK;

/* Reads, settles and writes until nothing moves or a share is used. Whether the link goes on; if not,
 * all that could be said is written, and the owner closes. */
bool h2_link_pump(struct h2_link *link) MUST_CHECK;

/* Frees the session. The streams are the owner's to free before. */
void h2_link_clear(struct h2_link *link);

/* The timer's work: tells on_stalled of each stream that was kept waiting too long. */
void h2_link_sweep(struct h2_link *link);

/* No further streams: GOAWAY with the last one that counts. Those under way go on. */
void h2_link_retire(struct h2_link *link, uint32_t error_code);
/* At once: GOAWAY, and nothing more is read. */
void h2_link_give_up(struct h2_link *link, uint32_t error_code, const char *detail);

void h2_stream_add(struct h2_link *link, struct h2_stream *stream, int32_t id);
/* Out of the link; its memory is the owner's to free. */
void h2_stream_remove(struct h2_stream *stream);
/* What the stream's message says of its length. */
void h2_stream_expect(struct h2_stream *stream, enum body_kind kind, uint64_t content_length);
/* A rule is broken: on_bad_body, once. */
void h2_stream_spoil(struct h2_stream *stream, const char *detail);
/* Has the owner settle it. */
void h2_stream_note(struct h2_stream *stream, unsigned due);

/* A body that comes from ops->outbound. */
nghttp2_data_provider h2_stream_provider(struct h2_stream *stream);
/* The outbound pipe has bytes, or ended: then its trailers are taken. NULL: it is gone, see is_finished. */
void h2_stream_wake(struct h2_stream *stream, struct pipe *pipe);
/* The inbound pipe was drained. NULL: what comes is thrown away. */
void h2_stream_give_back(struct h2_stream *stream, const struct pipe *pipe);
void h2_stream_reset(struct h2_stream *stream, uint32_t error_code);

#endif
