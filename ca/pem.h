/* SPDX-License-Identifier: Apache-2.0
 *
 * PEM armour written by hand into memory that the caller chose. OpenSSL's encoders would put a
 * private key through ordinary heap buffers, and loading them costs more than minting the key.
 */
#ifndef CA_PEM_H
#define CA_PEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Bytes that ca_pem_write needs for `der_len` bytes under `label`, with the final NUL. */
size_t ca_pem_size(const char *label, size_t der_len);

/* Writes one block (RFC 7468: lines of 64, newline at the end, NUL after it) at `out`. Returns its
 * length without the NUL, or -ENOSPC. Keeps no copy. */
int ca_pem_write(char *out, size_t out_size, const char *label, const uint8_t *der,
		 size_t der_len) MUST_CHECK;

#endif
