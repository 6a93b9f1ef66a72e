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
	/* Spans point into `head`; the fields are those that go out (decision_keeps_field), without Host,
	 * framing and credential. */
	struct request request;
	struct verdict verdict;
	void *head;		  /* owned copy of method, target and fields (one allocation) */
	struct pool_request wish; /* while the pool looks for a connection */
	struct audit_record record;
	char request_id[17]; /* with an upstream proxy; else "" */
	uint64_t begun_us, sent_us;
	bool is_through;   /* the upstream proxy */
	bool is_answered;  /* a final head, or a 101, went to the client */
	bool is_websocket; /* a 101 went: both pipes are raw */
	bool is_logged;
	bool is_aborted; /* the answer cannot be completed */
	bool is_retried;
	bool is_continued;	  /* a 100 went to the client */
	unsigned interims;	  /* heads that came before the final one */
	struct routetable *table; /* a reference: the verdict points into it */
	struct task request_space_task, answer_space_task, finish_task;
	struct exchange *next, *prev; /* all of them */
};

/* From the client's side: a whole, well-formed head. Copies what it needs. Never fails: out of memory
 * is written to the log and the client's side aborted. */
void exchange_begin(struct downstream *down, const struct request *request);

/* The client's side answers by itself what never becomes an exchange that goes out: bytes that are no
 * request, a CONNECT that is refused. `request` (for the log) may be NULL. */
void exchange_refuse(struct downstream *down, const struct request *request,
		     const struct verdict *verdict);

/* Bytes that break the rules. With an exchange (down->exchange): it fails, and is answered with this
 * unless an answer has begun, then it is aborted. Without one only a line is written. `connect`: of
 * the CONNECT around it, or NULL. */
void exchange_bad_request(struct downstream *down, const struct authority *connect, unsigned status,
			  const char *reason, const char *detail);

void exchange_request_ready(struct exchange *exchange); /* bytes in request_body, or ended */
void exchange_request_space(struct exchange *exchange); /* upstream took some */
/* Reset, or closed before its answer; down is the caller's alone from here on. */
void exchange_client_gone(struct exchange *exchange);

/* One more interim head came. False: they are more than any server has reason to send, and the upstream
 * fails: each costs work, and a patient client's side would keep what it was sent. */
bool exchange_admit_interim(struct exchange *exchange) MUST_CHECK;
/* Interim heads too: 100 is passed on, once, where the client waits for it, 101 after is_websocket was checked
 * against verdict.is_websocket; the caller drops the others. */
void exchange_answer_head(struct exchange *exchange, const struct response *response, bool ends);
void exchange_answer_ready(struct exchange *exchange);
/* The client's side took some, or has written the end. */
void exchange_answer_space(struct exchange *exchange);
/* `reason`: upstream_connect, upstream_dns, upstream_tls, upstream_tls_verify, upstream_protocol,
 * upstream_closed, upstream_proxy_refused, upstream_error. status 0: 502. The upstream has let go. */
void exchange_upstream_failed(struct exchange *exchange, unsigned status, const char *reason,
			      const char *detail);
/* A connection that had served before failed before any byte of an answer. Where the request may be sent
 * twice (idempotent, no body) and was not yet, sends it by a new connection and returns true. The
 * upstream has let go. */
bool exchange_retry(struct exchange *exchange);
/* The upstream side is finished with the exchange (answer complete): detaches. */
void exchange_upstream_done(struct exchange *exchange);

/* Called by an upstream that got a 403 to its CONNECT from the upstream proxy: that answer is passed
 * to the client as it came (exchange_answer_head, …), logged as deny upstream_proxy_refused. */
void exchange_mark_refused_upstream(struct exchange *exchange);

/* A correlation id for the upstream proxy: 64 random bits in hexadecimal. */
void exchange_make_id(char out[static 17]);

/* The process ends: what is under way gets its line. */
void exchange_end_all(void);

#endif
