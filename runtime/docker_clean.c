/* SPDX-License-Identifier: Apache-2.0
 *
 * What dead launchers left in Docker: found by its labels, removed if it is ours and the launcher is dead.
 *
 * Ours is what has the name that the plan would give it: labels a container may have of its image, and a
 * value may hold any byte, so each is read as JSON. That a launcher is dead is told by the lock of its run
 * (runtime/state.h), whose path is a label. A path says nothing on another host that has the same daemon:
 * what is of one is told, and left alone. So is a run whose lock cannot be looked at.
 *
 * Runs in: `bottle stop`, `bottle prune`.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "runtime/backend.h"
#include "runtime/docker_names.h"
#include "runtime/docker_run.h"
#include "runtime/host_id.h"

#define STEP "clean"

/* A row of the listing; the strings are the JSON's. */
struct left {
	enum docker_kind kind;
	const char *name, *slug, *bottle, *uid, *pid, *host, *boot_id, *lock;
	pid_t launcher; /* what `pid` says; 0: nothing that is one */
};

enum life { LIFE_DEAD, LIFE_ALIVE, LIFE_OTHER_HOST, LIFE_IN_DOUBT };

/* ---- whose ---- */

static bool has_our_name(const struct left *left)
{
	static const enum docker_part parts[][2] = {
		[DOCKER_CONTAINER] = { DOCKER_PROXY_CONTAINER, DOCKER_AGENT_CONTAINER },
		[DOCKER_NETWORK] = { DOCKER_INTERNAL_NETWORK, DOCKER_EGRESS_NETWORK },
	};

	for (size_t i = 0; i < 2; i++) {
		cleanup_free char *name = docker_names_of(parts[left->kind][i], left->slug);

		if (name && strcmp(left->name, name) == 0)
			return true;
	}
	return false;
}

static bool is_ours(const struct left *left, const char *bottle)
{
	char uid[16];

	snprintf(uid, sizeof(uid), "%u", (unsigned)geteuid());
	return strcmp(left->uid, uid) == 0 && (!bottle || strcmp(left->bottle, bottle) == 0) &&
	       docker_names_is_slug(left->slug, left->bottle) && has_our_name(left) &&
	       left->launcher && state_is_lock(left->lock, left->slug);
}

/* ---- dead or alive ---- */

/* The folder is gone: a run's that ended, or was swept. Or it is one that we are not shown. */
static enum life life_without_lock(const struct left *left)
{
	char boot_id[HOST_BOOT_ID_SIZE];

	host_boot_id(boot_id);
	if (boot_id[0] && left->boot_id[0] && strcmp(left->boot_id, boot_id) != 0)
		return LIFE_DEAD;
	return kill(left->launcher, 0) < 0 && errno == ESRCH ? LIFE_DEAD : LIFE_IN_DOUBT;
}

static enum life life_of(const struct left *left)
{
	cleanup_fd int fd = -1;
	char host[HOST_ID_SIZE];
	struct stat st;

	host_id(host);
	if (strcmp(left->host, host) != 0)
		return LIFE_OTHER_HOST;
	fd = open(left->lock, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? life_without_lock(left) : LIFE_ALIVE;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return LIFE_ALIVE; /* not for us to say */
	return flock(fd, LOCK_SH | LOCK_NB) == 0 ? LIFE_DEAD : LIFE_ALIVE;
}

/* ---- the listing ---- */

static const char *const labels[] = { "slug", "name", "uid", "pid", "host", "boot-id", "lock" };
enum { LABEL_COUNT = sizeof(labels) / sizeof(labels[0]) };

/* Docker: a JSON array for each line, [name, label...], since its own JSON runs the labels together.
 * Podman has no such function, and prints one array of objects. */
static int list(bool is_podman, enum docker_kind kind, struct buf *out, struct err *err)
{
	cleanup_with(buf_clear) struct buf format = { 0 };

	buf_puts(&format, kind == DOCKER_CONTAINER ? "[{{json .Names}}" : "[{{json .Name}}");
	for (size_t i = 0; i < LABEL_COUNT; i++)
		buf_printf(&format, ",{{json (.Label \"bottle.%s\")}}", labels[i]);
	buf_puts(&format, "]");
	if (format.failed)
		return err_sys(err, ENOMEM, STEP);
	if (kind == DOCKER_CONTAINER)
		return DOCKER_CALL(STEP, out, err, "ps", "--all", "--filter", "label=bottle.slug",
				   "--format", is_podman ? "json" : format.data);
	return DOCKER_CALL(STEP, out, err, "network", "ls", "--filter", "label=bottle.slug",
			   "--format", is_podman ? "json" : format.data);
}

static const json_t *label_of(const json_t *row, size_t which)
{
	char name[24];
	const json_t *map = json_object_get(row, "Labels");

	if (json_is_array(row))
		return json_array_get(row, 1 + which);
	snprintf(name, sizeof(name), "bottle.%s", labels[which]);
	return json_object_get(map ? map : json_object_get(row, "labels"), name);
}

static const json_t *name_of(const json_t *row)
{
	const json_t *names = json_object_get(row, "Names");

	if (json_is_array(row))
		return json_array_get(row, 0);
	return names ? json_array_get(names, 0) : json_object_get(row, "name");
}

static bool parse(const json_t *row, enum docker_kind kind, struct left *ret)
{
	const char **const fields[LABEL_COUNT] = { &ret->slug, &ret->bottle,  &ret->uid, &ret->pid,
						   &ret->host, &ret->boot_id, &ret->lock };
	unsigned long long pid;

	ret->kind = kind;
	ret->name = json_string_value(name_of(row));
	for (size_t i = 0; i < LABEL_COUNT; i++) {
		*fields[i] = json_string_value(label_of(row, i));
		if (!*fields[i])
			return false;
	}
	ret->launcher = str_to_u64(ret->pid, 2, INT_MAX, &pid) == 0 ? (pid_t)pid : 0;
	return ret->name;
}

/* ---- removal ---- */

static int leave(const struct left *left, enum life life, struct strlist *notes)
{
	struct err why;

	if (life == LIFE_IN_DOUBT)
		err_set(&why, EBUSY,
			"%s was left alone: its run's folder is gone, but process %s is there",
			left->name, left->pid);
	else
		err_set(&why, EBUSY, "%s was left alone: %s", left->name,
			left->host[0] ? "it is another host's, where it may be alive"
				      : "it does not say which host's it is (an older bottle's)");
	return docker_remove_warn(left->kind, left->name, &why, notes);
}

static int consider(const struct left *left, struct cleaned *cleaned)
{
	enum life life = life_of(left);
	struct err why;

	if (life == LIFE_ALIVE)
		return 0;
	if (life != LIFE_DEAD)
		return leave(left, life, &cleaned->notes);
	cleaned->count++;
	if (docker_remove(left->kind, left->name, &why) < 0)
		return docker_remove_warn(left->kind, left->name, &why, &cleaned->warnings);
	return 0;
}

/* The listing as an array. A line that is no JSON is none of ours. */
static json_t *rows_of(bool is_podman, struct buf *listing)
{
	json_t *rows = is_podman ? json_loadb(listing->data, listing->len, 0, NULL) : json_array();
	char *save = NULL;

	for (char *line = is_podman ? NULL : strtok_r(listing->data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		json_array_append_new(rows, json_loads(line, 0, NULL));
	return rows;
}

static int clean_kind(bool is_podman, enum docker_kind kind, const char *bottle,
		      struct cleaned *cleaned, struct err *err)
{
	cleanup_with(buf_clear) struct buf out = { 0 };
	cleanup_with(json_clear) json_t *rows = NULL;
	const json_t *row;
	size_t i;

	TRY(list(is_podman, kind, &out, err));
	rows = out.data ? rows_of(is_podman, &out) : NULL;
	if (out.len && !json_is_array(rows))
		return err_set(err, EPROTO, STEP ": what the engine listed is no JSON array");
	json_array_foreach(rows, i, row)
	{
		struct left left;

		if (parse(row, kind, &left) && is_ours(&left, bottle) &&
		    consider(&left, cleaned) < 0)
			return err_sys(err, ENOMEM, STEP);
	}
	return 0;
}

/* Containers first: a network that one is on does not go. */
int docker_clean(const char *name, struct cleaned *cleaned, struct err *err)
{
	cleanup_with(docker_engine_clear) struct docker_engine engine = { 0 };
	int rc = docker_engine_ask(&engine, err);

	if (rc == -EREMOTEIO || rc == -ETIMEDOUT)
		return -ENOTCONN;
	TRY(rc);
	TRY(clean_kind(engine.is_podman, DOCKER_CONTAINER, name, cleaned, err));
	return clean_kind(engine.is_podman, DOCKER_NETWORK, name, cleaned, err);
}
