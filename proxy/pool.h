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
/* It could not be opened; conn is closed. Tells those that wait. */
void pool_failed(struct upstream_conn *conn, unsigned status, const char *reason,
		 const char *detail);
/* HTTP/1: nothing is under way; kept for the next, or closed. HTTP/2: has room again, or is empty. */
void pool_release(struct upstream_conn *conn);
/* Takes it out of every list. */
void pool_forget(struct upstream_conn *conn);

#endif
