/* SPDX-License-Identifier: Apache-2.0
 *
 * What a guarded file or folder was when the plan was made, to be compared when the run has ended: the
 * second line behind the mounts that guard it (guard_watch.h), for the moment in which one is gone and the
 * agent not yet. Runs in: launcher.
 */
#ifndef RUNTIME_GUARD_MARK_H
#define RUNTIME_GUARD_MARK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"

struct guard_mark {
	uint64_t dev;
	uint64_t ino;
	struct timespec born; /* zero where the filesystem does not say */
	struct timespec changed;
};

/* Of what `fd` (also O_PATH) is open on: guard_mark_linux.c, guard_mark_posix.c. */
int guard_mark_take(int fd, struct guard_mark *ret_mark) MUST_CHECK;

/* Whether something stands at `path` now that is not what was marked: another file, or one that cannot be
 * reached. With `content`, also the same file where anything of it was changed (its ctime). What is gone is
 * obeyed by nobody, and no difference. */
bool guard_mark_differs(const struct guard_mark *mark, const char *path, bool content);

#endif
