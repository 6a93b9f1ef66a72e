/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS with clients; see tls.h. Runs in: the proxy's worker. Holds: the key of session tickets.
 *
 *   tls_accept_new ─▶ asks for the leaf        (the client reads the answer to its CONNECT)
 *   ClientHello    ─▶ on_client_hello          notes the name and who may have written it
 *                     session of this host?    then no leaf is needed
 *                  ─▶ on_certificate           takes the leaf, or waits for it
 *
 * One context for all. Sessions are in the tickets alone, whose key lives as long as the process; the
 * session id context of each SSL is the hash of its host, and OpenSSL resumes none that was made under
 * another.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"
#include "proxy/authority.h"
#include "proxy/leaf_cache.h"
#include "proxy/tls_parts.h"

enum { SESSION_S = 2 * 3600, SNI_HEAD_BYTES = 5 };

struct accept {
	struct leaf_waiter waiter;
	void (*resume)(void *ctx);
	void *ctx;
	char *sni; /* or NULL */
	unsigned traits;
	bool is_refused; /* there will be no leaf */
	char host[];
};

static SSL_CTX *context;
static int accept_index = -1;
static bool has_h2;

static struct accept *accept_of(const SSL *ssl)
{
	return SSL_get_ex_data(ssl, accept_index);
}

static void accept_free(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long argl,
			void *argp)
{
	struct accept *accept = ptr;

	(void)parent, (void)data, (void)index, (void)argl, (void)argp;
	if (!accept)
		return;
	leaf_unawait(&accept->waiter);
	free(accept->sni);
	free(accept);
}

/* ---- the ClientHello ---- */

/* RFC 6066, 3: one host_name in a list. Malformed ones are refused by OpenSSL afterwards. */
static int note_sni(SSL *ssl, struct accept *accept)
{
	const unsigned char *bytes = NULL;
	size_t len = 0;
	char *sni = NULL;
	bool is_same;

	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &bytes, &len) &&
	    len > SNI_HEAD_BYTES &&
	    !(sni = strndup((const char *)bytes + SNI_HEAD_BYTES, len - SNI_HEAD_BYTES)))
		return -ENOMEM;
	/* After a HelloRetryRequest there is a second one (RFC 8446, 4.1.2): no other name then. */
	is_same = !accept->sni || (sni && strcmp(accept->sni, sni) == 0);
	free(accept->sni);
	accept->sni = sni;
	return is_same ? 0 : -EPROTO;
}

static unsigned traits_of(SSL *ssl)
{
	static const struct {
		unsigned extension;
		enum tls_trait trait;
	} extensions[] = {
		{ 16, TRAIT_ALPN },
		{ 17, TRAIT_STATUS_REQUEST_V2 },
		{ 22, TRAIT_ENCRYPT_THEN_MAC },
		{ 28, TRAIT_RECORD_SIZE_LIMIT },
		{ 34, TRAIT_DELEGATED },
	};
	const unsigned char *bytes;
	unsigned traits = 0;
	size_t len;

	for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++)
		if (SSL_client_hello_get0_ext(ssl, extensions[i].extension, &bytes, &len))
			traits |= extensions[i].trait;
	if ((traits & TRAIT_ALPN) && SSL_client_hello_get0_ext(ssl, 16, &bytes, &len) &&
	    memmem(bytes, len, "\2h2", 3))
		traits |= TRAIT_ALPN_H2;
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_ec_point_formats, &bytes, &len) && len == 4)
		traits |= TRAIT_POINT_FORMATS_3;
	if (SSL_client_hello_get0_ciphers(ssl, &bytes) >= 2 && (bytes[0] & 0x0f) == 0x0a &&
	    bytes[0] == bytes[1])
		traits |= TRAIT_GREASE;
	return traits;
}

static int on_client_hello(SSL *ssl, int *ret_alert, void *arg)
{
	struct accept *accept = accept_of(ssl);
	int rc = note_sni(ssl, accept);

	(void)arg;
	if (rc < 0) {
		*ret_alert = rc == -ENOMEM ? SSL_AD_INTERNAL_ERROR : SSL_AD_ILLEGAL_PARAMETER;
		return SSL_CLIENT_HELLO_ERROR;
	}
	accept->traits = traits_of(ssl);
	return SSL_CLIENT_HELLO_SUCCESS;
}

/* ---- the certificate ---- */

static void on_leaf(struct leaf_waiter *waiter, int rc)
{
	struct accept *accept = (struct accept *)((char *)waiter - offsetof(struct accept, waiter));

	accept->is_refused = rc < 0;
	if (accept->resume)
		accept->resume(accept->ctx);
}

/* Whose leaf it is: the name's that the client sent, which is the host's but for those that will be
 * answered with 421; such a client would take the host's for a broken one, and learn nothing. */
static const char *name_of(const struct accept *accept, char canonical[static HOST_BYTES])
{
	struct span sni = { accept->sni, accept->sni ? strlen(accept->sni) : 0 };

	return sni.len && authority_canonical_host(sni, canonical) == 0 ? canonical : accept->host;
}

/* 1: go on; 0: fail; -1: wait. */
static int on_certificate(SSL *ssl, void *arg)
{
	struct accept *accept = accept_of(ssl);
	char canonical[HOST_BYTES];
	const char *name;
	EVP_PKEY *key;
	X509 *leaf;
	int rc;

	(void)arg;
	if (accept->is_refused)
		return 0;
	if (accept->waiter.leaf)
		return -1;
	name = name_of(accept, canonical);
	rc = leaf_get(name, &leaf, &key);
	if (rc == 0)
		return SSL_use_cert_and_key(ssl, leaf, key, NULL, 1);
	if (rc != -EAGAIN)
		return 0;
	leaf_await(name, &accept->waiter);
	return -1;
}

/* ---- ALPN ---- */

/* HTTP/2 where it is offered, as most servers choose: httpx names it last. One that offers neither goes on
 * without, and speaks HTTP/1. */
static int on_alpn(SSL *ssl, const unsigned char **ret_chosen, unsigned char *ret_len,
		   const unsigned char *offered, unsigned offered_len, void *offers_h2)
{
	static const unsigned char known[] = "\2h2\10http/1.1";
	const unsigned char *ours = offers_h2 ? known : known + 3;
	unsigned ours_len = (unsigned)(known + sizeof(known) - 1 - ours);
	unsigned char *chosen;

	(void)ssl;
	if (SSL_select_next_proto(&chosen, ret_len, ours, ours_len, offered, offered_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	*ret_chosen = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* ---- */

void tls_accept_init(bool offers_h2)
{
	has_h2 = offers_h2;
}

SSL_CTX *tls_accept_context(void)
{
	static char yes;

	if (context || !(context = tls_context_new(true)))
		return context;
	if (accept_index < 0)
		accept_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, accept_free);
	if (accept_index < 0 || !SSL_CTX_set_num_tickets(context, 1)) {
		tls_accept_clear();
		return NULL;
	}
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_timeout(context, SESSION_S);
	SSL_CTX_set_client_hello_cb(context, on_client_hello, NULL);
	SSL_CTX_set_cert_cb(context, on_certificate, NULL);
	SSL_CTX_set_alpn_select_cb(context, on_alpn, has_h2 ? &yes : NULL);
	return context;
}

void tls_accept_clear(void)
{
	SSL_CTX_free(context);
	context = NULL;
}

static int bind_sessions(SSL *ssl, const char *host)
{
	uint8_t digest[SHA256_BYTES];
	struct sha256 sha;

	_Static_assert((int)SHA256_BYTES <= SSL_MAX_SID_CTX_LENGTH, "the hash fits");
	sha256_init(&sha);
	sha256_update(&sha, host, strlen(host));
	sha256_final(&sha, digest);
	return SSL_set_session_id_context(ssl, digest, sizeof(digest)) ? 0 : -ENOMEM;
}

SSL *tls_accept_new(const char *host, void (*resume)(void *ctx), void *ctx)
{
	size_t size = strlen(host) + 1;
	struct accept *accept = calloc(1, sizeof(*accept) + size);
	SSL *ssl = accept && tls_accept_context() ? SSL_new(context) : NULL;

	if (!ssl || !SSL_set_ex_data(ssl, accept_index, accept)) {
		free(accept);
		SSL_free(ssl);
		return NULL;
	}
	accept->waiter.on_leaf = on_leaf;
	accept->resume = resume;
	accept->ctx = ctx;
	memcpy(accept->host, host, size);
	if (bind_sessions(ssl, host) < 0) {
		SSL_free(ssl);
		return NULL;
	}
	SSL_set_accept_state(ssl);
	leaf_prefetch(host);
	return ssl;
}

void tls_accept_forget(SSL *ssl)
{
	struct accept *accept = accept_of(ssl);

	leaf_unawait(&accept->waiter);
	accept->resume = NULL;
}

const char *tls_sni(const SSL *ssl)
{
	return accept_of(ssl)->sni;
}

unsigned tls_accept_traits(const SSL *ssl)
{
	return accept_of(ssl)->traits;
}

bool tls_is_h2(const SSL *ssl)
{
	const unsigned char *name;
	unsigned len;

	SSL_get0_alpn_selected(ssl, &name, &len);
	return len == 2 && memcmp(name, "h2", 2) == 0;
}
