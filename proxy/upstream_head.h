/* SPDX-License-Identifier: Apache-2.0
 *
 * The heads that go out by HTTP/1. The one place where a credential is put in.
 */
#ifndef PROXY_UPSTREAM_HEAD_H
#define PROXY_UPSTREAM_HEAD_H

#include "proxy/exchange.h"
#include "proxy/upstream.h"

/* Appends the CONNECT for the connection's server, to the upstream proxy. 0 or -ENOMEM. */
int upstream_write_connect(struct outbound *out, const struct upstream_conn *conn) MUST_CHECK;

/* Appends the exchange's request. 0 or -ENOMEM. */
int upstream_write_request(struct outbound *out, const struct exchange *exchange) MUST_CHECK;

/* How the body of a request is framed in HTTP/1. */
enum body_kind upstream_framing(const struct request *request);

#endif
