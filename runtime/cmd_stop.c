/* SPDX-License-Identifier: Apache-2.0
 *
 * `bottle stop NAME` and `bottle prune`, for every backend. Runs in: launcher.
 *
 * A bottle that runs is ended by its own launcher, which is asked with SIGTERM as anybody would: it gives
 * the agent its time and takes everything down. Its end is told by its lock. Only what a launcher that
 * is dead has left is removed from here.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "runtime/backend.h"
#include "runtime/commands.h"
#include "runtime/state.h"

/* How long a launcher may take over it: the agent's 10 s, and its own work. */
static const struct {
	int signal;
	unsigned seconds;
} requests[] = { { SIGTERM, 30 }, { SIGTERM, 20 }, { SIGKILL, 10 } };

struct search {
	const struct state *state;
	const char *name;
	size_t count;
	struct strlist *warnings;
	int rc;
};

/* ---- ending a live one ---- */

static void on_alarm(int number)
{
	(void)number; /* flock(2) returns EINTR: that is all */
}

/* 0: the lock is free, so its launcher is dead. -EINTR: not within so many seconds. */
static int await_lock(int lock_fd, unsigned seconds)
{
	struct sigaction action = { .sa_handler = on_alarm }, old;
	int rc;

	sigemptyset(&action.sa_mask);
	sigaction(SIGALRM, &action, &old);
	alarm(seconds);
	rc = flock(lock_fd, LOCK_SH) < 0 ? -errno : 0;
	alarm(0);
	sigaction(SIGALRM, &old, NULL);
	return rc;
}

/* The lock was seen to be held, so the pid in its folder is a living launcher's. */
static int end_run(const struct search *search, const char *folder, pid_t pid)
{
	cleanup_free char *path = str_printf("%s/lock", folder);
	cleanup_fd int lock_fd = path ? openat(search->state->runtime_fd, path,
					       O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
				      : -1;

	if (lock_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		if (flock(lock_fd, LOCK_SH | LOCK_NB) == 0)
			return 0;
		if (kill(pid, requests[i].signal) < 0)
			return -errno;
		if (await_lock(lock_fd, requests[i].seconds) == 0)
			return 0;
	}
	return -ETIMEDOUT;
}

static void json_clear(json_t **value)
{
	json_decref(*value);
}

static void consider(void *ctx, const char *folder, const char *info)
{
	struct search *search = ctx;
	cleanup_with(json_clear) json_t *value = json_loads(info, 0, NULL);
	const char *name = json_string_value(json_object_get(value, "name"));
	json_int_t pid = json_integer_value(json_object_get(value, "pid"));
	int rc;

	if (!name || strcmp(name, search->name) != 0 || pid <= 1)
		return;
	search->count++;
	rc = end_run(search, folder, (pid_t)pid);
	if (rc < 0 && strlist_addf(search->warnings,
				   "bottle %s does not end (%s); to end it by hand: kill -9 %lld",
				   search->name, strerror(-rc), (long long)pid) < 0)
		search->rc = -ENOMEM;
}

/* The folders of dead runs, whatever they were made with. */
static int sweep(size_t *count, struct strlist *warnings, struct err *err)
{
	cleanup_with(state_clear) struct state state;

	state_init(&state);
	TRY(state_open(&state, err));
	*count += state_sweep(&state, warnings);
	return 0;
}

static int end_live(const char *name, size_t *count, struct strlist *warnings, struct err *err)
{
	cleanup_with(state_clear) struct state state;
	struct search search = { .state = &state, .name = name, .warnings = warnings };

	state_init(&state);
	TRY(state_open(&state, err));
	TRY(state_list(&state, consider, &search, err));
	*count += search.count;
	return search.rc < 0 ? err_sys(err, -search.rc, "stop") : 0;
}

/* ---- both commands ---- */

/* BOTTLE_BACKEND leaves the others alone. One that is not there has nothing to be removed. */
static int clean(const char *name, size_t *count, struct strlist *warnings, struct err *err)
{
	const char *only = getenv("BOTTLE_BACKEND");
	const struct backend *backend;

	for (size_t i = 0; (backend = backend_at(i)); i++) {
		struct err why = { "" };
		int rc;

		if (only && *only && strcmp(only, "auto") != 0 && strcmp(only, backend->name) != 0)
			continue;
		rc = backend->clean(name, count, warnings, &why);
		if (rc == -ENOENT)
			continue;
		if (rc < 0 && strlist_addf(warnings, "not looked for what %s has left: %s",
					   backend->name, why.text) < 0)
			return err_sys(err, ENOMEM, "clean");
	}
	return 0;
}

static int tell(int rc, const struct err *err, const struct strlist *warnings, const char *what,
		size_t count)
{
	for (size_t i = 0; i < warnings->len; i++)
		log_warning("%s", warnings->items[i]);
	if (rc < 0) {
		log_error("%s", err->text);
		return EXIT_BOTTLE_FAILED;
	}
	if (count)
		printf("%s: %zu\n", what, count);
	else
		printf("%s: nothing was there\n", what);
	return warnings->len ? EXIT_BOTTLE_FAILED : 0;
}

int cmd_stop(int argc, char **argv)
{
	cleanup_with(strlist_clear) struct strlist warnings = { 0 };
	struct err err = { "" };
	size_t count = 0;
	int rc;

	if (argc != 2 || argv[1][0] == '-') {
		log_error("usage: bottle stop NAME");
		return EXIT_BOTTLE_FAILED;
	}
	rc = end_live(argv[1], &count, &warnings, &err);
	if (rc == 0)
		rc = clean(argv[1], &count, &warnings, &err);
	return tell(rc, &err, &warnings, "stopped", count);
}

int cmd_prune(int argc, char **argv)
{
	cleanup_with(strlist_clear) struct strlist warnings = { 0 };
	struct err err = { "" };
	size_t count = 0;
	int rc;

	(void)argv;
	if (argc != 1) {
		log_error("usage: bottle prune");
		return EXIT_BOTTLE_FAILED;
	}
	rc = sweep(&count, &warnings, &err);
	if (rc == 0)
		rc = clean(NULL, &count, &warnings, &err);
	return tell(rc, &err, &warnings, "removed", count);
}
