/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files tls*.c share and nobody else needs.
 */
#ifndef PROXY_TLS_PARTS_H
#define PROXY_TLS_PARTS_H

#include <openssl/ssl.h>

#include "proxy/tls.h"

/* Before any use of OpenSSL: without openssl.cnf, since OPENSSL_CONF may name any file. */
void tls_start_library(void);

/* What both sides have in common. NULL: out of memory. */
SSL_CTX *tls_context_new(bool is_server);

/* tls_accept.c */
void tls_accept_init(bool offers_h2);
/* The clients' context, made if need be; or NULL. */
SSL_CTX *tls_accept_context(void);
void tls_accept_clear(void);

/* Of a ClientHello, so far as it tells who wrote it (tls_failure.c). */
enum tls_trait {
	TRAIT_STATUS_REQUEST_V2 = 1 << 0, /* extension 17 */
	TRAIT_ENCRYPT_THEN_MAC = 1 << 1,  /* 22 */
	TRAIT_RECORD_SIZE_LIMIT = 1 << 2, /* 28 */
	TRAIT_DELEGATED = 1 << 3,	  /* 34, delegated credentials */
	TRAIT_GREASE = 1 << 4,		  /* RFC 8701 */
	TRAIT_POINT_FORMATS_3 = 1 << 5,	  /* compressed points too */
	TRAIT_ALPN_H2 = 1 << 6,
	TRAIT_ALPN = 1 << 7,
};
unsigned tls_accept_traits(const SSL *ssl);

/* tls_connect.c */
void tls_connect_forget_session(const SSL *ssl);
/* The servers' context, made if need be; NULL with *err set. */
SSL_CTX *tls_connect_context(bool is_through_upstream, struct err *err);
int tls_connect_init(const struct tls_config *config, struct err *err) MUST_CHECK;
void tls_connect_clear(void);

/* tls_store.c: a store that finds the certificates of a PEM bundle by subject and parses those that
 * are wanted, and `extra`, which stays the caller's. NULL with *err set. */
X509_STORE *tls_store_open(const char *bundle_path, const STACK_OF(X509) * extra, struct err *err);

/* tls_session.c: sessions with servers, the newest for each key. */
struct tls_session_key {
	char host[HOST_BYTES];
	uint16_t port;
	bool is_through_upstream;
	const void *partition;
};
void tls_session_key_set(struct tls_session_key *key, const char *host, uint16_t port,
			 const void *partition, bool is_through_upstream);
/* Keeps what it needs of it. */
void tls_session_put(const struct tls_session_key *key, SSL_SESSION *session);
/* Owned by the caller, or NULL. */
SSL_SESSION *tls_session_get(const struct tls_session_key *key);
/* A handshake that offered it failed. */
void tls_session_drop(const struct tls_session_key *key);
void tls_session_clear(void);

#endif
