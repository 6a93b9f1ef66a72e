/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes the bottle's certificate authority; see mint.h.
 * Runs in: launcher, once for each run, on the start path.
 * Holds: the CA's private key, for the length of ca_mint.
 *
 * Where the key is, in order: OpenSSL generates it in its secure heap (a mapping of its own between
 * guard pages, locked, not in core dumps); its DER is written into the same heap; the PEM text is
 * written from there into the caller's mapping. Then the key is freed, the secure heap is wiped and
 * unmapped and the part of the stack that OpenSSL used is overwritten, so that nothing is left for a
 * later fork or core dump to carry away. tests/unit/test_ca_mint.c searches the process for it.
 *
 * What costs time in OpenSSL 3.0 is loading, not arithmetic: openssl.cnf, error strings, and the
 * encoders, which X509_set_pubkey and every PEM_write_* pull in. None of it is touched here.
 */
#include "ca/mint.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "ca/pem.h"
#include "ca/pkcs8.h"

enum {
	SECURE_HEAP_P256_BYTES = 16 * 1024, /* a power of two; tight, since RLIMIT_MEMLOCK may be */
	SECURE_HEAP_RSA_BYTES = 64 * 1024,
	SECURE_HEAP_MIN_BLOCK = 32,
	STACK_USED_BYTES = 16 * 1024, /* more than OpenSSL's deepest call here */
	BACKDATE_S = 5 * 60,	      /* clocks that are a little behind */
	SERIAL_BYTES = 16,
	KEY_ID_BYTES = 20, /* SHA-1 */
	X509_V3 = 2,
};

static void cleanup_key(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}

static void cleanup_cert(X509 **cert)
{
	X509_free(*cert);
}

static void cleanup_secure(uint8_t **bytes)
{
	OPENSSL_secure_clear_free(*bytes, CA_PKCS8_MAX_BYTES);
}

static void cleanup_der(uint8_t **der)
{
	OPENSSL_free(*der);
}

static int crypto_failed(struct err *err, const char *what)
{
	char reason[256];

	ERR_error_string_n(ERR_get_error(), reason, sizeof(reason));
	ERR_clear_error();
	return err_set(err, EIO, "certificate authority: %s failed: %s", what, reason);
}

/* Overwrites what the calls before it left on the stack below their caller's frame. */
static __attribute__((noinline)) void stack_wipe(void)
{
	char used[STACK_USED_BYTES];

	explicit_bzero(used, sizeof(used));
}

static EVP_PKEY *key_generate(enum ca_key_type type)
{
	return type == CA_KEY_P256 ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048U);
}

/* O=bottle, CN=<name>, serialNumber=<serial>: the last makes the subject unique, because clients find
 * issuers by name and a bottle's next CA has the same common name. */
static int set_names(X509 *cert, const char *common_name, const uint8_t serial[static SERIAL_BYTES])
{
	X509_NAME *name = X509_get_subject_name(cert);
	char hex[2 * SERIAL_BYTES + 1];
	const struct {
		int nid;
		const char *value;
	} parts[] = {
		{ NID_organizationName, "bottle" },
		{ NID_commonName, common_name },
		{ NID_serialNumber, hex },
	};

	for (size_t i = 0; i < SERIAL_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", serial[i]);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!X509_NAME_add_entry_by_NID(name, parts[i].nid, MBSTRING_UTF8,
						(const unsigned char *)parts[i].value, -1, -1, 0))
			return -EINVAL;
	return X509_set_issuer_name(cert, name) ? 0 : -ENOMEM;
}

static int set_serial(X509 *cert, const uint8_t serial[static SERIAL_BYTES])
{
	BIGNUM *number = BN_bin2bn(serial, SERIAL_BYTES, NULL);
	ASN1_INTEGER *integer = number ? BN_to_ASN1_INTEGER(number, NULL) : NULL;
	int ok = integer && X509_set_serialNumber(cert, integer);

	ASN1_INTEGER_free(integer);
	BN_free(number);
	return ok ? 0 : -ENOMEM;
}

/* RFC 5280, 4.2.1.9 and 4.2.1.3: both critical. */
static int add_ca_constraints(X509 *cert)
{
	BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
	ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
	int ok = constraints && usage;

	if (ok) {
		constraints->ca = 0xff;
		constraints->pathlen = ASN1_INTEGER_new();
		ok = constraints->pathlen && ASN1_INTEGER_set(constraints->pathlen, 0) &&
		     ASN1_BIT_STRING_set_bit(usage, 5, 1) && /* keyCertSign */
		     ASN1_BIT_STRING_set_bit(usage, 6, 1) && /* cRLSign */
		     X509_add1_ext_i2d(cert, NID_basic_constraints, constraints, 1, 0) > 0 &&
		     X509_add1_ext_i2d(cert, NID_key_usage, usage, 1, 0) > 0;
	}
	ASN1_BIT_STRING_free(usage);
	BASIC_CONSTRAINTS_free(constraints);
	return ok ? 0 : -ENOMEM;
}

/* Subject key id by method 1 of RFC 5280, 4.2.1.2 (SHA-1 of the key's bits), and the same as
 * authority key id: not asked for in a root, but its absence is what strict verifiers name first. */
static int add_key_ids(X509 *cert)
{
	unsigned char id[EVP_MAX_MD_SIZE];
	unsigned id_len = 0;
	ASN1_OCTET_STRING *subject = ASN1_OCTET_STRING_new();
	AUTHORITY_KEYID *authority = AUTHORITY_KEYID_new();
	int ok = subject && authority && X509_pubkey_digest(cert, EVP_sha1(), id, &id_len) &&
		 id_len == KEY_ID_BYTES && ASN1_OCTET_STRING_set(subject, id, KEY_ID_BYTES);

	if (ok) {
		authority->keyid = ASN1_OCTET_STRING_dup(subject);
		ok = authority->keyid &&
		     X509_add1_ext_i2d(cert, NID_subject_key_identifier, subject, 0, 0) > 0 &&
		     X509_add1_ext_i2d(cert, NID_authority_key_identifier, authority, 0, 0) > 0;
	}
	AUTHORITY_KEYID_free(authority);
	ASN1_OCTET_STRING_free(subject);
	return ok ? 0 : -ENOMEM;
}

static int cert_fill(X509 *cert, EVP_PKEY *key, const struct ca_request *request, struct err *err)
{
	uint8_t serial[SERIAL_BYTES];

	if (getentropy(serial, sizeof(serial)) < 0)
		return err_sys(err, errno, "certificate authority: getentropy");
	if (!X509_set_version(cert, X509_V3) || set_serial(cert, serial) < 0 ||
	    !ASN1_TIME_set(X509_getm_notBefore(cert), request->now - BACKDATE_S) ||
	    !ASN1_TIME_set(X509_getm_notAfter(cert), request->now + request->lifetime_s))
		return crypto_failed(err, "serial number and dates");
	if (set_names(cert, request->common_name, serial) < 0)
		return crypto_failed(err, "subject (is the name longer than 64 characters?)");
	if (ca_spki_set(cert, key, request->key_type) < 0)
		return crypto_failed(err, "public key");
	if (add_ca_constraints(cert) < 0 || add_key_ids(cert) < 0)
		return crypto_failed(err, "extensions");
	if (!X509_sign(cert, key, EVP_sha256()))
		return crypto_failed(err, "signature");
	return 0;
}

static int write_key(EVP_PKEY *key, enum ca_key_type type, char *pem, size_t size, struct err *err)
{
	cleanup_with(cleanup_secure) uint8_t *space = OPENSSL_secure_malloc(CA_PKCS8_MAX_BYTES);
	const uint8_t *der = NULL;
	int len;

	if (!space)
		return crypto_failed(err, "memory for the key");
	len = ca_pkcs8_write(key, type, space, CA_PKCS8_MAX_BYTES, &der);
	if (len < 0)
		return crypto_failed(err, "private key");
	len = ca_pem_write(pem, size, "PRIVATE KEY", der, (size_t)len);
	return len < 0 ? err_set(err, -len, "certificate authority: %zu bytes are too few", size)
		       : len;
}

static int write_cert(X509 *cert, char *pem, size_t size, struct err *err)
{
	cleanup_with(cleanup_der) uint8_t *der = NULL;
	int len = i2d_X509(cert, &der);

	if (len < 0)
		return crypto_failed(err, "certificate");
	len = ca_pem_write(pem, size, "CERTIFICATE", der, (size_t)len);
	return len < 0 ? err_set(err, -len, "certificate authority: %zu bytes are too few", size)
		       : len;
}

/* All that has the key in it, in a frame of its own so that stack_wipe covers it. */
static __attribute__((noinline)) int mint(const struct ca_request *request, char *pem, size_t size,
					  size_t *ret_len, struct buf *ret_cert_pem,
					  struct err *err)
{
	cleanup_with(cleanup_key) EVP_PKEY *key = key_generate(request->key_type);
	cleanup_with(cleanup_cert) X509 *cert = X509_new();
	int key_len, cert_len;

	if (!key || !cert)
		return crypto_failed(err, "key generation");
	TRY(cert_fill(cert, key, request, err));
	key_len = write_key(key, request->key_type, pem, size, err);
	TRY(key_len);
	cert_len = write_cert(cert, pem + key_len, size - (size_t)key_len, err);
	TRY(cert_len);
	buf_append(ret_cert_pem, pem + key_len, (size_t)cert_len);
	if (ret_cert_pem->failed)
		return err_set(err, ENOMEM, "certificate authority: out of memory");
	*ret_len = (size_t)(key_len + cert_len);
	return 0;
}

/* Wakes the generator that private keys are drawn from. Later OpenSSL would keep its state in the
 * secure heap for good, and the heap could not be given back. The state may lie in ordinary memory:
 * after each draw it is replaced by one-way steps, so what was drawn cannot be computed from it (SP
 * 800-90A, backtracking resistance). Of the generators that OpenSSL has, the one on a hash is seeded
 * the same and saves loading every cipher (1 ms); where one is awake already, that one is used. */
static int generator_wake(struct err *err)
{
	uint8_t drawn;

	RAND_set_DRBG_type(NULL, "HASH-DRBG", NULL, NULL, "SHA256");
	ERR_clear_error();
	if (RAND_priv_bytes(&drawn, sizeof(drawn)) != 1)
		return crypto_failed(err, "random generator");
	return 0;
}

/* The heap is made for this one use and given back after it: it costs locked memory, and a child
 * forked later must not inherit it. Returns 1 when it is this call's own. */
static int secure_heap_open(enum ca_key_type type, struct err *err)
{
	size_t size = type == CA_KEY_P256 ? SECURE_HEAP_P256_BYTES : SECURE_HEAP_RSA_BYTES;

	if (CRYPTO_secure_malloc_initialized())
		return 0;
	/* 2 stands for "made, but not locked" (RLIMIT_MEMLOCK): borne, because the key is in it for
	 * less than a millisecond, too short for a page that is in use to be swapped out. */
	if (CRYPTO_secure_malloc_init(size, SECURE_HEAP_MIN_BLOCK) == 0)
		return err_sys(err, errno, "certificate authority: no secure heap of %zu bytes",
			       size);
	return 1;
}

int ca_mint(const struct ca_request *request, char *secret_pem, size_t secret_size,
	    size_t *ret_secret_len, struct buf *ret_cert_pem, struct err *err)
{
	int own_heap, rc;

	/* First call into OpenSSL: no openssl.cnf (OPENSSL_CONF may name any file, and engines), no
	 * error strings, nothing at exit. */
	if (!OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS |
					 OPENSSL_INIT_NO_ATEXIT,
				 NULL))
		return err_set(err, EIO, "certificate authority: OpenSSL does not start");
	TRY(generator_wake(err));
	own_heap = secure_heap_open(request->key_type, err);
	TRY(own_heap);
	rc = mint(request, secret_pem, secret_size, ret_secret_len, ret_cert_pem, err);
	stack_wipe();
	if (own_heap && !CRYPTO_secure_malloc_done() && rc == 0)
		rc = err_set(err, EIO, "certificate authority: the secure heap is still in use");
	if (rc < 0)
		explicit_bzero(secret_pem, secret_size);
	return rc;
}
