/* SPDX-License-Identifier: Apache-2.0
 * The CA of one run and what is made of it. Runs in: launcher. Holds: the CA's key, in the secrets. */
#ifndef RUNTIME_MATERIAL_H
#define RUNTIME_MATERIAL_H

#include "base/str.h"
#include "runtime/plan.h"
#include "runtime/secrets.h"

/* What a run makes for proxy and agent. Only `ca_secret` is secret;
 * it points into the secrets. */
struct material {
	char *ca_secret;
	size_t ca_secret_len;
	struct buf ca_cert;
	struct buf truststore;
};

int material_make(struct material *material, const struct plan *plan, struct secrets *secrets,
		  struct err *err) MUST_CHECK;
void material_clear(struct material *material);

#endif
