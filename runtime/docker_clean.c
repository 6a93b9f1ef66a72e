/* SPDX-License-Identifier: Apache-2.0
 *
 * What dead launchers left in Docker: found by its labels, removed if the launcher is dead. That is told by
 * the lock of its run (runtime/state.h), whose path is a label; a stored pid says nothing. A run whose
 * lock cannot be looked at is another's, and is left alone.
 *
 * Runs in: `bottle stop`, `bottle prune`.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "runtime/docker_run.h"

#define STEP "clean"

/* One line of the listing, cut in place. */
struct left {
	const char *name, *bottle, *uid, *lock;
};

static bool cut(char *line, struct left *ret)
{
	const char **const fields[] = { &ret->name, &ret->bottle, &ret->uid, &ret->lock };

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		char *tab = strchr(line, '\t');

		*fields[i] = line;
		if (!tab)
			return i + 1 == sizeof(fields) / sizeof(fields[0]);
		*tab = '\0';
		line = tab + 1;
	}
	return false;
}

/* 1: dead; 0: alive, or not for us to say. A folder that is gone was a run's that ended, or was swept. */
static bool is_dead(const char *lock)
{
	cleanup_fd int fd = open(lock, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT;
	return flock(fd, LOCK_SH | LOCK_NB) == 0;
}

static bool is_ours(const struct left *left, const char *bottle)
{
	char uid[16];

	snprintf(uid, sizeof(uid), "%u", (unsigned)geteuid());
	return strcmp(left->uid, uid) == 0 && (!bottle || strcmp(left->bottle, bottle) == 0) &&
	       is_dead(left->lock);
}

static int list(enum docker_kind kind, struct buf *out, struct err *err)
{
	static const char fields[] = "\t{{.Label \"bottle.name\"}}\t{{.Label \"bottle.uid\"}}"
				     "\t{{.Label \"bottle.lock\"}}";
	cleanup_free char *format = str_printf(
		"%s%s", kind == DOCKER_CONTAINER ? "{{.Names}}" : "{{.Name}}", fields);

	if (!format)
		return err_sys(err, ENOMEM, STEP);
	if (kind == DOCKER_CONTAINER)
		return DOCKER_CALL(STEP, out, err, "ps", "--all", "--filter", "label=bottle.slug",
				   "--format", format);
	return DOCKER_CALL(STEP, out, err, "network", "ls", "--filter", "label=bottle.slug",
			   "--format", format);
}

static int clean_kind(enum docker_kind kind, const char *bottle, size_t *count,
		      struct strlist *warnings, struct err *err)
{
	cleanup_with(buf_clear) struct buf out = { 0 };
	char *save = NULL;

	TRY(list(kind, &out, err));
	for (char *line = out.data ? strtok_r(out.data, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		struct left left;
		struct err why;

		if (!cut(line, &left) || !is_ours(&left, bottle))
			continue;
		(*count)++;
		if (docker_remove(kind, left.name, &why) < 0 &&
		    docker_remove_warn(kind, left.name, &why, warnings) < 0)
			return err_sys(err, ENOMEM, STEP);
	}
	return 0;
}

/* Containers first: a network that one is on does not go. */
int docker_clean(const char *name, size_t *count, struct strlist *warnings, struct err *err)
{
	TRY(clean_kind(DOCKER_CONTAINER, name, count, warnings, err));
	return clean_kind(DOCKER_NETWORK, name, count, warnings, err);
}
