/* SPDX-License-Identifier: Apache-2.0
 *
 * Paths of the host, made comparable; see plan_path.h. Runs in: launcher, before anything has changed.
 *
 * realpath(3) is not enough in two ways: it fails where the end of a path is still missing (a data
 * folder before the first import), and it does not tell through which links it went. A link that an
 * agent can turn is a name that an agent can give.
 */
#include "runtime/plan_path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINKS_MAX = 40 }; /* as path_resolution(7) */

struct walk {
	char done[PATH_MAX]; /* canonical; "" is the root */
	char todo[PATH_MAX]; /* what is left, relative to it */
	unsigned links;
};

static void pop(char *path)
{
	char *slash = strrchr(path, '/');

	if (slash)
		*slash = '\0';
}

/* Takes the next component off `todo`; 0 when there is none. */
static size_t next_component(struct walk *walk, char name[static NAME_MAX + 1])
{
	size_t start = strspn(walk->todo, "/");
	size_t len = strcspn(walk->todo + start, "/");

	if (len > NAME_MAX)
		return len;
	memcpy(name, walk->todo + start, len);
	name[len] = '\0';
	memmove(walk->todo, walk->todo + start + len, strlen(walk->todo + start + len) + 1);
	return len;
}

/* `done` ends in a link to `target`: what is left is that, then the rest. */
static int follow(struct walk *walk, const char *target, plan_path_distrusts *distrusts,
		  const void *ctx)
{
	char rest[PATH_MAX];

	pop(walk->done);
	if (distrusts && distrusts(ctx, walk->done[0] ? walk->done : "/"))
		return -EPERM;
	if (++walk->links > LINKS_MAX)
		return -ELOOP;
	if (target[0] == '/')
		walk->done[0] = '\0';
	memcpy(rest, walk->todo, sizeof(rest));
	if (snprintf(walk->todo, sizeof(walk->todo), "%s/%s", target, rest) >=
	    (int)sizeof(walk->todo))
		return -ENAMETOOLONG;
	return 0;
}

static int step(struct walk *walk, const char *name, plan_path_distrusts *distrusts,
		const void *ctx)
{
	char target[PATH_MAX];
	size_t len = strlen(walk->done);
	ssize_t got;

	if (strcmp(name, ".") == 0)
		return 0;
	if (strcmp(name, "..") == 0) {
		pop(walk->done);
		return 0;
	}
	if (snprintf(walk->done + len, sizeof(walk->done) - len, "/%s", name) >=
	    (int)(sizeof(walk->done) - len))
		return -ENAMETOOLONG;
	got = readlink(walk->done, target, sizeof(target) - 1);
	if (got < 0)
		return 0; /* no link, or nothing */
	target[got] = '\0';
	return follow(walk, target, distrusts, ctx);
}

int plan_path_resolve(const char *path, plan_path_distrusts *distrusts, const void *ctx,
		      char ret_path[static PATH_MAX])
{
	struct walk walk = { .links = 0 };
	char name[NAME_MAX + 1];
	size_t len;

	if (strlen(path) >= sizeof(walk.todo))
		return -ENAMETOOLONG;
	if (path[0] != '/' && !getcwd(walk.done, sizeof(walk.done)))
		return -errno;
	if (strcmp(walk.done, "/") == 0)
		walk.done[0] = '\0';
	memcpy(walk.todo, path, strlen(path) + 1);
	while ((len = next_component(&walk, name))) {
		if (len > NAME_MAX)
			return -ENAMETOOLONG;
		TRY(step(&walk, name, distrusts, ctx));
	}
	snprintf(ret_path, PATH_MAX, "%s", walk.done[0] ? walk.done : "/");
	return 0;
}

bool plan_path_is_below(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	return strncmp(path, folder, len) == 0 &&
	       (path[len] == '\0' || path[len] == '/' || len == 1);
}

static bool id_of(const char *path, struct plan_path_id *ret_id)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return false;
	*ret_id = (struct plan_path_id){ st.st_dev, st.st_ino };
	return true;
}

static bool is_same_id(const struct plan_path_id *a, const struct plan_path_id *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

bool plan_path_is_same(const char *a, const char *b)
{
	struct plan_path_id id_a, id_b;

	return strcmp(a, b) == 0 ||
	       (id_of(b, &id_b) && id_of(a, &id_a) && is_same_id(&id_a, &id_b));
}

void plan_path_place(const char *path, struct plan_path_place *ret_place)
{
	char prefix[PATH_MAX];

	snprintf(ret_place->path, sizeof(ret_place->path), "%s", path);
	ret_place->exists = id_of(path, &ret_place->ids[0]);
	ret_place->count = ret_place->exists;
	snprintf(prefix, sizeof(prefix), "%s", path);
	for (pop(prefix); prefix[0]; pop(prefix))
		ret_place->count += id_of(prefix, &ret_place->ids[ret_place->count]);
	if (strcmp(path, "/") != 0)
		ret_place->count += id_of("/", &ret_place->ids[ret_place->count]);
}

bool plan_path_lies_in(const struct plan_path_place *place, const char *folder)
{
	struct plan_path_id id;

	if (plan_path_is_below(place->path, folder))
		return true;
	if (!id_of(folder, &id))
		return false;
	for (size_t i = 0; i < place->count; i++)
		if (is_same_id(&place->ids[i], &id))
			return true;
	return false;
}

bool plan_path_holds(const struct plan_path_place *place, const char *path, const char *outside)
{
	const struct plan_path_id *wanted = &place->ids[0];
	struct plan_path_id id;
	char prefix[PATH_MAX];

	if (plan_path_is_below(path, place->path))
		return true;
	if (!place->exists)
		return false;
	for (snprintf(prefix, sizeof(prefix), "%s", path); prefix[0]; pop(prefix)) {
		if (outside && strcmp(prefix, outside) == 0)
			return false;
		if (id_of(prefix, &id) && is_same_id(&id, wanted))
			return true;
	}
	return id_of("/", &id) && is_same_id(&id, wanted);
}
