/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking away what a step made. Runs in: the launcher of the Docker backend, `bottle stop`, `bottle prune`.
 *
 * Engines differ in how they say that a thing is missing, and some call it an error. So a removal that
 * failed is judged by what is there afterwards; and what is still there is asked to go once more.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "runtime/docker_run.h"

#define STEP "cleanup"

enum { ATTEMPTS = 2 };

static int try_remove(enum docker_kind kind, const char *name, struct err *err)
{
	if (kind == DOCKER_CONTAINER)
		return DOCKER_CALL(STEP, NULL, err, "rm", "--force", "--volumes", name);
	return DOCKER_CALL(STEP, NULL, err, "network", "rm", name);
}

/* A filter by name is a pattern for some engines, so the lines are compared. 1, 0 or -errno. */
static int is_there(enum docker_kind kind, const char *name, struct err *err)
{
	cleanup_with(buf_clear) struct buf out = { 0 };
	cleanup_free char *filter = str_printf("name=%s", name);
	char *save = NULL;

	if (!filter)
		return err_sys(err, ENOMEM, STEP);
	TRY(kind == DOCKER_CONTAINER ? DOCKER_CALL(STEP, &out, err, "ps", "--all", "--filter",
						   filter, "--format", "{{.Names}}")
				     : DOCKER_CALL(STEP, &out, err, "network", "ls", "--filter",
						   filter, "--format", "{{.Name}}"));
	for (char *line = out.data ? strtok_r(out.data, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save))
		if (strcmp(line, name) == 0)
			return 1;
	return 0;
}

int docker_remove(enum docker_kind kind, const char *name, struct err *err)
{
	struct err other;
	int rc = 0;

	for (int i = 0; i < ATTEMPTS; i++) {
		rc = try_remove(kind, name, err);
		if (rc == 0 || is_there(kind, name, &other) == 0)
			return 0;
	}
	return rc;
}

int docker_remove_warn(enum docker_kind kind, const char *name, const struct err *why,
		       struct strlist *warnings)
{
	return strlist_addf(warnings, "%s; to remove it by hand: %s %s %s", why->text,
			    docker_cli_name(),
			    kind == DOCKER_CONTAINER ? "rm --force --volumes" : "network rm", name);
}
