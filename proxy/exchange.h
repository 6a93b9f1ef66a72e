/* SPDX-License-Identifier: Apache-2.0
 *
 * One request and its answer, from the decision to the audit line. See stream.h for its place.
 */
#ifndef PROXY_EXCHANGE_H
#define PROXY_EXCHANGE_H

#include "proxy/audit.h"
#include "proxy/decision.h"
#include "proxy/loop.h"
#include "proxy/pool.h"
#include "proxy/stream.h"

struct exchange {
	struct downstream *down; /* NULL once the client's side is done with it */
	struct upstream *up;	 /* NULL: none yet, or no longer */
	struct pipe request_body, answer_body;
	struct request request; /* spans point into `head` */
	struct verdict verdict;
	char *head; /* owned copy of method, target and fields (one allocation), until sent */
	struct pool_request wish; /* while the pool looks for a connection */
	struct audit_record record;
	uint64_t begun_us;
	bool is_answered; /* a final head went to the client */
	bool is_logged;
	struct task free_task;
};

/* From the client's side: a whole, well-formed head. Copies what it needs. Never fails: out of memory
 * is answered with 502 `upstream_error`, or abort. */
void exchange_begin(struct downstream *down, const struct request *request);

/* The client's side found bytes that are no request, or a body that breaks the rules, after or before
 * begin: `down->exchange` may be NULL, then only a line is written. Answers if nothing was yet. */
void exchange_bad_request(struct downstream *down, const struct authority *connect, unsigned status,
			  const char *reason, const char *detail);

void exchange_request_ready(struct exchange *exchange); /* bytes in request_body, or ended */
void exchange_request_space(struct exchange *exchange); /* upstream took some */
void exchange_client_gone(struct exchange *exchange);	/* reset, or closed before its answer */

void exchange_answer_head(struct exchange *exchange, const struct response *response, bool ends);
void exchange_answer_ready(struct exchange *exchange);
void exchange_answer_space(struct exchange *exchange);
/* `reason`: upstream_connect, upstream_dns, upstream_tls, upstream_tls_verify, upstream_protocol,
 * upstream_closed, upstream_proxy_refused, upstream_error. status 0: 502. */
void exchange_upstream_failed(struct exchange *exchange, unsigned status, const char *reason,
			      const char *detail);
/* The upstream side is finished with the exchange (answer complete): detaches. */
void exchange_upstream_done(struct exchange *exchange);

/* Called by an upstream that got a 403 to its CONNECT from the upstream proxy: that answer is passed
 * to the client as it came (exchange_answer_head, …), logged as deny upstream_proxy_refused. */
void exchange_mark_refused_upstream(struct exchange *exchange);

#endif
