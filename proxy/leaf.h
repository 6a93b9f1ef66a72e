/* SPDX-License-Identifier: Apache-2.0
 *
 * Leaf certificates: what the bottle's CA signs for the names that its program calls. One key for all
 * leaves, exact SAN, complete key ids, the CA's own validity. rootfs/mitmproxy/egress_proxy/leaf.py is
 * the same in Python. Pure OpenSSL, no I/O: the signer (signer.h) is what calls it.
 */
#ifndef PROXY_LEAF_H
#define PROXY_LEAF_H

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "ca/mint.h"

enum { LEAF_DER_MAX = 8192 }; /* a leaf with the longest name, under a CA with a large subject */

struct leaf_issuer {
	X509 *ca;
	EVP_PKEY *ca_key;
	EVP_PKEY *leaf_key; /* of every leaf; never the CA's */
	enum ca_key_type leaf_type;
	X509 *draft; /* all that leaves have in common, signed anew for each */
};

/* Takes certificate and key, in any order, out of one PEM. The certificate must be a CA's, in force, and
 * the key's; EC and RSA keys are taken. -EBADMSG, -EKEYREJECTED, -EKEYEXPIRED. */
int leaf_issuer_read(struct leaf_issuer *issuer, const char *pem, size_t len,
		     struct err *err) MUST_CHECK;

/* Makes the leaves' key: P-256, or RSA-2048 (150 ms) under a CA with an RSA key, which is there for
 * clients without EC. */
int leaf_issuer_make_key(struct leaf_issuer *issuer, struct err *err) MUST_CHECK;

/* A leaf for a canonical host (authority.h) as DER in der[LEAF_DER_MAX]. Returns its length or -EIO. */
int leaf_issue(struct leaf_issuer *issuer, const char *host,
	       uint8_t der[static LEAF_DER_MAX]) MUST_CHECK;

/* For the tests, in which nothing may leak: the signer has its issuer to its end. */
void leaf_issuer_clear(struct leaf_issuer *issuer);

#endif
