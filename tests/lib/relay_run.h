/* SPDX-License-Identifier: Apache-2.0
 *
 * A launcher in small, for the tests of descriptors and relays: a child whose 0, 1 and 2 are set as the
 * test wants, which starts the relays as the real launcher does, forks an "agent" wired to them, and
 * finishes. Everything here runs in a forked child of a test and uses no assertion.
 */
#ifndef TESTS_LIB_RELAY_RUN_H
#define TESTS_LIB_RELAY_RUN_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "runtime/relay.h"

enum { REPORT_FD = 200, CLOSED = -1, KEPT = -2, BIG = 5 * 1024 * 1024 + 321 };

#define CHECK(expr)                                                                             \
	do {                                                                                    \
		if (!(expr)) {                                                                  \
			dprintf(REPORT_FD, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #expr, \
				errno);                                                         \
			return 1;                                                               \
		}                                                                               \
	} while (0)

/* Confines a relay as the launcher does; a sanitizer's runtime needs more than the filter allows. */
int relay_run_confine(struct err *err);

struct run {
	int fds[3]; /* what becomes 0, 1 and 2; CLOSED, or KEPT: as it is */
	int (*agent)(void);
	void (*while_running)(
		struct relay *relay); /* in the launcher, before the agent is waited for */
	/* results */
	struct stdio_plan plan;
	int agent_status;
	int finish_rc;
	struct err err;
};

/* Makes 0, 1 and 2 of the calling process what fds say. 0, or 1 after a line on REPORT_FD. */
int set_fds(const int fds[3]);

/* The launcher's story, from the descriptors to the end. 0 when it could be told. */
int do_run(struct run *run);

/* The same, where agent and relays must both end well. */
int run_whole(struct run *run);

/* Runs the launcher in the background, so that the test can be the other end. */
struct background {
	pid_t pid;
	struct run run;
	int other_fd; /* the test's end: not the launcher's to hold */
};

void start_run(struct background *bg, int (*fn)(struct run *run));
int wait_run(struct background *bg);

/* An unnamed file, open for reading and writing. */
int temp_file(void);

/* Writes the first `len` bytes of a fixed pattern; checks that all to the end of file is the pattern
 * and returns how much it was, or -1. */
unsigned char pattern(size_t i);
int write_pattern(int fd, size_t len);
ssize_t read_pattern(int fd);

bool is_fifo(int fd);
bool is_null(int fd);
pid_t pid_of(int pidfd);

#endif
