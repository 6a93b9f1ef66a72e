/* SPDX-License-Identifier: Apache-2.0
 * Which manifest counts, and reading it. */
#ifndef RUNTIME_MANIFEST_LOAD_H
#define RUNTIME_MANIFEST_LOAD_H

#include "base/sha256.h"
#include "config/manifest.h"
#include "runtime/state.h"

/* Without a file named and with `no_file` (routes came from --allow) nothing is read; else `named`, else
 * ./bottle.yaml if its digest was accepted, else ~/.config/bottle/bottle.yaml. `m` is initialised. */
int manifest_load(struct manifest *m, const char *named, bool no_file, const struct state *state,
		  struct err *err) MUST_CHECK;

/* Reads ./bottle.yaml or the file named for `bottle trust`, which must be a regular file and no symbolic
 * link: its bytes, and the real path of its folder with its name. */
int manifest_read_found(const char *name, char **ret_path, struct buf *ret_text,
			struct err *err) MUST_CHECK;

/* Parses what manifest_read_found gave; `shown` is its name in messages. `m` is initialised. */
int manifest_parse_found(struct manifest *m, const char *shown, const char *path,
			 const struct buf *text, struct err *err) MUST_CHECK;

/* Reads manifest_ca_path(m, index), checks that it holds CAs, and appends its bytes. ret_hex is their
 * SHA-256. Where the manifest was found, they must be those that were accepted with it. */
int manifest_read_ca(const struct manifest *m, size_t index, struct buf *ret_pem,
		     char ret_hex[static SHA256_HEX_BYTES], struct err *err) MUST_CHECK;

#endif
