/* SPDX-License-Identifier: Apache-2.0
 *
 * The terminal. The agent has a pty of its own, made on its own devpts, so it can neither stuff
 * keys into the caller's terminal (TIOCSTI, TIOCLINUX) nor change its modes; one process of ours
 * copies between that pty's master and the caller's terminal and owns the terminal's modes.
 *
 *   caller's terminal (raw)  <->  tty process  <->  master | slave  <->  the agent's session
 *
 * In raw mode ^C and ^Z are bytes for the bottle's pty, whose line discipline signals the agent's
 * foreground group. Job control from the launcher's loop:
 *
 *   reaper says: the agent's group stopped  ->  tty_suspend, raise(SIGSTOP)
 *   shell says `fg`: SIGCONT                ->  tty_resume, tell the reaper to continue it
 *
 * Window size: the process takes SIGWINCH itself. In the background (`bottle run … &`) it sets no
 * modes and reads nothing, and looks twice a second whether it came to the foreground: a shell
 * tells nobody when the job was not stopped. If the launcher dies, the modes are set back.
 *
 * Escape sequences from inside go to the terminal as they are: a full-screen program needs them,
 * and the caller chose a terminal. A pipe (`… | cat -v`) shows them. What is still unread when
 * the terminal is given back is thrown away, lest a terminal's answer to the agent's last query
 * be typed into the caller's shell.
 *
 * After `confine` it uses: read, write, poll, close, recvmsg, sendto, fcntl (F_GETFL, F_SETFL),
 * ioctl (TCGETS, TCSETS, TCSETSF, TIOCGWINSZ, TIOCSWINSZ, TIOCGPGRP), getpgrp, rt_sigreturn,
 * clock_gettime, exit_group.
 */
#ifndef RUNTIME_TTY_H
#define RUNTIME_TTY_H

#include <stdint.h>

#include "base/err.h"
#include "runtime/stdio.h"

struct tty {
	int pidfd;	/* -1: there is no terminal, and every function below does nothing */
	int control_fd; /* SOCK_SEQPACKET */
};

void tty_init(struct tty *tty);

/* Forks the process, as early as relay_start; with plan->has_tty false does nothing. */
int tty_start(const struct stdio_plan *plan, int (*confine)(struct err *err), struct tty *ret_tty,
	      struct err *err) MUST_CHECK;

/* Waits until it is confined; its own sentence otherwise. */
int tty_ready(struct tty *tty, struct err *err) MUST_CHECK;

/* Hands it the pty's master (borrowed, duplicated by the message; close yours) and, when we are in
 * the foreground, puts the terminal in raw mode. Nothing is copied before. */
int tty_attach(struct tty *tty, int master_fd, struct err *err) MUST_CHECK;

/* Writes out what the bottle printed so far, sets the terminal's modes back, stops copying; returns
 * once that is done, or after two seconds when the terminal takes no output. */
int tty_suspend(struct tty *tty, struct err *err) MUST_CHECK;

/* Copies again; raw mode where we are in the foreground, else output only. */
int tty_resume(struct tty *tty, struct err *err) MUST_CHECK;

/* After the bottle's last process died: writes out what is left, sets the modes back, reaps.
 * -EINTR as relay_finish; -ETIMEDOUT with a sentence at deadline_ms (clock.h), after tty_clear. */
int tty_finish(struct tty *tty, int signal_fd, int64_t deadline_ms, struct err *err) MUST_CHECK;

/* Asks it to set the modes back and go without writing what is left, waits for at most a second,
 * kills, reaps, closes. */
void tty_clear(struct tty *tty);

/* The modes for the bottle's pty: those of the caller's terminal, and its size (0×0 where it has none).
 * In the background what the terminal has is somebody else's, such as the raw modes of a shell's line
 * editor, which `fg` never shows us again: where they are not canonical with echo, `stty sane`.
 * 0 or -1 with errno. */
int tty_modes_take(int terminal_fd, struct tty_modes *ret_modes) MUST_CHECK;

/* For the one who makes the pty: gives its slave the caller's modes and size. */
int tty_modes_apply(const struct tty_modes *modes, int slave_fd, struct err *err) MUST_CHECK;

#endif
