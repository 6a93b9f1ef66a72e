/* SPDX-License-Identifier: Apache-2.0
 * What one layer has put where; see layer_seen.h. Runs in: launcher (`bottle image`). */
#include "rootfs/layer_seen.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"

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
	free(seen->last_path);
	*seen = (struct layer_seen){ 0 };
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
	if (!found || *found != place) {
		free(place);
		return found ? 0 : -ENOMEM;
	}
	/* The one name too many stays in the tree, which is on its way to be freed. */
	if (strlen(name) > seen->room_bytes)
		return -E2BIG;
	seen->room_bytes -= strlen(name);
	return 0;
}

/* Opens the next folder on the way: by name, or where that is a symlink, by the path up to it. */
static int step(int root_fd, int dir_fd, const char *path, const char *name)
{
	int fd = openat(dir_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 ? fd : fd_open_in_root(root_fd, path, O_PATH | O_DIRECTORY, 0);
}

static int add_path(struct layer_seen *seen, int root_fd, char *path)
{
	cleanup_fd int fd = openat(root_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *at = path;

	while (fd >= 0 && at) {
		char *slash = strchr(at, '/');
		int next_fd;

		if (slash)
			*slash = '\0';
		TRY(layer_seen_add(seen, fd, at));
		next_fd = step(root_fd, fd, path, at);
		if (next_fd < 0)
			return next_fd;
		fd_close(&fd);
		fd = next_fd;
		if (slash)
			*slash = '/';
		at = slash ? slash + 1 : NULL;
	}
	return fd < 0 ? -errno : 0;
}

int layer_seen_add_path(struct layer_seen *seen, int root_fd, const char *path)
{
	cleanup_free char *copy = NULL;

	if (strcmp(path, ".") == 0 || (seen->last_path && strcmp(seen->last_path, path) == 0))
		return 0;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	TRY(add_path(seen, root_fd, copy));
	free(seen->last_path);
	seen->last_path = take_ptr(copy);
	return 0;
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
