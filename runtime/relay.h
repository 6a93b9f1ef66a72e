/* SPDX-License-Identifier: Apache-2.0
 *
 * Relays: one small process for each of the agent's streams that is neither a terminal nor
 * /dev/null, copying between the caller's descriptor and a pipe whose other end the agent holds.
 * One for each, so that a destination which blocks holds up nobody else.
 *
 * Order for the launcher:
 *   secrets_take_env                 values are in a mapping that no fork inherits
 *   relay_start, tty_start           processes are forked
 *   stdio_release
 *   relay_ready                      any time before the agent starts: each confined itself
 *   pass relay.agent_fd[] on; relay_drop_agent_fds
 *   ... every process of the bottle is dead ...
 *   relay_finish
 *
 * A relay has the environment wiped, every other descriptor closed, PR_SET_DUMPABLE 0, all signals
 * blocked (it shares the terminal's foreground group: ^C must not lose output), and SIGKILL as its
 * parent-death signal. After `confine` it uses: read, write, splice, recvfrom, sendto, poll, ioctl
 * (FIONREAD), lseek, close, exit_group.
 *
 * Limits, by nature of a copy: stdin is read up to 128 KiB beyond what the agent reads. For a
 * regular file the offset is set back at the end to what the agent says it read, never to before this
 * run; for a pipe or socket what was read ahead is gone, as with ssh(1): say </dev/null in a `while
 * read` loop. Whoever reads on in the same file starts where the agent chose to stop: a script that
 * bash reads from its stdin must say </dev/null, or `bash script` in place of `bash < script`.
 * A write error other than EPIPE (a full disk) reaches the agent as EPIPE, and the caller's user as
 * the sentence of relay_finish.
 */
#ifndef RUNTIME_RELAY_H
#define RUNTIME_RELAY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "runtime/stdio.h"

struct relay_process {
	int stream;	/* 0, 1 or 2 */
	int pidfd;	/* poll(2): readable once it ended */
	int control_fd; /* our end; closing it tells a stdin relay to stop */
};

struct relay {
	int agent_fd
		[3]; /* the agent's ends, for stdio_wire; -1: none (2 also with shared_output) */
	struct relay_process process[3];
	size_t count;
	int lost; /* relay_finish: -errno of the first output, or unknown end of input, that was lost, else 0 */
	int unread; /* relay_finish: -errno when stdin could not be read, else 0 */
};

/* All -1 and empty; needed before relay_clear. */
void relay_init(struct relay *relay);

/* Makes the pipes and forks the relays; `confine` runs in each (NULL in tests). On failure nothing
 * is left running. */
int relay_start(const struct stdio_plan *plan, int (*confine)(struct err *err),
		struct relay *ret_relay, struct err *err) MUST_CHECK;

/* Waits until each relay is confined; its own sentence otherwise. */
int relay_ready(struct relay *relay, struct err *err) MUST_CHECK;

/* Closes our copies of the agent's ends: needed for end-of-file on either side. */
void relay_drop_agent_fds(struct relay *relay);

/* After the bottle's last process died: waits until all output is written, sets stdin's offset
 * back, reaps. Returns 0; -EINTR when a signal handler ran or signal_fd (a signalfd, or -1; not
 * read here) became readable first, and the call may be repeated with the same err; another -errno
 * with a sentence when output was lost or stdin's relay was killed (and in relay->lost), or stdin could
 * not be read (and in relay->unread). At
 * deadline_ms (clock.h) output that its reader has not taken is lost. */
int relay_finish(struct relay *relay, int signal_fd, int64_t deadline_ms,
		 struct err *err) MUST_CHECK;

/* Kills and reaps what still runs and closes all. */
void relay_clear(struct relay *relay);

#endif
