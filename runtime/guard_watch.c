/* SPDX-License-Identifier: Apache-2.0
 * Whether the guards are still in place; see guard_watch.h. Runs in: the agent's reaper. Power: opening
 * needs the root's files; looking needs what a reaper has left, read(2) of two open descriptors. */
#include "runtime/guard_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

enum { MOUNTINFO_MAX = 16 * 1024 * 1024 };

/* --- text ------------------------------------------------------------------------------------ */

struct line {
	uint64_t id;
	const char *place; /* not terminated */
	size_t place_len;
};

/* "ID PARENT MAJOR:MINOR ROOT PLACE …"; returns what follows the line. One that is not of this form gives
 * id 0, which no mount has. */
static const char *parse_line(const char *text, struct line *ret_line)
{
	enum { SPACES_BEFORE_PLACE = 4 };
	const char *end = strchrnul(text, '\n');
	const char *at = text;
	char *after_id;

	*ret_line = (struct line){ 0 };
	for (int i = 0; i < SPACES_BEFORE_PLACE && at; i++) {
		at = memchr(at, ' ', (size_t)(end - at));
		at = at ? at + 1 : NULL;
	}
	if (at) {
		ret_line->id = strtoull(text, &after_id, 10);
		ret_line->place = at;
		while (at < end && *at != ' ')
			at++;
		ret_line->place_len = (size_t)(at - ret_line->place);
		if (*after_id != ' ')
			ret_line->id = 0;
	}
	return *end ? end + 1 : end;
}

static struct guard_place *find(struct guard_place *places, size_t count, uint64_t id)
{
	for (size_t i = 0; i < count; i++)
		if (places[i].id == id)
			return &places[i];
	return NULL;
}

int guard_places_note(struct guard_place *places, size_t count, const char *mountinfo)
{
	struct line line;

	while (*mountinfo) {
		struct guard_place *place;

		mountinfo = parse_line(mountinfo, &line);
		place = find(places, count, line.id);
		if (!place || place->place)
			continue;
		place->place = strndup(line.place, line.place_len);
		if (!place->place)
			return -ENOMEM;
	}
	return 0;
}

const struct guard_place *guard_places_find_lost(struct guard_place *places, size_t count,
						 const char *mountinfo)
{
	struct line line;

	for (size_t i = 0; i < count; i++)
		places[i].seen = false;
	while (*mountinfo) {
		struct guard_place *place;

		mountinfo = parse_line(mountinfo, &line);
		place = find(places, count, line.id);
		if (place && place->place && strlen(place->place) == line.place_len &&
		    memcmp(place->place, line.place, line.place_len) == 0)
			place->seen = true;
	}
	for (size_t i = 0; i < count; i++)
		if (!places[i].seen)
			return &places[i];
	return NULL;
}

/* Whether `place`, with mountinfo's octal escapes, is `path`. */
static bool is_place(const char *place, const char *path)
{
	for (; *place && *path; path++) {
		char byte = *place++;

		if (byte == '\\' && strlen(place) >= 3) {
			byte = (char)((place[0] - '0') << 6 | (place[1] - '0') << 3 |
				      (place[2] - '0'));
			place += 3;
		}
		if (byte != *path)
			return false;
	}
	return !*place && !*path;
}

/* --- the kernel ------------------------------------------------------------------------------ */

static int read_mounts(int mounts_fd, struct buf *ret_text)
{
	if (lseek(mounts_fd, 0, SEEK_SET) < 0)
		return -errno;
	TRY(fd_read_all(mounts_fd, MOUNTINFO_MAX, ret_text));
	return ret_text->data ? 0 : -ENODATA;
}

static int lost(struct err *err, const char *name)
{
	return err_set(
		err, ESTALE,
		"%s was replaced, moved or removed on the host during the run, and what kept "
		"the agent from writing it went with that, so the run was ended; edit such "
		"files in place or between runs",
		name);
}

static int blind(struct err *err, int code)
{
	return err_sys(err, code, "look whether the guarded files are still guarded");
}

static int watch_moves(int moves_fd, const char *path, struct err *err)
{
	if (inotify_add_watch(moves_fd, path, IN_MOVE_SELF | IN_DONT_FOLLOW) >= 0)
		return 0;
	return err_sys(err, errno, "watch %s for being moved%s", path,
		       errno == ENOSPC ? " (sysctl fs.inotify.max_user_watches)" : "");
}

void guard_watch_init(struct guard_watch *watch)
{
	*watch = (struct guard_watch){ .mounts_fd = -1, .moves_fd = -1 };
}

static int open_descriptors(struct guard_watch *watch, int proc_fd, struct err *err)
{
	watch->moves_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch->moves_fd < 0)
		return err_sys(err, errno, "watch the guarded files%s",
			       errno == EMFILE ? " (sysctl fs.inotify.max_user_instances)" : "");
	watch->mounts_fd = openat(proc_fd, "self/mountinfo", O_RDONLY | O_CLOEXEC);
	return watch->mounts_fd < 0 ? blind(err, errno) : 0;
}

int guard_watch_open(struct guard_watch *watch, int proc_fd, const struct mount_guard *guards,
		     size_t count, struct err *err)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	int rc;

	if (count == 0)
		return 0;
	watch->places = calloc(count, sizeof(*watch->places));
	if (!watch->places)
		return blind(err, ENOMEM);
	watch->count = count;
	TRY(open_descriptors(watch, proc_fd, err));
	for (size_t i = 0; i < count; i++) {
		watch->places[i].id = guards[i].id;
		watch->places[i].name = guards[i].op->at;
		if (guards[i].op->kind != MOUNT_MASK)
			TRY(watch_moves(watch->moves_fd, guards[i].op->at, err));
	}
	rc = read_mounts(watch->mounts_fd, &text);
	if (rc == 0)
		rc = guard_places_note(watch->places, count, text.data);
	if (rc < 0)
		return blind(err, -rc);
	for (size_t i = 0; i < count; i++) /* a mask may have been reached by a symbolic link */
		if (!watch->places[i].place ||
		    (guards[i].op->kind != MOUNT_MASK &&
		     !is_place(watch->places[i].place, watch->places[i].name)))
			return lost(err, watch->places[i].name);
	return 0;
}

int guard_watch_check(const struct guard_watch *watch, struct err *err)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	const struct guard_place *gone;
	char events[4096];
	int rc;

	if (watch->count == 0)
		return 0;
	/* What they say is in mountinfo as well; overflow is no loss, and what is left wakes again. */
	(void)!read(watch->moves_fd, events, sizeof(events));
	rc = read_mounts(watch->mounts_fd, &text);
	if (rc < 0)
		return blind(err, -rc);
	gone = guard_places_find_lost(watch->places, watch->count, text.data);
	return gone ? lost(err, gone->name) : 0;
}
