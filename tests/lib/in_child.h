/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a function in a forked child that always ends by _exit(2). Criterion's workers have two
 * threads, so `unshare(CLONE_NEWUSER)` fails in them, and a child that returns or asserts there hangs
 * the run; a forked child has one thread and may unshare.
 */
#ifndef TESTS_LIB_IN_CHILD_H
#define TESTS_LIB_IN_CHILD_H

#include <stdio.h>

enum { IN_CHILD_TIMEOUT_MS = 20000, IN_CHILD_SKIP = 77 };

/* Forks, runs fn(arg), ends with its value (0 to 125) as exit status, and returns that status; 128 + n
 * when signal n ended it; -ETIMEDOUT (after killing the child's whole process group) when it took
 * longer than IN_CHILD_TIMEOUT_MS; another -errno when it could not be started. The child dies with
 * its parent. What it writes to stderr appears in the test's output; it must use no assertion. */
int in_child(int (*fn)(void *arg), void *arg);
int in_child_for(int timeout_ms, int (*fn)(void *arg), void *arg);

/* The child's assertion: says what was not so and ends the child's function with status 1. */
#define CHILD_CHECK(cond)                                                                      \
	do {                                                                                   \
		if (!(cond)) {                                                                 \
			fprintf(stderr, "%s:%d: not so: %s (errno: %m)\n", __FILE__, __LINE__, \
				#cond);                                                        \
			return 1;                                                              \
		}                                                                              \
	} while (0)

#endif
