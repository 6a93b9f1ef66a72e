/* SPDX-License-Identifier: Apache-2.0
 *
 * Names by which a path was given that lead by a symbolic link. What is shown lies at its real path; the
 * link beside it is nobody's folder that is shown, so the name would not be there. It is made again in the
 * root's own tmpfs, never in what is shown. Runs in: launcher, before anything has changed.
 *
 * Whether a link may be followed at all was decided before (plan_binds.c); here nothing is shown.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "runtime/plan_agent.h"

/* An image's root is not put together here. */
static bool can_make(const struct plan *plan, const char *at)
{
	static const char *const laid[] = { "/proc", "/sys", "/dev", "/run/bottle" };
	const struct mount_list *list = &plan->agent.mounts;

	for (size_t i = 0; i < sizeof(laid) / sizeof(laid[0]); i++)
		if (plan_path_is_below(at, laid[i]))
			return false;
	return list->len && list->ops[0].kind == MOUNT_ROOT_TMPFS;
}

/* Below a folder that is shown it is the host's own; a link may have been made for another path. */
static bool is_there(const struct plan *plan, const char *at)
{
	const struct mount_list *list = &plan->agent.mounts;

	for (size_t i = 0; i < list->len; i++) {
		const struct mount_op *op = &list->ops[i];

		if ((op->kind == MOUNT_BIND && plan_path_is_below(at, op->at)) ||
		    (op->kind == MOUNT_SYMLINK && strcmp(at, op->at) == 0))
			return true;
	}
	return false;
}

static int add_link(struct plan *plan, const char *said, const char *name, char *at, char *real)
{
	if (is_there(plan, at))
		return 0;
	if (can_make(plan, at))
		return mount_list_add(
			&plan->agent.mounts,
			(struct mount_op){ .kind = MOUNT_SYMLINK, .at = at, .source = real });
	return plan_warn(plan, "%s %s: %s is a symbolic link that is not there inside; it is %s",
			 said, name, at, real);
}

int plan_links(struct plan *plan, const char *said, const char *name)
{
	cleanup_free char *rest = strdup(name);
	char *save = NULL;
	char done[PATH_MAX] = "/";

	if (!rest)
		return -ENOMEM;
	for (char *part = strtok_r(rest, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
		cleanup_free char *at = str_printf("%s/%s", done[1] ? done : "", part);

		if (!at)
			return -ENOMEM;
		TRY(plan_path_resolve(at, NULL, NULL, done));
		if (strcmp(part, ".") != 0 && strcmp(part, "..") != 0 && strcmp(at, done) != 0)
			TRY(add_link(plan, said, name, at, done));
	}
	return 0;
}
