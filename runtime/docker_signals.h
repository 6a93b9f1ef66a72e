/* SPDX-License-Identifier: Apache-2.0
 *
 * Signals as bytes on a pipe: the end of a child and what asks for the end of the run, to be waited for
 * in poll(2) beside everything else. Made of POSIX alone, unlike session_signals.c: the Docker backend
 * is compiled where there is no signalfd(2).
 *
 * Runs in: the launcher of the Docker backend, `bottle stop` and `bottle prune`.
 */
#ifndef RUNTIME_DOCKER_SIGNALS_H
#define RUNTIME_DOCKER_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

#include "base/err.h"

/* What came since the last docker_signals_take. */
struct docker_signal {
	int number;	    /* of a signal that asks for something; 0: none but SIGCHLD */
	bool from_terminal; /* the kernel sent it to the whole foreground group: the CLI has it too */
};

/* Catches them, the first time it is called; what the caller ignores stays ignored. */
int docker_signals_init(struct err *err) MUST_CHECK;

/* Readable when a signal has come. */
int docker_signals_fd(void);

/* Empties the pipe; the first signal that asked for something, later ones are counted by a next call. */
struct docker_signal docker_signals_take(void);

/* The signals whose handling a program that is executed must not inherit from us. */
void docker_signals_defaults(sigset_t *ret_set);

#endif
