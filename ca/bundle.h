/* SPDX-License-Identifier: Apache-2.0
 *
 * Trust stores for the agent, and the check of CA files that a manifest names.
 */
#ifndef CA_BUNDLE_H
#define CA_BUNDLE_H

#include "base/err.h"
#include "base/str.h"

/* The host's bundle path (the first that exists of the distributions' known places), or NULL. */
const char *ca_host_bundle_path(void);

/* Writes host store + extra PEM to an empty file, bytes as they are, newline between. A host without a
 * store (NULL) gives `extra` alone. The store is copied by the kernel: it is 200 KB on the way of
 * every start. */
int ca_bundle_write(const char *host_bundle_path, const char *extra_pem, int out_fd,
		    struct err *err) MUST_CHECK;

/* A PKCS#12 truststore with this one certificate that Java's keystore accepts (trusted-certificate
 * attribute, password "changeit"): every TLS connection of a bottle ends at its proxy, so this CA is
 * all that Java need trust. */
int ca_truststore_render(const char *cert_pem, struct buf *ret_p12, struct err *err) MUST_CHECK;

/* PEM of authorities, `name` in the sentence: every certificate a CA's, at least one of them in its
 * validity period (stores keep old roots), no private key in it, 1 MiB at most. -EBADMSG (no PEM),
 * -EFBIG, -EKEYEXPIRED or -EKEYREJECTED (not yet valid, not a CA, a private key). */
int ca_pem_check(const char *name, const char *pem, size_t len, struct err *err) MUST_CHECK;

/* A CA file named in a manifest, which must be a regular one: read once, checked, appended to
 * ret_pem as it is. -ENOENT, -EINVAL (a fifo, a folder), as above, or what reading gave. */
int ca_file_read(const char *path, struct buf *ret_pem, struct err *err) MUST_CHECK;

#endif
