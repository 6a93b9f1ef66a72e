/* SPDX-License-Identifier: Apache-2.0
 *
 * The bottle's own certificate authority: RFC 5280 profile, unique per bottle, short-lived. The
 * private key is born in the caller's locked mapping and goes nowhere else.
 */
#ifndef CA_MINT_H
#define CA_MINT_H

#include <stddef.h>
#include <time.h>

#include "base/err.h"
#include "base/str.h"

enum ca_key_type { CA_KEY_P256, CA_KEY_RSA2048 };

struct ca_request {
	const char *common_name; /* "bottle <name> CA" */
	enum ca_key_type key_type;
	time_t now; /* not-before is now - 5 min */
	unsigned lifetime_s;
};

/* Makes key and self-signed certificate. secret_pem[secret_size] (RSA needs 3 KiB, P-256 1 KiB)
 * receives both as one PEM (key first, as mitmproxy's mitmproxy-ca.pem; PKCS#8), NUL-terminated,
 * *ret_secret_len bytes; ret_cert_pem the certificate alone, appended. secret_pem is wiped on failure.
 * Every copy that OpenSSL had of the key is wiped and its memory unmapped when this returns. Not for a
 * process with a second thread that uses OpenSSL's secure heap. */
int ca_mint(const struct ca_request *request, char *secret_pem, size_t secret_size,
	    size_t *ret_secret_len, struct buf *ret_cert_pem, struct err *err) MUST_CHECK;

#endif
