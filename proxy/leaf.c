/* SPDX-License-Identifier: Apache-2.0
 *
 * Issues leaf certificates; see leaf.h. Runs in: the proxy's signer. Holds: the CA's private key.
 *
 * One certificate object, the draft, is kept with everything that leaves have in common; a leaf is the
 * draft with another serial number, subject and SAN, signed anew. What remains is the signature and two
 * encodings. X509_set_pubkey(3) is not used: it loads every encoder of OpenSSL 3.0 (ca/pkcs8.h).
 */
#include "proxy/leaf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "ca/pkcs8.h"

enum {
	SERIAL_BYTES = 16,
	COMMON_NAME_MAX = 64, /* ub-common-name of RFC 5280 */
	X509_V3 = 2,
	KEY_USAGE_DIGITAL_SIGNATURE = 0, /* bits of RFC 5280, 4.2.1.3 */
	KEY_USAGE_KEY_ENCIPHERMENT = 2,
};

static void cleanup_bio(BIO **bio)
{
	BIO_free(*bio);
}

static void cleanup_octets(ASN1_OCTET_STRING **octets)
{
	ASN1_OCTET_STRING_free(*octets);
}

static void cleanup_names(GENERAL_NAMES **names)
{
	GENERAL_NAMES_free(*names);
}

/* Without it OpenSSL would ask for a pass phrase on the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *ctx)
{
	(void)buf, (void)size, (void)rwflag, (void)ctx;
	return -1;
}

static int check_authority(const struct leaf_issuer *issuer, struct err *err)
{
	X509 *ca = issuer->ca;
	time_t now = time(NULL);

	if (X509_check_ca(ca) != 1)
		return err_set(err, EKEYREJECTED, "the certificate is not a CA's");
	if (!(X509_get_key_usage(ca) & X509v3_KU_KEY_CERT_SIGN))
		return err_set(err, EKEYREJECTED, "the CA's key usage lacks certificate signing");
	if (X509_cmp_time(X509_get0_notAfter(ca), &now) <= 0)
		return err_set(err, EKEYEXPIRED, "the CA's certificate has expired");
	if (X509_cmp_time(X509_get0_notBefore(ca), &now) >= 0)
		return err_set(err, EKEYREJECTED,
			       "the CA's certificate is not valid yet; is the clock right?");
	if (X509_check_private_key(ca, issuer->ca_key) != 1)
		return err_set(err, EKEYREJECTED, "the private key is not the first certificate's");
	return 0;
}

int leaf_issuer_read(struct leaf_issuer *issuer, const char *pem, size_t len, struct err *err)
{
	cleanup_with(cleanup_bio) BIO *key = BIO_new_mem_buf(pem, (int)len);
	cleanup_with(cleanup_bio) BIO *cert = BIO_new_mem_buf(pem, (int)len);

	*issuer = (struct leaf_issuer){ 0 };
	if (!key || !cert)
		return err_set(err, ENOMEM, "out of memory");
	issuer->ca_key = PEM_read_bio_PrivateKey(key, NULL, no_passphrase, NULL);
	issuer->ca = PEM_read_bio_X509(cert, NULL, no_passphrase, NULL);
	ERR_clear_error();
	if (!issuer->ca_key || !issuer->ca)
		return err_set(err, EBADMSG, "no PEM with a certificate and its key, unencrypted");
	if (EVP_PKEY_is_a(issuer->ca_key, "EC"))
		issuer->leaf_type = CA_KEY_P256;
	else if (EVP_PKEY_is_a(issuer->ca_key, "RSA"))
		issuer->leaf_type = CA_KEY_RSA2048;
	else
		return err_set(err, EKEYREJECTED, "the CA's key is neither EC nor RSA");
	return check_authority(issuer, err);
}

/* ---- what leaves have in common ---- */

/* Method 1 of RFC 5280, 4.2.1.2. */
static ASN1_OCTET_STRING *key_id(const X509 *cert)
{
	ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (id && X509_pubkey_digest(cert, EVP_sha1(), digest, &len) &&
	    ASN1_OCTET_STRING_set(id, digest, (int)len))
		return id;
	ASN1_OCTET_STRING_free(id);
	return NULL;
}

static bool add_key_ids(X509 *draft, const X509 *ca)
{
	const ASN1_OCTET_STRING *ca_own = X509_get0_subject_key_id((X509 *)ca);
	cleanup_with(cleanup_octets) ASN1_OCTET_STRING *own = key_id(draft);
	AUTHORITY_KEYID *authority = AUTHORITY_KEYID_new();
	bool ok = own && authority;

	if (ok) {
		authority->keyid = ca_own ? ASN1_OCTET_STRING_dup(ca_own) : key_id(ca);
		ok = authority->keyid &&
		     X509_add1_ext_i2d(draft, NID_subject_key_identifier, own, 0, 0) > 0 &&
		     X509_add1_ext_i2d(draft, NID_authority_key_identifier, authority, 0, 0) > 0;
	}
	AUTHORITY_KEYID_free(authority);
	return ok;
}

static bool add_usage(X509 *draft, enum ca_key_type type)
{
	BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new(); /* CA:FALSE is the default */
	ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
	EXTENDED_KEY_USAGE *purposes = sk_ASN1_OBJECT_new_null();
	bool ok = constraints && usage && purposes &&
		  ASN1_BIT_STRING_set_bit(usage, KEY_USAGE_DIGITAL_SIGNATURE, 1) &&
		  (type != CA_KEY_RSA2048 ||
		   ASN1_BIT_STRING_set_bit(usage, KEY_USAGE_KEY_ENCIPHERMENT, 1)) &&
		  sk_ASN1_OBJECT_push(purposes, OBJ_nid2obj(NID_server_auth)) &&
		  X509_add1_ext_i2d(draft, NID_basic_constraints, constraints, 1, 0) > 0 &&
		  X509_add1_ext_i2d(draft, NID_key_usage, usage, 1, 0) > 0 &&
		  X509_add1_ext_i2d(draft, NID_ext_key_usage, purposes, 0, 0) > 0;

	EXTENDED_KEY_USAGE_free(purposes);
	ASN1_BIT_STRING_free(usage);
	BASIC_CONSTRAINTS_free(constraints);
	return ok;
}

static bool make_draft(struct leaf_issuer *issuer)
{
	X509 *draft = issuer->draft = X509_new();
	const X509 *ca = issuer->ca;

	return draft && X509_set_version(draft, X509_V3) &&
	       X509_set_issuer_name(draft, X509_get_subject_name(ca)) &&
	       X509_set1_notBefore(draft, X509_get0_notBefore(ca)) &&
	       X509_set1_notAfter(draft, X509_get0_notAfter(ca)) &&
	       ca_spki_set(draft, issuer->leaf_key, issuer->leaf_type) == 0 &&
	       add_usage(draft, issuer->leaf_type) && add_key_ids(draft, ca);
}

int leaf_issuer_make_key(struct leaf_issuer *issuer, struct err *err)
{
	issuer->leaf_key = issuer->leaf_type == CA_KEY_P256 ? EVP_EC_gen("P-256")
							    : EVP_RSA_gen(2048U);
	if (issuer->leaf_key && make_draft(issuer))
		return 0;
	ERR_clear_error();
	return err_set(err, EIO, "OpenSSL cannot make the leaves' key");
}

/* ---- what they have not ---- */

/* 128 random bits, positive. */
static bool set_serial(X509 *draft)
{
	uint8_t bytes[SERIAL_BYTES];
	BIGNUM *number = RAND_bytes(bytes, sizeof(bytes)) == 1
				 ? BN_bin2bn(bytes, sizeof(bytes), NULL)
				 : NULL;
	bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(draft));

	BN_free(number);
	return ok;
}

/* The name once more as common name, for clients of old, where one has room for it. */
static bool set_subject(X509 *draft, const char *host)
{
	X509_NAME *name = X509_NAME_new();
	bool ok = name &&
		  (strlen(host) > COMMON_NAME_MAX ||
		   X509_NAME_add_entry_by_NID(name, NID_commonName, V_ASN1_UTF8STRING,
					      (const unsigned char *)host, -1, -1, 0)) &&
		  X509_set_subject_name(draft, name);

	X509_NAME_free(name);
	return ok;
}

static GENERAL_NAME *general_name(const char *host)
{
	uint8_t network[16];
	int len = inet_pton(AF_INET, host, network) == 1    ? 4
		  : inet_pton(AF_INET6, host, network) == 1 ? 16
							    : 0;
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_STRING *value = len ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();

	if (name && value &&
	    ASN1_STRING_set(value, len ? (const void *)network : host, len ? len : -1)) {
		GENERAL_NAME_set0_value(name, len ? GEN_IPADD : GEN_DNS, value);
		return name;
	}
	ASN1_STRING_free(value);
	GENERAL_NAME_free(name);
	return NULL;
}

/* Critical where the subject is empty: RFC 5280, 4.2.1.6. */
static bool set_alternative_name(X509 *draft, const char *host)
{
	cleanup_with(cleanup_names) GENERAL_NAMES *names = GENERAL_NAMES_new();
	GENERAL_NAME *name = names ? general_name(host) : NULL;

	if (!name || !sk_GENERAL_NAME_push(names, name)) {
		GENERAL_NAME_free(name);
		return false;
	}
	return X509_add1_ext_i2d(draft, NID_subject_alt_name, names, strlen(host) > COMMON_NAME_MAX,
				 X509V3_ADD_REPLACE) > 0;
}

int leaf_issue(struct leaf_issuer *issuer, const char *host, uint8_t der[static LEAF_DER_MAX])
{
	X509 *draft = issuer->draft;
	bool ok = set_serial(draft) && set_subject(draft, host) &&
		  set_alternative_name(draft, host) &&
		  X509_sign(draft, issuer->ca_key, EVP_sha256());
	int len = ok ? i2d_X509(draft, NULL) : -1;

	ERR_clear_error();
	return len > 0 && len <= LEAF_DER_MAX ? i2d_X509(draft, &der) : -EIO;
}

void leaf_issuer_clear(struct leaf_issuer *issuer)
{
	X509_free(issuer->draft);
	X509_free(issuer->ca);
	EVP_PKEY_free(issuer->leaf_key);
	EVP_PKEY_free(issuer->ca_key);
	*issuer = (struct leaf_issuer){ 0 };
}
