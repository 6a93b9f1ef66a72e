/* SPDX-License-Identifier: Apache-2.0
 *
 * The messages between the launcher and the processes of a bottle: fixed-size, one per datagram of
 * a SOCK_SEQPACKET pair made before any of them was forked. Upward they carry facts (descriptors,
 * exit statuses, the error of the step that failed), downward permissions (maps done, go, signal).
 * Both ends are this same binary; yet what comes up from a process that shares a kernel user with
 * the agent is checked like any foreign input.
 */
#ifndef RUNTIME_WIRE_H
#define RUNTIME_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum wire_type {
	/* upward */
	WIRE_FAILED = 1,  /* value: errno; err: sentence; step: which step */
	WIRE_MAPS_WANTED, /* init: namespaces made, waits for its id maps */
	WIRE_LISTENERS,	  /* init: fds = the gate's sockets, in netns_open_listeners' order */
	WIRE_FILES, /* reaper: fds = empty files for the launcher to fill, in the plan's order */
	WIRE_PTY,   /* agent's reaper: fds = the pty's master */
	WIRE_BUILT, /* child: powers gone, proofs held, waits for WIRE_GO */
	WIRE_EXEC_FAILED, /* child: value: errno of execve */
	WIRE_PORT_OPEN,	  /* init: the proxy's port accepts */
	WIRE_STOPPED,	  /* reaper: value: signal that stopped its child */
	WIRE_EXITED,	  /* reaper: value: wait status of its child */
	/* downward */
	WIRE_MAPS_DONE, /* to init */
	WIRE_GO, /* to a child; the proxy's carries its token environment behind the message */
	WIRE_FOREGROUND, /* to the agent's reaper: give its child the terminal, and continue it */
	WIRE_SIGNAL,	 /* to a reaper: value: signal for its child's process group */
	WIRE_WATCH_PORT, /* to init: tell WIRE_PORT_OPEN (an image that knows no ready descriptor) */
};

enum { WIRE_STEP_BYTES = 32, WIRE_EXTRA_MAX = 128 * 1024 };

/* The step of a WIRE_FAILED of the agent's reaper, where a file was guarded no longer. */
#define WIRE_STEP_GUARD "guard"

struct wire_msg {
	uint32_t type;
	int32_t value;
	char step[WIRE_STEP_BYTES];
	struct err err;
};

/* A connected pair, close-on-exec; ret_fds[0] for the launcher, [1] for the other. */
int wire_pair(int ret_fds[static 2]) MUST_CHECK;

/* Sends a message with descriptors (borrowed). */
int wire_send(int fd, enum wire_type type, int value, const int *fds, size_t fd_count) MUST_CHECK;

/* The same without descriptors, and without waiting: -EAGAIN where the other end has not read enough. */
int wire_try_send(int fd, enum wire_type type, int value) MUST_CHECK;

/* Sends WIRE_FAILED; there is nobody else to tell when that fails too. */
void wire_send_failed(int fd, const char *step, int rc, const struct err *err);

/* Receives one message and its descriptors. Returns 1, 0 when the peer is gone, or -errno. The text
 * is NUL-terminated whatever came. */
int wire_recv(int fd, struct wire_msg *ret_msg, int *fds, size_t max_fds,
	      size_t *ret_fd_count) MUST_CHECK;

/* Waits for one message of this type without descriptors; -EPIPE when the launcher is gone. */
int wire_expect(int fd, enum wire_type type, struct err *err) MUST_CHECK;

#endif
