/* SPDX-License-Identifier: Apache-2.0
 * The choice of a backend; see backend.h. Runs in: launcher, before anything has changed. */
#include "runtime/backend.h"

#include <errno.h>
#include <string.h>

/* In the order in which `auto` tries them. */
static const struct backend *const backends[] = {
#ifndef BOTTLE_DOCKER_ONLY
	&backend_namespaces,
#endif
	&backend_docker,
};
enum { BACKENDS = sizeof(backends) / sizeof(backends[0]) };

const struct backend *backend_at(size_t i)
{
	return i < BACKENDS ? backends[i] : NULL;
}

/* Where none works, the first one's reason is told: it is the one that was wanted. */
static int choose_auto(const struct backend **ret_backend, struct err *ret_why, struct err *err)
{
	int first_rc = 0;

	for (size_t i = 0; i < BACKENDS; i++) {
		struct err why = { "" };
		int rc = backends[i]->check(&why);

		if (rc == 0) {
			*ret_backend = backends[i];
			return 0;
		}
		if (i == 0) {
			first_rc = rc;
			*ret_why = why;
		}
	}
	*err = *ret_why;
	return first_rc;
}

int backend_choose(const char *word, const char *what, const struct backend **ret_backend,
		   struct err *ret_why, struct err *err)
{
	*ret_why = (struct err){ "" };
	if (!word || strcmp(word, "auto") == 0)
		return choose_auto(ret_backend, ret_why, err);
	for (size_t i = 0; i < BACKENDS; i++)
		if (strcmp(word, backends[i]->name) == 0) {
			*ret_backend = backends[i];
			return 0;
		}
	return err_set(err, EINVAL, "%s %s: must be auto, namespaces or docker%s", what, word,
		       strcmp(word, "namespaces") == 0
			       ? "; this bottle was built without namespaces (DOCKER_ONLY)"
			       : "");
}
