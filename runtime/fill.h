/* SPDX-License-Identifier: Apache-2.0
 * The material that the launcher makes and writes into the files that the reapers handed up. */
#ifndef RUNTIME_FILL_H
#define RUNTIME_FILL_H

#include "runtime/session.h"

/* Everything for the two roots, made while init sets the namespaces up. Only `ca_secret` is secret;
 * it points into the session's secrets. */
struct material {
	char *ca_secret;
	size_t ca_secret_len;
	struct buf ca_cert;
	struct buf truststore;
};

int material_make(struct material *material, struct session *session, struct err *err) MUST_CHECK;
void material_clear(struct material *material);

/* Writes a role's handed files and closes them. */
int material_fill(const struct material *material, struct session *session, enum role role,
		  struct err *err) MUST_CHECK;

/* Sends the proxy its go, with EGRESS_PROXY_TOKEN_<i>=value for each slot. */
int material_send_tokens(struct session *session, struct err *err) MUST_CHECK;

#endif
