/* SPDX-License-Identifier: Apache-2.0
 * What one layer has put where; see layer_seen.h. Runs in: launcher (`bottle image`). */
#include "rootfs/layer_seen.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct place {
	ino_t dir;
	const char *name;
};

/* One allocation: the place, then the bytes of its name. */
static struct place *place_new(ino_t dir, const char *name)
{
	size_t len = strlen(name) + 1;
	struct place *place = malloc(sizeof(*place) + len);

	if (place)
		*place = (struct place){ .dir = dir, .name = memcpy(place + 1, name, len) };
	return place;
}

static int by_place(const void *left, const void *right)
{
	const struct place *a = left, *b = right;

	if (a->dir != b->dir)
		return a->dir < b->dir ? -1 : 1;
	return strcmp(a->name, b->name);
}

void layer_seen_clear(struct layer_seen *seen)
{
	tdestroy(seen->root, free);
	seen->root = NULL;
}

int layer_seen_add(struct layer_seen *seen, int dir_fd, const char *name)
{
	struct place *place, **found;
	struct stat st;

	if (fstat(dir_fd, &st) < 0)
		return -errno;
	place = place_new(st.st_ino, name);
	if (!place)
		return -ENOMEM;
	found = (struct place **)tsearch(place, &seen->root, by_place);
	if (!found || *found != place)
		free(place);
	return found ? 0 : -ENOMEM;
}

int layer_seen_has(const struct layer_seen *seen, int dir_fd, const char *name)
{
	struct place wanted = { .name = name };
	struct stat st;

	if (fstat(dir_fd, &st) < 0)
		return -errno;
	wanted.dir = st.st_ino;
	return tfind(&wanted, &seen->root, by_place) != NULL;
}
