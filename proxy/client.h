/* SPDX-License-Identifier: Apache-2.0
 *
 * The connections of clients. Each begins with an HTTP/1 request in the clear; what follows a CONNECT
 * is a TLS ClientHello, and what comes out of that TLS is HTTP/1 or, where ALPN chose it, HTTP/2.
 * Anything else is closed: there is no raw tunnel.
 *
 * A connection is in the hands of one `struct client_ops` at a time:
 *
 *   client_h1.c ──CONNECT──▶ client_tls.c ──handshake──▶ client_h1.c, or client_h2.c
 */
#ifndef PROXY_CLIENT_H
#define PROXY_CLIENT_H

#include "proxy/io.h"
#include "proxy/loop.h"
#include "proxy/stream.h"

/* How long a client may take, in ms. docs/proxy.md has the same table. */
enum client_patience {
	CLIENT_HEAD_MS = 30 * 1000,   /* from a head's first byte to its last */
	CLIENT_TLS_MS = 10 * 1000,    /* from the answer to CONNECT to the end of the handshake */
	CLIENT_IDLE_MS = 120 * 1000,  /* between two requests */
	CLIENT_STALL_MS = 300 * 1000, /* without a byte of a body in either direction */
	CLIENT_LINGER_MS = 2 * 1000,  /* without a byte of what is discarded before the close */
	CLIENT_LINGER_MAX_MS = 30 * 1000, /* for all of it */
	CLIENT_SOCKET_MS = 3600 * 1000,	  /* a WebSocket without a byte */
};

struct client;

struct client_ops {
	void (*ready)(struct client *client); /* the io may go on, or client_defer */
	void (*due)(struct client *client);   /* the deadline has passed */
	void (*drain)(struct client *client); /* end as soon as nothing is under way */
	void (*clear)(
		struct client *client); /* free what the protocol keeps; the socket is open yet */
};

struct client {
	struct io io;
	const struct client_ops *ops;
	void *protocol; /* the ops' own */
	struct timer timer;
	uint64_t due_ms;   /* 0: none; the timer may stand earlier and is then moved on */
	struct task again; /* client_defer */
	struct task free_task;
	struct authority connect; /* of the CONNECT around it; host "": in the clear */
	const char *sni;	  /* as sent, or NULL; the SSL's own */
	bool is_greeted;	  /* a ClientHello has begun */
	bool is_closed;
	uint64_t linger_end_ms;	    /* of client_linger */
	struct client *next, *prev; /* all of them */
};

/* Takes an accepted socket over. */
void client_accept(int fd);

/* SIGTERM: idle connections end, the others after the answer under way. */
void client_drain(void);
size_t client_count(void);

/* For the protocols. */

void client_set_deadline(struct client *client, uint64_t after_ms); /* 0: none */
/* `ready` once more before the loop sleeps: a share of work is used up. */
void client_defer(struct client *client);
/* All is written: ends our side, discards what still comes for a while, then closes. What is closed
 * while its peer still sends is reset by the kernel, and the peer may lose what it was just sent. */
void client_linger(struct client *client);
/* Closes at once and frees by a task: the caller returns without touching it again. */
void client_close(struct client *client);

/* Hand over. Each sets client->ops; out of memory closes. */
void client_h1_start(struct client *client);
void client_tls_start(struct client *client); /* client->connect is set, the 200 is written */
/* What followed the CONNECT is no TLS: one line, then the end. */
void client_tls_refuse(struct client *client, const char *detail);
void client_h2_start(struct client *client); /* client_h2.c; the handshake is done */
/* It is closed for its messages of TLS (io.h): one line. */
void client_tls_note_flood(const struct client *client);

#endif
