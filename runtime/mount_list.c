/* SPDX-License-Identifier: Apache-2.0
 * Lists of operations, as a plan makes them; see mounts.h. Runs in: launcher. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/mounts.h"

int mount_list_add(struct mount_list *list, struct mount_op op)
{
	struct mount_op *grown = realloc(list->ops, (list->len + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	list->ops = grown;
	op.at = op.at ? strdup(op.at) : NULL;
	op.source = op.source ? strdup(op.source) : NULL;
	list->ops[list->len++] = op;
	return 0;
}

void mount_list_clear(struct mount_list *list)
{
	for (size_t i = 0; i < list->len; i++) {
		free(list->ops[i].at);
		free(list->ops[i].source);
	}
	free(list->ops);
	*list = (struct mount_list){ 0 };
}
