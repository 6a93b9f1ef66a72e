/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS on both sides (OpenSSL 3): one SSL_CTX for all clients, a leaf per SSL; one SSL_CTX for
 * servers reached directly and one for those reached through the upstream proxy, whose CA counts only
 * there. TLS 1.2 and 1.3, no renegotiation, no compression; sessions are resumed on both sides, a client's
 * only under the name that it was made for.
 */
#ifndef PROXY_TLS_H
#define PROXY_TLS_H

#include <openssl/types.h>

#include "base/err.h"
#include "base/str.h"
#include "proxy/message.h"

struct tls_config {
	const char *ca_path;	 /* certificate + key, one PEM: goes to the signer, see signer.h */
	const char *trust_store; /* PEM bundle of the system, read on first use */
	const struct strlist *extra_ca;
	const char *upstream_ca; /* or NULL */
};

/* Checks ca_path, starts the signer (fork), makes the leaf key. No key of the CA's is in this process
 * afterwards. */
int tls_init(const struct tls_config *config, struct err *err) MUST_CHECK;

/* A server-side SSL for what follows a CONNECT to `host`. The leaf is for `host`; its absence makes the
 * ClientHello callback wait (SSL_ERROR_WANT_CLIENT_HELLO_CB → -EAGAIN of io_handshake) until the signer
 * answered; then `resume(ctx)` is called. NULL: out of memory. */
SSL *tls_accept_new(const char *host, void (*resume)(void *ctx), void *ctx);
/* The SSL's owner goes away: `resume` is not called any more. Call before io_close. */
void tls_accept_forget(SSL *ssl);

/* The name that the client sent, or NULL; whether ALPN chose h2. */
const char *tls_sni(const SSL *ssl);
bool tls_is_h2(const SSL *ssl);

/* A client-side SSL that verifies `host` (name or IP literal), offers `offers_h2`, and resumes a session
 * of the same (host, port, partition). `partition`: an id of the route, so that identities do not mix. */
SSL *tls_connect_new(const char *host, uint16_t port, const void *partition, bool offers_h2,
		     bool is_through_upstream, struct err *err);

/* After a handshake failed: "upstream_tls_verify" or "upstream_tls", and a sentence that tells which
 * check failed (expired, wrong name, unknown issuer …). Empties OpenSSL's error queue. */
const char *tls_connect_failure(SSL *ssl, char *ret_detail, size_t size);

/* After a client's handshake failed: a sentence; where the alert was unknown_ca or bad_certificate it
 * guesses the client's kind and names the variable that would make it trust the CA. */
void tls_accept_failure(SSL *ssl, char *ret_detail, size_t size);

#endif
