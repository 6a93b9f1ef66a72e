/* SPDX-License-Identifier: Apache-2.0
 *
 * Why a TLS handshake failed, in sentences for people; see tls.h. Runs in: the proxy's worker. Pure but
 * for OpenSSL's error queue, which it empties.
 *
 * What a client is can only be guessed: its ClientHello shows the library that wrote it, the alert what
 * that library says when it does not trust a CA, and a library is used by many programs. So the
 * sentences say "perhaps", and name the variables that those programs read.
 */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>

#include "proxy/tls_parts.h"

/* ---- servers ---- */

static const struct {
	long code;
	const char *sentence;
} verdicts[] = {
	{ X509_V_ERR_CERT_HAS_EXPIRED, "a certificate of the server's chain has expired" },
	{ X509_V_ERR_CERT_NOT_YET_VALID,
	  "a certificate of the server's chain is not valid yet; is the clock right?" },
	{ X509_V_ERR_HOSTNAME_MISMATCH, "the server's certificate is for another name" },
	{ X509_V_ERR_IP_ADDRESS_MISMATCH, "the server's certificate is for another address" },
	{ X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
	  "the server's certificate is self-signed and not trusted" },
	{ X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
	  "the server's chain ends in a CA that is not trusted" },
	{ X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
	  "unknown issuer: no trusted CA signed the server's chain, or it lacks an intermediate" },
	{ X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
	  "unknown issuer: the server sent its own certificate alone, and no trusted CA signed "
	  "it" },
	{ X509_V_ERR_INVALID_PURPOSE, "the server's certificate is not for TLS servers" },
	{ X509_V_ERR_INVALID_CA, "a certificate of the server's chain signed but is not a CA's" },
	{ X509_V_ERR_EE_KEY_TOO_SMALL, "the key of the server's certificate is too small" },
	{ X509_V_ERR_CA_KEY_TOO_SMALL, "the key of a CA in the server's chain is too small" },
	{ X509_V_ERR_CA_MD_TOO_WEAK, "a signature in the server's chain uses a weak hash" },
	{ X509_V_ERR_CERT_SIGNATURE_FAILURE, "a signature in the server's chain is wrong" },
};

static const char *verdict_sentence(long code)
{
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++)
		if (verdicts[i].code == code)
			return verdicts[i].sentence;
	return X509_verify_cert_error_string(code);
}

/* What went wrong first, in OpenSSL's words, or NULL: nothing but the connection's end. */
static const char *first_reason(unsigned long *ret_error)
{
	*ret_error = ERR_peek_error();
	return *ret_error ? ERR_reason_error_string(*ret_error) : NULL;
}

/* The alert that the peer sent, or -1 (SSL_AD_REASON_OFFSET in ssl.h). */
static int received_alert(unsigned long error)
{
	int reason = ERR_GET_REASON(error);

	return ERR_GET_LIB(error) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET &&
			       reason < SSL_AD_REASON_OFFSET + 256
		       ? reason - SSL_AD_REASON_OFFSET
		       : -1;
}

const char *tls_connect_failure(SSL *ssl, char *ret_detail, size_t size)
{
	long verdict = SSL_get_verify_result(ssl);
	unsigned long error;
	const char *reason = first_reason(&error);
	int alert = received_alert(error);

	/* It may have been the session: the next attempt does without. */
	tls_connect_forget_session(ssl);
	ERR_clear_error();
	if (verdict != X509_V_OK) {
		snprintf(ret_detail, size, "%s", verdict_sentence(verdict));
		return "upstream_tls_verify";
	}
	if (alert >= 0)
		snprintf(ret_detail, size, "the server refused the handshake: TLS alert %s",
			 SSL_alert_desc_string_long(alert));
	else if (ERR_GET_REASON(error) == SSL_R_WRONG_VERSION_NUMBER)
		snprintf(ret_detail, size, "the server does not speak TLS on this port");
	else if (!reason || ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		snprintf(ret_detail, size, "the server closed the connection during the handshake");
	else
		snprintf(ret_detail, size, "the handshake failed: %s", reason);
	return "upstream_tls";
}

/* ---- clients ---- */

struct guess {
	unsigned has, has_not; /* enum tls_trait */
	const char *client;
};

/* The first that fits. */
static const struct guess guesses[] = {
	{ TRAIT_STATUS_REQUEST_V2, 0,
	  "Java: JAVA_TOOL_OPTIONS with -Djavax.net.ssl.trustStore=..., or its cacerts" },
	{ TRAIT_GREASE, 0,
	  "a Chromium-like browser, which reads no variable: import the CA into its store" },
	{ TRAIT_DELEGATED, 0, "Firefox or another with NSS: import the CA into its store" },
	{ TRAIT_ENCRYPT_THEN_MAC | TRAIT_RECORD_SIZE_LIMIT, 0,
	  "a program with GnuTLS (wget, apt, Debian's git): GIT_SSL_CAINFO, or the system's "
	  "bundle" },
	{ TRAIT_ENCRYPT_THEN_MAC | TRAIT_POINT_FORMATS_3 | TRAIT_ALPN_H2, 0,
	  "curl, git or another with OpenSSL: CURL_CA_BUNDLE, GIT_SSL_CAINFO, SSL_CERT_FILE" },
	{ TRAIT_ENCRYPT_THEN_MAC | TRAIT_POINT_FORMATS_3, 0,
	  "Python, Node or another with OpenSSL: SSL_CERT_FILE, REQUESTS_CA_BUNDLE, "
	  "NODE_EXTRA_CA_CERTS" },
	{ 0, TRAIT_ENCRYPT_THEN_MAC,
	  "Go or Rust: SSL_CERT_FILE; DENO_CERT for Deno, CARGO_HTTP_CAINFO for cargo" },
};

static const char *guess_client(unsigned traits)
{
	for (size_t i = 0; i < sizeof(guesses) / sizeof(guesses[0]); i++)
		if ((traits & guesses[i].has) == guesses[i].has && !(traits & guesses[i].has_not))
			return guesses[i].client;
	return "unknown; SSL_CERT_FILE is what most read";
}

/* Java and BoringSSL say certificate_unknown, Go bad_certificate, the others unknown_ca. */
static bool is_distrust(int alert)
{
	return alert == SSL_AD_UNKNOWN_CA || alert == SSL_AD_BAD_CERTIFICATE ||
	       alert == SSL_AD_CERTIFICATE_UNKNOWN;
}

void tls_accept_failure(SSL *ssl, char *ret_detail, size_t size)
{
	unsigned long error;
	const char *reason = first_reason(&error);
	int alert = received_alert(error);

	ERR_clear_error();
	if (is_distrust(alert))
		snprintf(ret_detail, size,
			 "the client does not trust the CA (alert %s); perhaps it is %s",
			 SSL_alert_desc_string_long(alert), guess_client(tls_accept_traits(ssl)));
	else if (alert >= 0)
		snprintf(ret_detail, size, "the client refused the handshake: TLS alert %s",
			 SSL_alert_desc_string_long(alert));
	else if (!reason || ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		snprintf(ret_detail, size,
			 "the client closed the connection during the handshake; perhaps it does "
			 "not trust the CA");
	else
		snprintf(ret_detail, size, "the handshake failed: %s", reason);
}
