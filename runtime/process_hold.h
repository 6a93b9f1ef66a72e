/* SPDX-License-Identifier: Apache-2.0
 *
 * Signalling a process that is not our child. Where the system has descriptors of processes, the one that
 * was held is signalled, or none: never another that was given its number since.
 * process_hold_linux.c and process_hold_posix.c are two ways to it.
 *
 * Runs in: `bottle stop`.
 */
#ifndef RUNTIME_PROCESS_HOLD_H
#define RUNTIME_PROCESS_HOLD_H

#include <sys/types.h>

#include "base/err.h"

/* *ret_fd is the process's, close-on-exec, or -1 where the system has no such thing. 0 or -errno; -ESRCH:
 * there is no such process. */
int process_hold(pid_t pid, int *ret_fd) MUST_CHECK;

/* `fd` is what process_hold gave for `pid`. 0 or -errno; -ESRCH: it has ended. */
int process_hold_signal(int fd, pid_t pid, int number) MUST_CHECK;

#endif
