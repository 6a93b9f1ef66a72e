/* SPDX-License-Identifier: Apache-2.0
 * The two `docker create` command lines of a plan, up to the image. Runs in: launcher, while the plan is
 * made. */
#ifndef RUNTIME_DOCKER_CREATE_H
#define RUNTIME_DOCKER_CREATE_H

#include "runtime/plan.h"

/* Files that bottle lays into the plan's folder (docker_files.c), by the names that they have there. */
#define DOCKER_FILE_AGENT      "agent" /* a folder: what the agent is to trust */
#define DOCKER_FILE_CA	       "agent/ca.pem"
#define DOCKER_FILE_BUNDLE     "agent/ca-bundle.pem"
#define DOCKER_FILE_TRUSTSTORE "agent/truststore.p12"
#define DOCKER_FILE_STORE      "store.pem" /* the host's, for the proxy */
#define DOCKER_FILE_MASK       "mask"	   /* empty */

/* What those lines cannot say is refused; once home and environment of the agent are planned. */
int docker_create_check(const struct plan *plan, struct err *err) MUST_CHECK;

/* -ENOMEM, or 0. */
int docker_create_proxy(struct plan *plan) MUST_CHECK;
int docker_create_agent(struct plan *plan) MUST_CHECK;

#endif
