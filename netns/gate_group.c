/* SPDX-License-Identifier: Apache-2.0
 * Fair shares; see gate_group.h. Runs in: the gate. */
#include "netns/gate_group.h"

#include <stdlib.h>
#include <string.h>

struct gate_group *gate_group_get(struct gate_groups *groups, const char *host)
{
	size_t size = strlen(host) + 1;
	struct gate_group *group;

	for (group = groups->first; group; group = group->next) {
		if (!strcmp(group->host, host)) {
			group->refs++;
			return group;
		}
	}
	group = calloc(1, sizeof(*group) + size);
	if (!group)
		return NULL;
	memcpy(group->host, host, size);
	group->refs = 1;
	group->next = groups->first;
	groups->first = group;
	return group;
}

void gate_group_put(struct gate_groups *groups, struct gate_group *group)
{
	struct gate_group **at = &groups->first;

	if (!group || --group->refs)
		return;
	while (*at != group)
		at = &(*at)->next;
	*at = group->next;
	free(group);
}
