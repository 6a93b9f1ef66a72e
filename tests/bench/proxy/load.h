/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two halves of the load tool share: the plan (load.c) and the connections (load_conn.c).
 */
#ifndef TESTS_BENCH_PROXY_LOAD_H
#define TESTS_BENCH_PROXY_LOAD_H

#include <netinet/in.h>
#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEAD_BYTES = 16 * 1024, NAME_BYTES = 256 };

enum load_mode {
	MODE_KEEP,   /* one request after the other on each connection */
	MODE_NEW,    /* a connection and a full handshake for each */
	MODE_RESUME, /* a connection for each, with the session of the one before */
	MODE_HOSTS,  /* as MODE_NEW, each time to another name: h0.HOST, h1.HOST, ... */
	MODE_IDLE,   /* one request on each connection, which then stays */
};

struct load {
	enum load_mode mode;
	const char *host, *path;
	struct sockaddr_in address; /* of the proxy, or of the server itself */
	bool through_proxy;
	size_t conns, body_bytes;
	uint64_t requests_max; /* 0: until `end_ns` */
	uint64_t end_ns;

	int epoll_fd;
	SSL_CTX *tls;
	char *body;
	size_t live;	    /* connections with a request under way */
	bool is_measuring;  /* the warm-up is over */
	uint64_t begun;	    /* requests */
	uint64_t completed; /* while measuring, like all below */
	uint64_t failed, not_ok, handshakes, resumed, answer_bytes;
	uint64_t *latencies_ns;
	size_t latencies_len, latencies_cap;
	char last_failure[128];
};

struct conn;

uint64_t now_ns(void);

/* A connection without a socket yet, or NULL. It stays until the process ends. */
struct conn *conn_new(struct load *load);
/* Begins a request, unless the plan has no more. */
void conn_begin(struct conn *conn);
void conn_event(struct conn *conn);
/* It failed, or the plan is over: no socket. */
bool conn_is_closed(const struct conn *conn);
/* The other end has not closed it. */
bool conn_is_open(const struct conn *conn);

#endif
