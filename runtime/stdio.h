/* SPDX-License-Identifier: Apache-2.0
 *
 * What the agent gets as its descriptors 0, 1 and 2. It never holds one of the caller's: a socket
 * would be a way onto the host's network, and a file could be reopened with other rights through
 * /proc/self/fd. Each of the three is looked at alone:
 *
 *   closed, /dev/null     the bottle's own /dev/null
 *   a terminal            the bottle's own pty (tty.h); a second, different terminal is relayed
 *   anything else         a pipe of ours, copied by a process of its own (relay.h)
 *
 * Runs in: the launcher (stdio_inspect, stdio_release), the agent's process (stdio_wire).
 */
#ifndef RUNTIME_STDIO_H
#define RUNTIME_STDIO_H

#include <stdbool.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "base/err.h"

enum stdio_kind { STDIO_NULL, STDIO_TTY, STDIO_RELAY };

/* Modes and size of a terminal; plain data, fit for a message. */
struct tty_modes {
	struct termios modes;
	struct winsize size;
};

struct stdio_plan {
	enum stdio_kind kind[3];
	bool shared_output; /* 1 and 2 are one stream (2>&1): both get the one pipe of 1, so that the
			     * order of writes between them stays */
	bool has_tty;	    /* some kind[] is STDIO_TTY: the bottle needs a pty */
	int tty_in;	    /* which of 0..2 can read from / write to that terminal; -1: none */
	int tty_out;
	bool input_withheld; /* our stdout is a pipe: the next program of the pipeline (`| less`) may
			      * read the terminal. The tty process then reads nothing and sets no modes
			      * before tty_resume. To be called when a process of the agent's was stopped
			      * by SIGTTIN or SIGTTOU, which happens when the reaper has not made the
			      * agent's group the pty's foreground group; as sudo(8) does it. */
	struct tty_modes tty; /* for the bottle's pty, by the caller's terminal, where has_tty */
};

/* Opens /dev/null on those of 0, 1 and 2 that are closed, so that nothing else can get such a number:
 * the first act of main(). */
int stdio_fill_closed(struct err *err) MUST_CHECK;

/* Makes 0 /dev/null, as the caller asked: what they have there is then for others to read. */
int stdio_leave_input(struct err *err) MUST_CHECK;

/* Looks at 0, 1 and 2; changes nothing. */
int stdio_inspect(struct stdio_plan *ret_plan, struct err *err) MUST_CHECK;

/* Makes 0, 1 and 2 of the calling process what the plan says, with dup2. relay_fds are those of
 * struct relay (-1 where there is none); pty_fd the slave (-1 without a terminal); null_fd the
 * bottle's own /dev/null, read-write, of a read-only mount: the caller's could be chmod'ed through
 * its descriptor when the caller is root. None of them may be 0, 1 or 2; the caller closes them. */
int stdio_wire(const struct stdio_plan *plan, const int relay_fds[static 3], int pty_fd,
	       int null_fd, struct err *err) MUST_CHECK;

/* Gives the launcher's 0 and 1 up for /dev/null once relay and tty processes hold them: a reader
 * of our stdout then sees its end, and a writer to our stdin SIGPIPE, when the agent's are closed,
 * not when we end. 2 stays for messages. Also for any other process that wants neither. */
int stdio_release(struct err *err) MUST_CHECK;

#endif
