/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS with servers; see tls.h. Runs in: the proxy's worker. Holds: trust anchors.
 *
 * Two contexts, made when first needed: what comes through the upstream proxy may also be vouched for by
 * that proxy's CA, what is dialled directly may not, else whoever holds its key could pose as any host.
 *
 * Verified are the chain (RFC 5280, purpose serverAuth, security level 2) and the name, in the SAN
 * alone, no wildcard in part of a label. X509_V_FLAG_X509_STRICT is not set: it asks key ids and
 * criticality of anchors too, which the private CAs that extra_ca is there for often lack, and whom we
 * trust does not change by it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "proxy/tls_parts.h"

enum { CA_FILE_MAX_BYTES = 1 << 20 };

static SSL_CTX *contexts[2];	     /* [is_through_upstream] */
static STACK_OF(X509) * extra_ca[2]; /* the same; the second has the upstream's too */
static const char *trust_store;
static int key_index = -1; /* of the struct tls_session_key of an SSL */

/* ---- trust ---- */

static int read_certificates(const char *path, STACK_OF(X509) * ret_certs, struct err *err)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	int before = sk_X509_num(ret_certs);
	BIO *bio;
	X509 *cert;

	TRY(file_read(AT_FDCWD, path, CA_FILE_MAX_BYTES, &text, err));
	if (!(bio = BIO_new_mem_buf(text.len ? text.data : "", (int)text.len)))
		return err_set(err, ENOMEM, "%s: out of memory", path);
	while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
		if (!sk_X509_push(ret_certs, cert))
			X509_free(cert);
	BIO_free(bio);
	bool is_at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
	ERR_clear_error();
	if (!is_at_end)
		return err_set(err, EBADMSG, "%s: a certificate that cannot be read", path);
	if (sk_X509_num(ret_certs) == before)
		return err_set(err, EBADMSG, "%s: no certificate in PEM", path);
	return 0;
}

static int read_extra(STACK_OF(X509) * ret_certs, const struct strlist *paths, const char *upstream,
		      struct err *err)
{
	for (size_t i = 0; paths && i < paths->len; i++)
		TRY(read_certificates(paths->items[i], ret_certs, err));
	return upstream ? read_certificates(upstream, ret_certs, err) : 0;
}

static void key_free(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long argl,
		     void *argp)
{
	(void)parent, (void)data, (void)index, (void)argl, (void)argp;
	free(ptr);
}

int tls_connect_init(const struct tls_config *config, struct err *err)
{
	trust_store = config->trust_store;
	if ((!config->extra_ca || !config->extra_ca->len) && !config->upstream_ca)
		return 0;
	tls_start_library();
	for (int i = 0; i < 2; i++)
		if (!(extra_ca[i] = sk_X509_new_null()))
			return err_set(err, ENOMEM, "out of memory");
	TRY(read_extra(extra_ca[0], config->extra_ca, NULL, err));
	return read_extra(extra_ca[1], config->extra_ca, config->upstream_ca, err);
}

void tls_connect_clear(void)
{
	for (int i = 0; i < 2; i++) {
		SSL_CTX_free(contexts[i]);
		contexts[i] = NULL;
		sk_X509_pop_free(extra_ca[i], X509_free);
		extra_ca[i] = NULL;
	}
	tls_session_clear();
}

void tls_connect_forget(void)
{
	tls_session_clear();
}

/* ---- connections ---- */

/* Comes with each ticket. 0: the session stays OpenSSL's. */
static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
	const struct tls_session_key *key = SSL_get_ex_data(ssl, key_index);

	if (SSL_SESSION_is_resumable(session))
		tls_session_put(key, session);
	return 0;
}

SSL_CTX *tls_connect_context(bool is_through_upstream, struct err *err)
{
	SSL_CTX **place = &contexts[is_through_upstream];
	X509_STORE *store;

	if (*place)
		return *place;
	tls_start_library();
	if (key_index < 0)
		key_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, key_free);
	store = tls_store_open(trust_store, extra_ca[is_through_upstream], err);
	if (!store)
		return NULL;
	SSL_CTX *context = tls_context_new(false);
	if (!context) {
		X509_STORE_free(store);
		err_set(err, ENOMEM, "OpenSSL makes no context for servers");
		return NULL;
	}
	SSL_CTX_set_cert_store(context, store);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context, on_new_session);
	return *place = context;
}

/* An address is verified as one, and not sent as SNI (RFC 6066, 3). */
static bool set_name(SSL *ssl, const char *host)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	unsigned char network[16];
	int len = inet_pton(AF_INET, host, network) == 1    ? 4
		  : inet_pton(AF_INET6, host, network) == 1 ? 16
							    : 0;

	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
						       X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	if (len)
		return X509_VERIFY_PARAM_set1_ip(param, network, (size_t)len);
	return X509_VERIFY_PARAM_set1_host(param, host, 0) && SSL_set_tlsext_host_name(ssl, host);
}

static bool set_alpn(SSL *ssl, bool offers_h2)
{
	static const unsigned char offer[] = "\2h2\10http/1.1";
	const unsigned skip = offers_h2 ? 0 : 3;

	/* 0 is success here. */
	return SSL_set_alpn_protos(ssl, offer + skip, (unsigned)sizeof(offer) - 1 - skip) == 0;
}

static void resume(SSL *ssl, const struct tls_session_key *key)
{
	SSL_SESSION *session = tls_session_get(key);

	if (session && !SSL_set_session(ssl, session))
		ERR_clear_error();
	SSL_SESSION_free(session);
}

SSL *tls_connect_new(const char *host, uint16_t port, const void *partition, bool offers_h2,
		     bool is_through_upstream, struct err *err)
{
	SSL_CTX *context = tls_connect_context(is_through_upstream, err);
	struct tls_session_key *key = context ? malloc(sizeof(*key)) : NULL;
	SSL *ssl = key ? SSL_new(context) : NULL;

	if (!context)
		return NULL;
	if (!ssl || !SSL_set_ex_data(ssl, key_index, key)) {
		free(key);
		SSL_free(ssl);
		err_set(err, ENOMEM, "OpenSSL makes no connection");
		return NULL;
	}
	tls_session_key_set(key, host, port, partition, is_through_upstream);
	if (!set_name(ssl, host) || !set_alpn(ssl, offers_h2)) {
		SSL_free(ssl);
		err_set(err, ENOMEM, "OpenSSL makes no connection");
		return NULL;
	}
	resume(ssl, key);
	SSL_set_connect_state(ssl);
	return ssl;
}

void tls_connect_forget_session(const SSL *ssl)
{
	tls_session_drop(SSL_get_ex_data(ssl, key_index));
}
