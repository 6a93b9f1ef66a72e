/* SPDX-License-Identifier: Apache-2.0
 * The CA of one run; see material.h. Runs in: launcher. */
#include "runtime/material.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "ca/bundle.h"
#include "ca/mint.h"

enum { CA_SECRET_MAX = 8192, CA_LIFETIME_S = 7 * 24 * 3600 };

int material_make(struct material *material, const struct plan *plan, struct secrets *secrets,
		  struct err *err)
{
	char common_name[64];
	struct ca_request request = { .common_name = common_name,
				      .key_type = plan->ca_key,
				      .now = time(NULL),
				      .lifetime_s = CA_LIFETIME_S };

	snprintf(common_name, sizeof(common_name), "bottle %s CA", plan->name);
	material->ca_secret = secrets_alloc(secrets, CA_SECRET_MAX);
	if (!material->ca_secret)
		return err_set(err, ENOMEM, "no room for the CA's key beside the tokens");
	TRY(ca_mint(&request, material->ca_secret, CA_SECRET_MAX, &material->ca_secret_len,
		    &material->ca_cert, err));
	return ca_truststore_render(material->ca_cert.data, &material->truststore, err);
}

void material_clear(struct material *material)
{
	buf_clear(&material->ca_cert);
	buf_clear(&material->truststore);
}
