/* SPDX-License-Identifier: Apache-2.0
 *
 * One run as the launcher sees it: the processes it forked, what it is to hear from them, and what it
 * has heard. There is one event loop, session_wait; run.c reads as a list of steps because each step
 * waits here for its own fact, while whatever else comes in (audit lines, the proxy's output, signals,
 * a failure of any process) is dealt with on the way.
 *
 * Runs in: the launcher. Holds: the tokens and the CA key (in `secrets`), the ends of all channels.
 */
#ifndef RUNTIME_SESSION_H
#define RUNTIME_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/fd.h"
#include "runtime/audit.h"
#include "runtime/launch.h"
#include "runtime/relay.h"
#include "runtime/secrets.h"
#include "runtime/tail.h"
#include "runtime/tty.h"
#include "runtime/wire.h"

/* What is known so far; facts only ever become true. */
enum session_fact {
	FACT_MAPS_WANTED = 1 << 0,
	FACT_LISTENERS = 1 << 1,
	FACT_PROXY_FILES = 1 << 2,
	FACT_AGENT_FILES = 1 << 3,
	FACT_PTY = 1 << 4,
	FACT_PROXY_BUILT = 1 << 5,
	FACT_AGENT_BUILT = 1 << 6,
	FACT_PROXY_STARTED = 1 << 7, /* its exec happened */
	FACT_AGENT_STARTED = 1 << 8,
	FACT_PROXY_READY = 1 << 9,
	FACT_PROXY_EXITED = 1 << 10,
	FACT_AGENT_EXITED = 1 << 11,
	FACT_AUDIT_CLOSED = 1 << 12, /* the proxy's audit pipe is at its end */
	FACT_INIT_ENDED = 1 << 13,
	FACT_GATE_ENDED = 1 << 14,
};

struct session {
	const struct plan *plan;
	struct launch launch;
	struct stdio_plan stdio;
	struct relay relay;
	struct tty tty;
	struct audit audit;
	struct secrets secrets;

	int signal_fd;
	pid_t init_pid, gate_pid;
	int init_pidfd, gate_pidfd;
	int gate_ctl[2];
	int gate_audit[2];

	unsigned facts;
	bool audit_closed_early; /* while the run went on: unless what wrote it was killed, records are lost */
	bool ending;		 /* processes may go now without that being a failure */
	int listener_fds[FD_PASS_MAX];
	size_t listener_count;
	struct mount_result files[ROLE_COUNT]; /* what the reapers handed up, to be filled */
	int pty_fd;
	int status[ROLE_COUNT]; /* wait statuses */
	int exec_errno[ROLE_COUNT];
	int signalled; /* the signal that ended the run: before there was an agent to pass it to, or
			* because the agent did not end on it */
	int asked_by;  /* the first TERM, HUP or QUIT that was passed on */
	int64_t grace_end_ms; /* until when the agent may take its time over it; 0: not asked */
	bool stop_passed_on;  /* the caller's own TSTP, without a terminal, was passed on */
	int stopped_by[ROLE_COUNT]; /* the signal that the last WIRE_STOPPED said; 0: none */

	struct tail tail; /* the last that the proxy printed */

	bool output_lost; /* of the agent's, for whatever reason */
	unsigned
		reapers_ended; /* so many, says init, and how the last one that did not end well did */
	int reaper_status;

	int failure; /* -errno of the first failure, with its step and sentence */
	char failed_step[WIRE_STEP_BYTES];
	struct err failed_err;
};

void session_init(struct session *session, const struct plan *plan);
void session_clear(struct session *session); /* kills and reaps what still runs, closes all */

/* Blocks the signals that this run handles and reads them from signal_fd. */
int session_take_signals(struct session *session, struct err *err) MUST_CHECK;

/* Forks gate and init (launch.c). Their ends of the channels are closed here afterwards. */
int session_start_gate(struct session *session, struct err *err) MUST_CHECK;
int session_start_init(struct session *session, struct err *err) MUST_CHECK;

/* Handles events until all of `facts` are known; 0. -ETIME when timeout_ms (-1: none) passed; else the
 * failure's -errno with its sentence, -EINTR when a signal ended the start. */
int session_wait(struct session *session, unsigned facts, int timeout_ms,
		 struct err *err) MUST_CHECK;

/* Handles what is there, or waits for the next event. */
int session_wait_once(struct session *session, struct err *err) MUST_CHECK;

/* Ends gate and init, and with init every process of the bottle; what they still said is read. */
void session_end_processes(struct session *session);

/* When every process is dead: waits until the agent's output is with its readers. Where a signal asked
 * for the end they have what is left of the agent's time, and at least a moment; where one asks for it
 * now, no more. < 0 with a sentence when output was lost (then output_lost is set) or stdin could not be
 * read. */
int session_finish_output(struct session *session, struct err *err) MUST_CHECK;

#endif
