/* SPDX-License-Identifier: Apache-2.0
 * PEM armour; see pem.h. Runs in: launcher. Sees the CA key pass, keeps none of it. */
#include "ca/pem.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

enum { LINE_DER_BYTES = 48 }; /* 64 characters of base64 */

size_t ca_pem_size(const char *label, size_t der_len)
{
	size_t lines = (der_len + LINE_DER_BYTES - 1) / LINE_DER_BYTES;

	return strlen("-----BEGIN -----\n-----END -----\n") + 2 * strlen(label) +
	       (der_len + 2) / 3 * 4 + lines + 1;
}

int ca_pem_write(char *out, size_t out_size, const char *label, const uint8_t *der, size_t der_len)
{
	char *at = out, *end = out + out_size;

	if (out_size < ca_pem_size(label, der_len))
		return -ENOSPC;
	at += snprintf(at, (size_t)(end - at), "-----BEGIN %s-----\n", label);
	for (size_t done = 0; done < der_len; done += LINE_DER_BYTES) {
		size_t left = der_len - done;
		int n = (int)(left < LINE_DER_BYTES ? left : LINE_DER_BYTES);

		at += EVP_EncodeBlock((unsigned char *)at, der + done, n);
		*at++ = '\n';
	}
	at += snprintf(at, (size_t)(end - at), "-----END %s-----\n", label);
	return (int)(at - out);
}
