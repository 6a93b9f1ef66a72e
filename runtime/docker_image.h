/* SPDX-License-Identifier: Apache-2.0
 *
 * Images as Docker has them: what one says of itself, and how one of ours gets there.
 *
 *   native      loaded from the archive that came with bottle, known by its digest; where this bottle has
 *               none (`make DOCKER_ONLY=1`), built from the Dockerfile
 *   mitmproxy   built from the Dockerfile, whenever the files that go into it have changed: their digest
 *               is the label bottle.inputs
 *   another     must be there (the proxy), or is pulled (the agent)
 *
 * Runs in: the launcher of the Docker backend. docker_image_look changes nothing.
 */
#ifndef RUNTIME_DOCKER_IMAGE_H
#define RUNTIME_DOCKER_IMAGE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

enum docker_image_way {
	DOCKER_IMAGE_THERE,
	DOCKER_IMAGE_LOAD,
	DOCKER_IMAGE_BUILD,
	DOCKER_IMAGE_PULL
};

struct docker_image {
	char *name;		   /* what Docker is asked for */
	enum docker_image_way way; /* how it gets there */
	bool is_ours;		   /* native or mitmproxy: takes its secrets on standard input */
	char *source;		   /* LOAD: the archive; BUILD: the folder with the Dockerfile */
	const char *target;	   /* BUILD: the Dockerfile's */
	char *inputs;		   /* BUILD, and of ours: "sha256:…" of what goes in */

	/* What it says of itself; of one of ours, what it will say. */
	char *id; /* NULL: not there yet */
	char *user;
	bool has_uid, has_gid; /* `user` says them as numbers (of none it is root) */
	uid_t uid;	       /* 0 where it does not; so is the group, but in ours, the uid */
	gid_t gid;
	bool by_stdin;	       /* label bottle.secrets=stdin */
	bool knows_ready;      /* label bottle.ready-fd=1 */
	bool wants_host_store; /* label bottle.trust-store=host */
	struct strlist argv;   /* Entrypoint + Cmd */
	struct strlist labels; /* "KEY=value" */
};

void docker_image_clear(struct docker_image *image);

/* Whether, and what: `name` is proxy.image. */
int docker_image_look_proxy(const char *name, struct docker_image *ret_image,
			    struct err *err) MUST_CHECK;
int docker_image_look_agent(const char *name, struct docker_image *ret_image,
			    struct err *err) MUST_CHECK;

/* Loads, builds or pulls it where it is not there, and looks again. Its id → *ret_id, owned. */
int docker_image_make(const struct docker_image *image, char **ret_id, struct err *err) MUST_CHECK;

#endif
