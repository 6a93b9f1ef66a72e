/* SPDX-License-Identifier: Apache-2.0
 *
 * What the proxy itself says of an exchange: answers to the client, and the lines of the audit log. For
 * exchange.c.
 */
#ifndef PROXY_EXCHANGE_ANSWER_H
#define PROXY_EXCHANGE_ANSWER_H

#include "proxy/exchange.h"

/* Answers what the verdict refuses, and writes its line. `request` may be NULL: no request was read. */
void exchange_answer_verdict(struct exchange *exchange, const struct request *request);

/* Answers with the status and a JSON body, and writes the line, whose verdict and reason stand in
 * exchange->record. */
void exchange_answer_self(struct exchange *exchange, const struct request *request, unsigned status,
			  const char *reason, const char *detail);

/* Answers, or aborts where an answer has begun. Upstream was left. */
void exchange_fail(struct exchange *exchange, unsigned status, const char *reason,
		   const char *detail);

/* The request's line, once. */
void exchange_log(struct exchange *exchange);
void exchange_log_websocket_end(const struct exchange *exchange);

/* Lines without an exchange. Each argument may be NULL. */
void exchange_log_bad_request(const struct authority *connect, unsigned status, const char *reason,
			      const char *detail);
void exchange_log_out_of_memory(const struct request *request, const struct verdict *verdict);

#endif
