/* SPDX-License-Identifier: Apache-2.0
 * Writing the material into the files that the reapers handed up. */
#ifndef RUNTIME_FILL_H
#define RUNTIME_FILL_H

#include "runtime/material.h"
#include "runtime/session.h"

/* Writes a role's handed files and closes them. */
int material_fill(const struct material *material, struct session *session, enum role role,
		  struct err *err) MUST_CHECK;

/* Sends the proxy its go, with EGRESS_PROXY_TOKEN_<i>=value for each slot. */
int material_send_tokens(struct session *session, struct err *err) MUST_CHECK;

#endif
