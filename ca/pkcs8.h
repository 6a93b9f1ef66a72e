/* SPDX-License-Identifier: Apache-2.0
 *
 * A private key as PKCS#8 DER (RFC 5208, 5915, 8017) and its public half as a SubjectPublicKeyInfo,
 * written by hand: the private bytes go from the key's provider straight into the caller's memory.
 * OpenSSL 3.0's own way (OSSL_ENCODER) loads every encoder first, which takes longer than all else
 * that minting does, and passes the key through ordinary heap buffers.
 */
#ifndef CA_PKCS8_H
#define CA_PKCS8_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "ca/mint.h"

enum { CA_PKCS8_MAX_BYTES = 1280 }; /* RSA-2048 takes 1219 at most, P-256 138 */

/* Writes the key's PKCS#8 at the end of der[size] (scratch before it, all of it secret) and points
 * *ret_der at its first byte. `der` must be secure memory. Returns the length or -errno. */
int ca_pkcs8_write(EVP_PKEY *key, enum ca_key_type type, uint8_t *der, size_t size,
		   const uint8_t **ret_der) MUST_CHECK;

/* Sets the certificate's public key to `key`'s. */
int ca_spki_set(X509 *cert, EVP_PKEY *key, enum ca_key_type type) MUST_CHECK;

#endif
