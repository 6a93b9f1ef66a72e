/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection's bytes: a non-blocking socket, with or without TLS on it. Owner: the connection
 * that embeds it. Knows nothing of HTTP.
 *
 * The owner calls until -EAGAIN; then `on_ready` comes with the next edge. It may stop earlier, at its
 * share, and go on from a task while `may_read` says that there may be more: in the socket, or in what
 * TLS holds, of which no edge will tell.
 */
#ifndef PROXY_IO_H
#define PROXY_IO_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proxy/loop.h"

/* OpenSSL goes through messages of the handshake protocol, which bring nothing to who reads, for as long as
 * there are any, within one call: KeyUpdate and tickets (RFC 8446, 4.6), HelloRequest. Real peers send
 * two to four tickets, and a KeyUpdate in 100 GB. */
enum { IO_TLS_MESSAGES_MAX = 64 /* in a period */, IO_TLS_PERIOD_MS = 30 * 1000 };

struct io {
	struct source source; /* fd, -1 when closed */
	SSL *ssl;	      /* or NULL: in the clear */
	void (*on_ready)(
		struct io *io); /* something may be possible: read, write, shake hands on */
	bool may_read,
		may_write; /* the kernel has not said EAGAIN, or shown it, since the last edge */
	bool peer_ended;   /* end of stream was read: FIN, or close_notify with TLS */
	/* io.c's own: TLS that must write before it can read, or the other way round; the end of our
	 * side, which waits for room. */
	bool read_wants_write, write_wants_read, is_ending;
	bool is_bulk;	  /* the peer fills its records */
	bool is_drained;  /* the last read took all that the socket had */
	bool peer_ending; /* an edge told of a FIN or an error */
	bool is_reset;	  /* an edge told of an error: what there is to read may still be read */
	/* The peer sent more than IO_TLS_MESSAGES_MAX: nothing more is read. */
	bool is_flooded;
	uint32_t tls_messages;	  /* in this period, those of the handshake too */
	uint64_t tls_messages_ms; /* when it began */
	/* Records that the socket had no room for: backlog[start .. start+len), malloc'd or NULL. They
	 * go out as it has, also without a call. */
	uint8_t *backlog;
	size_t backlog_start, backlog_len;
};

/* Takes the descriptor over, makes it non-blocking with TCP_NODELAY, and adds it to the loop.
 * 0 or -errno; on failure the descriptor is closed. */
int io_open(struct io *io, int fd, void (*on_ready)(struct io *)) MUST_CHECK;

/* Takes the SSL over; it is already set to accept or connect. What was read of the socket before
 * is not given to it: a peer that sent TLS along with its last clear bytes has to be refused. */
void io_start_tls(struct io *io, SSL *ssl);
/* The same inside the TLS that there is: the inner reads and writes through the outer, and frees it.
 * -ENOMEM: `inner` stays the caller's. */
int io_nest_tls(struct io *io, SSL *inner) MUST_CHECK;

/* 0: done; -EAGAIN; -EPROTO: failed, with OpenSSL's reason in its error queue. */
int io_handshake(struct io *io) MUST_CHECK;

/* > 0 bytes; 0: the peer ended its side properly; -EAGAIN; -ECONNRESET: reset, or with TLS a FIN
 * without close_notify; -EPROTO: broken TLS, or is_flooded; else -errno of recv(2). */
ssize_t io_read(struct io *io, void *bytes, size_t size) MUST_CHECK;

/* > 0 bytes (with TLS at most four records of 16 KiB, in one send), -EAGAIN, -EPROTO, -errno. After
 * -EAGAIN the next call must begin with the same bytes and bring at least as many; they may have moved. */
ssize_t io_write(struct io *io, const void *bytes, size_t len) MUST_CHECK;

/* Whether the socket has all that was written: 0, -EAGAIN, -errno. */
int io_flush(struct io *io) MUST_CHECK;

/* Ends our side: close_notify, then shutdown(SHUT_WR); both wait for room in the socket, so the owner
 * keeps the io for a while. Call when all is written. */
void io_end(struct io *io);

/* Ends both at once, without a close_notify; the TLS session stays resumable. Nothing is left of it.
 * Does nothing when it is closed. */
void io_close(struct io *io);

#endif
