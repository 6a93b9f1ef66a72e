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
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "runtime/backend.h"
#include "runtime/commands.h"
#include "runtime/host_id.h"
#include "runtime/process_hold.h"
#include "runtime/state.h"

/* How long a launcher may take over it: the agent's 10 s, and its own work. */
static const struct {
	int signal;
	unsigned seconds;
} requests[] = { { SIGTERM, 30 }, { SIGTERM, 20 }, { SIGKILL, 10 } };

struct search {
	const struct state *state;
	const char *name;
	struct cleaned *cleaned;
	int rc;
};

/* ---- ending a live one ---- */

static void on_alarm(int number)
{
	(void)number; /* flock(2) returns EINTR: that is all */
}

static bool is_free(int lock_fd)
{
	return flock(lock_fd, LOCK_SH | LOCK_NB) == 0;
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

/* The lock was seen to be held, so the pid in its folder was a living launcher's. It is held before the lock
 * is tested again: while that is taken the launcher lives, and what we hold is no other that has its
 * number now. */
static int end_run(const struct search *search, const char *folder, pid_t pid)
{
	cleanup_free char *path = str_printf("%s/lock", folder);
	cleanup_fd int lock_fd = path ? openat(search->state->runtime_fd, path,
					       O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
				      : -1;
	cleanup_fd int process_fd = -1;
	int rc;

	if (lock_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	rc = process_hold(pid, &process_fd);
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		if (is_free(lock_fd))
			return 0;
		if (rc == 0)
			rc = process_hold_signal(process_fd, pid, requests[i].signal);
		if (rc < 0) /* it may have ended between the two */
			return is_free(lock_fd) ? 0 : rc;
		if (await_lock(lock_fd, requests[i].seconds) == 0)
			return 0;
	}
	return -ETIMEDOUT;
}

static void consider(void *ctx, const char *folder, const char *info)
{
	struct search *search = ctx;
	cleanup_with(json_clear) json_t *value = json_loads(info, 0, NULL);
	const char *name = json_string_value(json_object_get(value, "name"));
	json_int_t pid = json_integer_value(json_object_get(value, "pid"));
	const char *host = json_string_value(json_object_get(value, "host"));
	char here[HOST_ID_SIZE];
	int rc;

	if (!name || strcmp(name, search->name) != 0 || pid <= 1)
		return;
	host_id(here);
	if (host && strcmp(host, here) != 0) { /* a home folder that two hosts share */
		if (strlist_addf(&search->cleaned->notes,
				 "a bottle %s runs on another host, or in another container: stop "
				 "it there",
				 search->name) < 0)
			search->rc = -ENOMEM;
		return;
	}
	search->cleaned->count++;
	rc = end_run(search, folder, (pid_t)pid);
	if (rc < 0 && strlist_addf(&search->cleaned->warnings,
				   "bottle %s does not end (%s); to end it by hand: kill -9 %lld",
				   search->name, strerror(-rc), (long long)pid) < 0)
		search->rc = -ENOMEM;
}

/* The folders of dead runs, whatever they were made with. */
static int sweep(struct state *state, void *ctx, struct err *err)
{
	struct cleaned *cleaned = ctx;

	(void)err;
	cleaned->count += state_sweep(state, &cleaned->warnings);
	return 0;
}

/* What the dead have left first, so that nothing of it is taken for a live one's. */
static int end_named(struct state *state, void *ctx, struct err *err)
{
	struct search *search = ctx;

	search->state = state;
	search->cleaned->count += state_sweep_name(state, search->name, &search->cleaned->warnings);
	TRY(state_list(state, consider, search, err));
	/* What one that had to be killed has left: it is counted already. */
	(void)state_sweep_name(state, search->name, &search->cleaned->warnings);
	return search->rc < 0 ? err_sys(err, -search->rc, "stop") : 0;
}

/* ---- both commands ---- */

/* BOTTLE_BACKEND leaves the others alone. One that is not there has nothing to be removed; one that does not
 * answer is no failure for who did not ask for it: a docker CLI alone says nothing. */
static int clean(const char *name, struct cleaned *cleaned, struct err *err)
{
	const char *only = getenv("BOTTLE_BACKEND");
	const bool is_one = only && *only && strcmp(only, "auto") != 0;
	const struct backend *backend;

	for (size_t i = 0; (backend = backend_at(i)); i++) {
		struct strlist *told = &cleaned->warnings;
		struct err why = { "" };
		int rc;

		if (is_one && strcmp(only, backend->name) != 0)
			continue;
		rc = backend->clean(name, cleaned, &why);
		if (rc == -ENOENT)
			continue;
		if (rc == -ENOTCONN && !is_one)
			told = &cleaned->notes;
		if (rc < 0 && strlist_addf(told, "not looked for what %s has left: %s",
					   backend->name, why.text) < 0)
			return err_sys(err, ENOMEM, "clean");
	}
	return 0;
}

static void cleaned_clear(struct cleaned *cleaned)
{
	strlist_clear(&cleaned->warnings);
	strlist_clear(&cleaned->notes);
}

static int tell(int rc, const struct err *err, const struct cleaned *cleaned, const char *what,
		const char *nothing)
{
	for (size_t i = 0; i < cleaned->notes.len; i++)
		log_warning("%s", cleaned->notes.items[i]);
	for (size_t i = 0; i < cleaned->warnings.len; i++)
		log_warning("%s", cleaned->warnings.items[i]);
	if (rc < 0) {
		log_error("%s", err->text);
		return EXIT_BOTTLE_FAILED;
	}
	if (cleaned->count)
		printf("%s: %zu\n", what, cleaned->count);
	else
		printf("%s\n", nothing);
	return cleaned->warnings.len ? EXIT_BOTTLE_FAILED : 0;
}

int cmd_stop(int argc, char **argv)
{
	cleanup_with(cleaned_clear) struct cleaned cleaned = { 0 };
	struct search search = { .cleaned = &cleaned };
	struct err err = { "" };
	int rc;

	if (argc != 2 || argv[1][0] == '-') {
		log_error("usage: bottle stop NAME");
		return EXIT_BOTTLE_FAILED;
	}
	if (!state_is_name(argv[1])) {
		char shown[128];

		log_error("stop: '%s' is no name of a bottle: one is [a-z0-9][a-z0-9-]{0,40}",
			  str_escape(shown, sizeof(shown), argv[1], strlen(argv[1])));
		return EXIT_BOTTLE_FAILED;
	}
	search.name = argv[1];
	rc = state_each(end_named, &search, &err);
	if (rc == 0)
		rc = clean(argv[1], &cleaned, &err);
	return tell(rc, &err, &cleaned, "stopped", "no bottle of that name was running");
}

int cmd_prune(int argc, char **argv)
{
	cleanup_with(cleaned_clear) struct cleaned cleaned = { 0 };
	struct err err = { "" };
	int rc;

	(void)argv;
	if (argc != 1) {
		log_error("usage: bottle prune");
		return EXIT_BOTTLE_FAILED;
	}
	/* The folders last: a lock is the better witness. */
	rc = clean(NULL, &cleaned, &err);
	if (rc == 0)
		rc = state_each(sweep, &cleaned, &err);
	return tell(rc, &err, &cleaned, "removed", "nothing was left to remove");
}
