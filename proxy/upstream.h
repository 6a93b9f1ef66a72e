/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections outward: dialled, through the upstream proxy where there is one, with TLS where the
 * request came by TLS, then in the hands of upstream_h1.c or upstream_h2.c.
 *
 *   dial ─▶ [TLS to an https:// upstream proxy] ─▶ [CONNECT] ─▶ [TLS to the server] ─▶ HTTP/1 or HTTP/2
 *
 * The pool owns them; see pool.h.
 */
#ifndef PROXY_UPSTREAM_H
#define PROXY_UPSTREAM_H

#include "proxy/audit.h"
#include "proxy/dial.h"
#include "proxy/inbound.h"
#include "proxy/io.h"
#include "proxy/loop.h"
#include "proxy/message.h"
#include "proxy/outbound.h"
#include "proxy/stream.h"

/* How long the outside may take, in ms. docs/proxy.md has the same table. */
enum upstream_patience {
	UPSTREAM_OPEN_MS = 30 * 1000,	 /* dial, CONNECT and TLS, all in all */
	UPSTREAM_ANSWER_MS = 600 * 1000, /* from the request to the answer's head */
	UPSTREAM_STALL_MS = 300 * 1000,	 /* without a byte of a body in either direction */
	UPSTREAM_IDLE_MS = 60 * 1000,	 /* in the pool */
};

struct exchange;
struct upstream_conn;

struct upstream_key { /* two requests share a connection when these are equal */
	struct authority place;
	bool is_https, wants_h2;
	bool is_through;   /* the upstream proxy */
	const void *route; /* identity: its credential */
	uint32_t hash;
};

struct upstream_conn_ops {
	void (*ready)(struct upstream_conn *conn); /* the io may go on, or upstream_defer */
	void (*due)(struct upstream_conn *conn);   /* the deadline has passed */
	/* Takes the exchange on: sets exchange->up and its `exchange`, and calls send_request.
	 * Called by the pool when the connection is idle or has_room. */
	void (*take)(struct upstream_conn *conn, struct exchange *exchange);
	bool (*has_room)(const struct upstream_conn *conn); /* for one more exchange now */
	void (*clear)(struct upstream_conn
			      *conn); /* free what the protocol keeps; the socket is open yet */
};

struct upstream_conn {
	struct io io;
	const struct upstream_conn_ops *ops;
	void *protocol;	   /* the ops' own */
	struct inbound in; /* HTTP/1, and the CONNECT */
	struct outbound out;
	struct upstream_key key;
	struct timer timer;
	uint64_t due_ms;
	struct task again, free_task;
	struct dial *dial;
	unsigned step; /* of upstream.c, while it is opened */
	uint64_t step_us;
	struct audit_phases phases; /* dial, connect, tls: for the first exchange */
	char request_id[17];	    /* sent with the CONNECT; "" : none */
	unsigned interims;	    /* heads that came before the CONNECT's answer */
	struct exchange *waiting;   /* list by wish.next: those that it is opened for */
	bool is_closed;
	bool is_opened;	     /* in the hands of upstream_h1.c or _h2.c */
	bool is_used;	     /* has served */
	bool is_refused;     /* the upstream proxy's 403 to our CONNECT lies in `in` */
	unsigned generation; /* pool.c */
	bool is_idle;	     /* in the pool's list of the idle */
	struct upstream_conn *hash_next, **hash_link; /* pool.c; link NULL: in no list */
	struct upstream_conn *lru_next, *lru_prev;    /* pool.c, while is_idle */
};

/* Out of memory: NULL. */
struct upstream_conn *upstream_new(const struct upstream_key *key);
/* Begins to open; ends in pool_opened or pool_failed, later or before it returns. */
void upstream_open(struct upstream_conn *conn);

/* For the protocols. */

void upstream_set_deadline(struct upstream_conn *conn, uint64_t after_ms); /* 0: none */
void upstream_defer(struct upstream_conn *conn);
/* Out of the pool, closed at once, freed by a task. Exchanges on it were told before. */
void upstream_close(struct upstream_conn *conn);

/* Hand over: set conn->ops. 0 or -errno. */
int upstream_h1_start(struct upstream_conn *conn);
int upstream_h2_start(struct upstream_conn *conn); /* upstream_h2.c */

#endif
