/* SPDX-License-Identifier: Apache-2.0
 * The digest of what goes into an image that is built from Dockerfile.egress-proxy, so that one that is
 * there is known to be of these files. Runs in: launcher, while the plan is made. */
#ifndef RUNTIME_DOCKER_INPUTS_H
#define RUNTIME_DOCKER_INPUTS_H

#include "base/err.h"

/* "sha256:…" over names and contents of the target's files below `folder`, in the order of their names;
 * owned. */
int docker_inputs_digest(const char *folder, const char *target, char **ret_digest,
			 struct err *err) MUST_CHECK;

#endif
