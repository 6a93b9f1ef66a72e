/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP/1 with a client, in two files: client_h1.c reads requests, client_h1_answer.c writes answers.
 */
#ifndef PROXY_CLIENT_H1_H
#define PROXY_CLIENT_H1_H

#include "proxy/client.h"
#include "proxy/inbound.h"
#include "proxy/outbound.h"

enum client_h1_state {
	HEAD,	 /* waits for a request, or for the rest of its head */
	BODY,	 /* reads its body; of a WebSocket, all that comes */
	ANSWER,	 /* nothing more to read before the answer is through */
	TUNNEL,	 /* a CONNECT was admitted: its answer is being written */
	CLOSING, /* the last answer is being written */
};

struct client_h1 {
	struct downstream down;
	struct inbound in;
	struct outbound out;
	enum client_h1_state state;
	bool is_http11;	   /* the request under way */
	bool is_head;	   /* its method is HEAD */
	bool is_answered;  /* its final head is written */
	bool is_answering; /* and the body is not */
	bool is_raw;	   /* a WebSocket */
	bool is_blocked;   /* request_body was full */
	bool has_news;	   /* bytes in request_body of which the exchange was not told */
	bool is_last;	   /* the connection ends with this answer */
	bool reads_ahead;
};

static inline struct client_h1 *h1_of(const struct client *client)
{
	return client->protocol;
}

/* Does what can be done now: writes, reads, begins requests. */
void client_h1_run(struct client *client);

/* Writes what waits. false: the client is gone. */
bool client_h1_write(struct client *client);

/* The client is lost. */
void client_h1_vanish(struct client *client);

extern const struct downstream_ops client_h1_down_ops;

#endif
