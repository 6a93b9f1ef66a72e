/* SPDX-License-Identifier: Apache-2.0
 *
 * An image's configuration (OCI image spec, config.md; Docker's is the same): hostile JSON in, plain
 * values with hard limits out.
 */
#ifndef ROOTFS_IMAGE_CONFIG_H
#define ROOTFS_IMAGE_CONFIG_H

#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

enum {
	IMAGE_CONFIG_LIST_MAX = 1024,	      /* arguments, variables, labels */
	IMAGE_CONFIG_TEXT_MAX_BYTES = 131071, /* one of them: MAX_ARG_STRLEN, execve(2) */
	IMAGE_CONFIG_TOTAL_MAX_BYTES = 1
				       << 20, /* all of them: half of what execve takes at least */
	IMAGE_CONFIG_USER_MAX_BYTES = 256,
};

/* Zero-initialise. */
struct image_config {
	struct strlist argv;	 /* Entrypoint + Cmd, at least one */
	struct strlist env;	 /* "NAME=value" */
	struct strlist labels;	 /* "KEY=value" */
	struct strlist diff_ids; /* 64 hex digits each, one for each layer */
	char *workdir;		 /* absolute */
	char *user;		 /* "" when there is none */
	char *os;		 /* "" when there is none */
	char *architecture;
};

void image_config_clear(struct image_config *config);

/* Errors name the key, not the file: the caller puts that in front. */
int image_config_parse(struct image_config *ret_config, const char *text, size_t len,
		       struct err *err) MUST_CHECK;

#endif
