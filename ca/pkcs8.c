/* SPDX-License-Identifier: Apache-2.0
 * A key as DER; see pkcs8.h. Runs in: launcher. Sees the CA key, keeps none of it.
 *
 * DER is written from the end to the front, so that a length is known when it has to be written.
 * Numbers come out of OpenSSL in the machine's byte order, padded to the size that was asked for,
 * right into their place in the output, and are turned round there. */
#include "ca/pkcs8.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/objects.h>
#include <openssl/params.h>
#include <stdbool.h>
#include <string.h>

enum {
	P256_SCALAR_BYTES = 32,
	P256_POINT_BYTES = 65, /* 04, x, y */
	RSA_MODULUS_BYTES = 256,
	RSA_PRIME_BYTES = RSA_MODULUS_BYTES / 2,
	RSA_EXPONENT_BYTES = 8,
	SPKI_MAX_BYTES = 320,
};

enum {
	DER_INTEGER = 0x02,
	DER_OCTETS = 0x04,
	DER_SEQUENCE = 0x30,
	DER_CONTEXT_1 = 0xa1,
};

struct der {
	uint8_t *start;
	size_t at; /* start[at] is the first byte written so far */
	bool failed;
};

static uint8_t *der_room(struct der *der, size_t len)
{
	if (der->failed || len > der->at) {
		der->failed = true;
		return NULL;
	}
	der->at -= len;
	return der->start + der->at;
}

static void der_bytes(struct der *der, const void *bytes, size_t len)
{
	uint8_t *to = der_room(der, len);

	if (to)
		memcpy(to, bytes, len);
}

/* Puts tag and length in front of all that was written since the position was `end`. */
static void der_wrap(struct der *der, uint8_t tag, size_t end)
{
	size_t len = end - der->at;
	uint8_t head[4] = { tag };
	size_t n = 2;

	if (len < 0x80) {
		head[1] = (uint8_t)len;
	} else if (len < 0x100) {
		head[1] = 0x81;
		head[n++] = (uint8_t)len;
	} else {
		head[1] = 0x82;
		head[n++] = (uint8_t)(len >> 8);
		head[n++] = (uint8_t)len;
	}
	der_bytes(der, head, n);
}

/* A number of the key, big-endian, `size` bytes with leading zeros. */
static void der_key_number(struct der *der, EVP_PKEY *key, const char *param, size_t size)
{
	uint8_t *to = der_room(der, size);
	OSSL_PARAM params[2] = { OSSL_PARAM_construct_end(), OSSL_PARAM_construct_end() };

	if (!to)
		return;
	memset(to, 0, size);
	params[0] = OSSL_PARAM_construct_BN(param, to, size);
	if (!EVP_PKEY_get_params(key, params) || !OSSL_PARAM_modified(params))
		der->failed = true;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	for (size_t i = 0; i < size / 2; i++) {
		uint8_t low = to[i];

		to[i] = to[size - 1 - i];
		to[size - 1 - i] = low;
	}
#endif
}

/* The same as an INTEGER: no leading zeros but the one that keeps it positive. */
static void der_key_integer(struct der *der, EVP_PKEY *key, const char *param, size_t size)
{
	static const uint8_t zero = 0;
	size_t end = der->at;

	der_key_number(der, key, param, size);
	if (der->failed)
		return;
	while (der->at < end - 1 && der->start[der->at] == 0)
		der->at++;
	if (der->start[der->at] & 0x80)
		der_bytes(der, &zero, 1);
	der_wrap(der, DER_INTEGER, end);
}

static int p256_point(EVP_PKEY *key, uint8_t ret_point[static P256_POINT_BYTES])
{
	size_t len = 0;

	if (!EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, ret_point,
					     P256_POINT_BYTES, &len) ||
	    len != P256_POINT_BYTES)
		return -EIO;
	return 0;
}

/* PrivateKeyInfo { 0, {id-ecPublicKey, prime256v1}, OCTET STRING ECPrivateKey { 1, scalar,
 * [1] BIT STRING point } } */
static int p256_pkcs8(struct der *der, EVP_PKEY *key)
{
	static const uint8_t algorithm[] = {
		0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d,
		0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
	};
	static const uint8_t bit_string[] = { 0x03, P256_POINT_BYTES + 1, 0x00 };
	static const uint8_t version_1[] = { 0x02, 0x01, 0x01 };
	uint8_t point[P256_POINT_BYTES];
	size_t end = der->at, scalar_end;

	TRY(p256_point(key, point));
	der_bytes(der, point, sizeof(point));
	der_bytes(der, bit_string, sizeof(bit_string));
	der_wrap(der, DER_CONTEXT_1, end);
	scalar_end = der->at;
	der_key_number(der, key, OSSL_PKEY_PARAM_PRIV_KEY, P256_SCALAR_BYTES);
	der_wrap(der, DER_OCTETS, scalar_end);
	der_bytes(der, version_1, sizeof(version_1));
	der_wrap(der, DER_SEQUENCE, end);
	der_wrap(der, DER_OCTETS, end);
	der_bytes(der, algorithm, sizeof(algorithm));
	der_wrap(der, DER_SEQUENCE, end);
	return 0;
}

/* PrivateKeyInfo { 0, {rsaEncryption, NULL}, OCTET STRING RSAPrivateKey { 0, n, e, d, p, q, dp, dq,
 * qinv } } */
static int rsa_pkcs8(struct der *der, EVP_PKEY *key)
{
	static const uint8_t algorithm[] = {
		0x02, 0x01, 0x00, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86,
		0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
	};
	static const uint8_t version_0[] = { 0x02, 0x01, 0x00 };
	static const struct {
		const char *param;
		size_t size;
	} last_to_first[] = {
		{ OSSL_PKEY_PARAM_RSA_COEFFICIENT1, RSA_PRIME_BYTES },
		{ OSSL_PKEY_PARAM_RSA_EXPONENT2, RSA_PRIME_BYTES },
		{ OSSL_PKEY_PARAM_RSA_EXPONENT1, RSA_PRIME_BYTES },
		{ OSSL_PKEY_PARAM_RSA_FACTOR2, RSA_PRIME_BYTES },
		{ OSSL_PKEY_PARAM_RSA_FACTOR1, RSA_PRIME_BYTES },
		{ OSSL_PKEY_PARAM_RSA_D, RSA_MODULUS_BYTES },
		{ OSSL_PKEY_PARAM_RSA_E, RSA_EXPONENT_BYTES },
		{ OSSL_PKEY_PARAM_RSA_N, RSA_MODULUS_BYTES },
	};
	size_t end = der->at;

	for (size_t i = 0; i < sizeof(last_to_first) / sizeof(last_to_first[0]); i++)
		der_key_integer(der, key, last_to_first[i].param, last_to_first[i].size);
	der_bytes(der, version_0, sizeof(version_0));
	der_wrap(der, DER_SEQUENCE, end);
	der_wrap(der, DER_OCTETS, end);
	der_bytes(der, algorithm, sizeof(algorithm));
	der_wrap(der, DER_SEQUENCE, end);
	return 0;
}

int ca_pkcs8_write(EVP_PKEY *key, enum ca_key_type type, uint8_t *bytes, size_t size,
		   const uint8_t **ret_der)
{
	struct der der = { .start = bytes, .at = size };

	TRY(type == CA_KEY_P256 ? p256_pkcs8(&der, key) : rsa_pkcs8(&der, key));
	if (der.failed)
		return -EIO;
	*ret_der = bytes + der.at;
	return (int)(size - der.at);
}

/* The key itself, without its algorithm: a point, or RSAPublicKey { n, e }. */
static void public_key(struct der *der, EVP_PKEY *key, enum ca_key_type type)
{
	uint8_t point[P256_POINT_BYTES];
	size_t end = der->at;

	if (type == CA_KEY_P256) {
		if (p256_point(key, point) < 0)
			der->failed = true;
		der_bytes(der, point, sizeof(point));
		return;
	}
	der_key_integer(der, key, OSSL_PKEY_PARAM_RSA_E, RSA_EXPONENT_BYTES);
	der_key_integer(der, key, OSSL_PKEY_PARAM_RSA_N, RSA_MODULUS_BYTES);
	der_wrap(der, DER_SEQUENCE, end);
}

int ca_spki_set(X509 *cert, EVP_PKEY *key, enum ca_key_type type)
{
	uint8_t bytes[SPKI_MAX_BYTES];
	struct der der = { .start = bytes, .at = sizeof(bytes) };
	int param_type = type == CA_KEY_P256 ? V_ASN1_OBJECT : V_ASN1_NULL;
	void *param = type == CA_KEY_P256 ? OBJ_nid2obj(NID_X9_62_prime256v1) : NULL;
	ASN1_OBJECT *algorithm = OBJ_nid2obj(type == CA_KEY_P256 ? NID_X9_62_id_ecPublicKey
								 : NID_rsaEncryption);
	uint8_t *owned;
	int len;

	public_key(&der, key, type);
	if (der.failed)
		return -EIO;
	len = (int)(sizeof(bytes) - der.at);
	owned = OPENSSL_memdup(bytes + der.at, (size_t)len);
	if (!owned)
		return -ENOMEM;
	if (!X509_PUBKEY_set0_param(X509_get_X509_PUBKEY(cert), algorithm, param_type, param, owned,
				    len)) {
		OPENSSL_free(owned);
		return -ENOMEM;
	}
	return 0;
}
