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
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "proxy/message.h"

struct tls_config {
	const char *ca_path;	 /* certificate + key, one PEM: goes to the signer, see signer.h */
	const char *trust_store; /* PEM bundle of the system, read on first use */
	const struct strlist *extra_ca; /* paths of PEM files, or NULL */
	const char *upstream_ca;	/* or NULL */
	bool offers_h2;			/* to clients; else http/1.1 alone */
	/* Or NULL. From the loop: no leaf will be made any more, and `why`. Soon after the start it is
	 * how a CA is told that cannot sign: expired, not a CA's, or with another one's key. */
	void (*on_signer_lost)(const char *why);
};

/* Starts the signer (fork), which reads ca_path; reads extra_ca and upstream_ca. The CA's private key is
 * never in this process. What takes OpenSSL milliseconds is left for the loop's first rounds, when nobody
 * waits: its start, the contexts, the trust store. The strings of `config` must stay. Call it with the loop
 * made, before there is a credential, a connection or a thread: the signer is a copy of this process. */
int tls_init(const struct tls_config *config, struct err *err) MUST_CHECK;

/* Frees all of it and ends the signer; every SSL is gone before. */
void tls_clear(void);

/* A server-side SSL for what follows a CONNECT to `host` (canonical). The leaf is for `host` and is asked
 * of the signer here, while the client still reads the CONNECT's answer; a client that sends another name
 * gets that name's leaf, so that it can be told by 421. Where it is not there when the
 * handshake comes to it, the certificate callback waits (SSL_ERROR_WANT_X509_LOOKUP → -EAGAIN of
 * io_handshake), and then `resume(ctx)` is called from the loop: shake hands on. The certificate callback
 * and not the ClientHello's, because a resumed session needs no leaf and so waits for none. NULL: out of
 * memory. */
SSL *tls_accept_new(const char *host, void (*resume)(void *ctx), void *ctx);
/* The SSL's owner goes away: `resume` is not called any more. Call before io_close. */
void tls_accept_forget(SSL *ssl);

/* The name in this connection's own ClientHello as sent, or NULL; whether ALPN chose h2. */
const char *tls_sni(const SSL *ssl);
bool tls_is_h2(const SSL *ssl);

/* A client-side SSL that verifies `host` (name or IP literal), offers h2 and http/1.1 or the latter alone,
 * and resumes a session of the same (host, port, partition, is_through_upstream). `partition`: an id of
 * the route, so that identities do not mix; only compared. NULL with *err set: the trust store cannot be
 * read, or out of memory. */
SSL *tls_connect_new(const char *host, uint16_t port, const void *partition, bool offers_h2,
		     bool is_through_upstream, struct err *err);

/* No session there is so far is resumed any more: by `partition` they are of routes that may be gone. */
void tls_connect_forget(void);

/* After a handshake failed: "upstream_tls_verify" or "upstream_tls", and a sentence that tells which
 * check failed (expired, wrong name, unknown issuer …). Empties OpenSSL's error queue. */
const char *tls_connect_failure(SSL *ssl, char *ret_detail, size_t size);

/* After a client's handshake failed: a sentence; where the alert was unknown_ca or bad_certificate it
 * guesses the client's kind and names the variable that would make it trust the CA. */
void tls_accept_failure(SSL *ssl, char *ret_detail, size_t size);

#endif
