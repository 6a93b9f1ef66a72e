/* SPDX-License-Identifier: Apache-2.0
 *
 * The proxy image's contract (docs/architecture.md), as far as it is the same in every backend. Runs in:
 * launcher, before anything has changed.
 */
#ifndef RUNTIME_PLAN_CONTRACT_H
#define RUNTIME_PLAN_CONTRACT_H

#include "runtime/plan.h"

#define PLAN_CONTRACT_IMAGE "native" /* of a manifest that names none */

#define PLAN_CONTRACT_HOME	  "/home/mitmproxy"
#define PLAN_CONTRACT_ROUTES	  "/etc/egress-proxy/routes.yaml"
#define PLAN_CONTRACT_EXTRA_CA	  "/etc/egress-proxy/extra-ca.pem"
#define PLAN_CONTRACT_CA	  PLAN_CONTRACT_HOME "/.mitmproxy/mitmproxy-ca.pem"
#define PLAN_CONTRACT_UPSTREAM_CA PLAN_CONTRACT_HOME "/.mitmproxy/pipelock-ca.pem"
#define PLAN_CONTRACT_STORE	  "/etc/ssl/certs/ca-certificates.crt"

/* The CAs that the manifest names, each read once: what is checked here is what the proxy will trust. */
int plan_contract_read_cas(struct plan *plan, struct err *err) MUST_CHECK;

/* The variables of an upstream proxy; needs the slots of the tokens. */
int plan_contract_upstream_env(const struct plan *plan, struct strlist *env) MUST_CHECK;

/* Routes that programs inside will not ask the proxy for. */
int plan_contract_warn(struct plan *plan) MUST_CHECK;

#endif
