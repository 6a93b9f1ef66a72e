/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection's bytes: a non-blocking socket, with or without TLS on it. Owner: the connection
 * that embeds it. Knows nothing of HTTP.
 */
#ifndef PROXY_IO_H
#define PROXY_IO_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proxy/loop.h"

struct io {
	struct source source; /* fd, -1 when closed */
	SSL *ssl;	      /* or NULL: in the clear */
	void (*on_ready)(
		struct io *io);	  /* something may be possible: read, write, shake hands on */
	bool may_read, may_write; /* the kernel has not said EAGAIN since the last edge */
	bool peer_ended;	  /* end of stream was read: FIN, or close_notify with TLS */
};

/* Takes the descriptor over, makes it non-blocking with TCP_NODELAY, and adds it to the loop.
 * 0 or -errno; on failure the descriptor is closed. */
int io_open(struct io *io, int fd, void (*on_ready)(struct io *)) MUST_CHECK;

/* Takes the SSL over; it is already set to accept or connect. */
void io_start_tls(struct io *io, SSL *ssl);

/* 0: done; -EAGAIN; -EPROTO: failed, with OpenSSL's reason in its error queue. */
int io_handshake(struct io *io) MUST_CHECK;

/* > 0 bytes; 0: the peer ended its side properly; -EAGAIN; -ECONNRESET: reset, or with TLS a FIN
 * without close_notify; -EPROTO: broken TLS. */
ssize_t io_read(struct io *io, void *bytes, size_t size) MUST_CHECK;

/* > 0 bytes, -EAGAIN, -errno. After -EAGAIN the next call must begin with the same bytes. */
ssize_t io_write(struct io *io, const void *bytes, size_t len) MUST_CHECK;

/* Bytes that TLS has already decrypted, or a whole unread record: no edge will tell of them. */
bool io_has_pending(const struct io *io);

/* Ends our side: close_notify, then shutdown(SHUT_WR). */
void io_end(struct io *io);

/* Ends both at once; the TLS session stays resumable. Nothing is left of it. */
void io_close(struct io *io);

#endif
