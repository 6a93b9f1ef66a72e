/* SPDX-License-Identifier: Apache-2.0
 *
 * The one decision: may this request go out, and what is changed in it? Pure: request, routes and
 * tokens in, a verdict out. Steps and order are those of docs/architecture.md, "The one decision", and
 * the words those of docs/audit.md; rootfs/mitmproxy/egress_proxy/decision.py is the same in Python, and
 * tests/conformance holds both to it. Framing (step 1) was checked by http1.c or nghttp2 before.
 */
#ifndef PROXY_DECISION_H
#define PROXY_DECISION_H

#include "proxy/message.h"
#include "proxy/routetable.h"
#include "proxy/tokens.h"

struct verdict {
	bool is_allowed;
	unsigned status;	/* of a refusal */
	const char *reason;	/* static, docs/audit.md; "" where the request is allowed */
	char detail[64];	/* a sentence; "" where the request is allowed */
	struct authority place; /* what the request is for; host "" when that is not known */
	const struct proxy_route *route; /* that matched, or NULL; borrows from the table */
	bool is_websocket;
	bool wants_close; /* the client named `close` in Connection */
	uint64_t named;	  /* a filter of the names in Connection, for decision_keeps_field */
};

void decide_connect(const struct authority *target, const struct routetable *routes,
		    struct verdict *ret_verdict);

void decide(const struct request *request, const struct routetable *routes,
	    const struct tokens *tokens, struct verdict *ret_verdict);

/* Whether a field of an admitted request goes out. Host, framing, hop-by-hop fields, the credentials
 * and whatever Connection names do not. `Connection: Upgrade` of a WebSocket, the route's credential
 * and Host are written by the side that serialises the request. */
bool decision_keeps_field(const struct request *request, const struct verdict *verdict,
			  const struct field *field);

/* Whether the verdict asks for a credential (a route with auth, and no OPTIONS). */
bool decision_has_credential(const struct request *request, const struct verdict *verdict);

#endif
