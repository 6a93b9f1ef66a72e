/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections to the servers outside. Keyed by (name, port, TLS or not, HTTP/2 wanted, route): never
 * shared between routes, so not between credentials. An idle HTTP/1 connection serves one exchange at a
 * time; an HTTP/2 one as many as the server allows.
 */
#ifndef PROXY_POOL_H
#define PROXY_POOL_H

#include <stdbool.h>

enum { POOL_IDLE_MAX = 256 };

struct exchange;
struct upstream_conn; /* upstream.h */
struct upstream_key;

struct pool_request { /* embedded in the exchange: waits for a connection */
	struct exchange *next;
	struct upstream_conn *conn; /* being opened for it, or NULL */
	bool wants_fresh;	    /* no used connection: one has just failed it */
	bool is_alone; /* the server speaks HTTP/1: does not wait for another's opening */
};

/* Finds or opens a connection for the exchange's verdict and lets it take the exchange, at once or when
 * it is there; or exchange_upstream_failed. */
void pool_acquire(struct exchange *exchange);
/* The exchange ends before it has a connection. */
void pool_cancel(struct exchange *exchange);

/* Closes every idle connection, and the others when their exchange ends (SIGHUP, SIGTERM). */
void pool_drain(void);

/* For upstream*.c. */

/* The connection is open: gives it to those that wait for it. */
void pool_opened(struct upstream_conn *conn);
/* It could not be opened. Tells those that wait, and closes it. */
void pool_failed(struct upstream_conn *conn, unsigned status, const char *reason,
		 const char *detail);
/* It has room for one more exchange; `is_empty`: nothing is under way on it. After pool_drain, or when
 * there are too many idle ones, an empty one is closed. */
void pool_release(struct upstream_conn *conn, bool is_empty);
/* pool_drain came since it was opened: it takes no more, and is closed once it is empty. */
bool pool_is_stale(const struct upstream_conn *conn);
/* Sets key->hash from the rest of it. */
void pool_hash(struct upstream_key *key);
/* Takes it out of every list. */
void pool_forget(struct upstream_conn *conn);

#endif
