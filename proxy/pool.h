/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections to the servers outside. Keyed by (name, port, TLS or not, ALPN wanted, route): never shared
 * between routes with different credentials. An idle HTTP/1 connection serves one exchange at a time;
 * an HTTP/2 one as many as the server allows.
 */
#ifndef PROXY_POOL_H
#define PROXY_POOL_H

#include "proxy/dial.h"
#include "proxy/stream.h"
#include "proxy/tls.h"

struct exchange;
struct upstream_conn; /* upstream.h */

struct pool_request { /* embedded in the exchange: waits for a connection */
	struct exchange *exchange;
	struct upstream_conn *conn; /* being opened for it, or NULL */
};

/* Finds or opens a connection for the exchange's verdict and gives it as exchange->up; calls
 * up->ops->send_request at once or when it is there; or exchange_upstream_failed. */
void pool_acquire(struct exchange *exchange);
void pool_cancel(struct exchange *exchange);

/* Closes every idle connection, and the others when their exchange ends (SIGHUP, SIGTERM). */
void pool_drain(void);

#endif
