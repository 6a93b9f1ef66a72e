/* SPDX-License-Identifier: Apache-2.0
 * What the files of the launcher's event loop have of each other; nobody else includes this. */
#ifndef RUNTIME_SESSION_PARTS_H
#define RUNTIME_SESSION_PARTS_H

#include "runtime/session.h"

/* Records the first failure: later ones are its echo. */
void session_fail(struct session *session, int rc, const char *step, const char *text);

/* Handlers: one for each source of dispatch(). */
void session_on_out(struct session *session);
void session_on_ready(struct session *session);
void session_on_proxy_audit(struct session *session);
void session_on_gate_audit(struct session *session);
void session_on_init(struct session *session);
void session_on_proxy_reaper(struct session *session);
void session_on_agent_reaper(struct session *session);
void session_on_proxy_child(struct session *session);
void session_on_agent_child(struct session *session);
void session_on_signal(struct session *session);

/* Takes in all that a reaper has said. Returns the signal by which its program was last said to be stopped,
 * or 0: also where the run has failed. */
int session_read_reaper(struct session *session, enum role role);

/* A program of the bottle stopped: what that means for this job. */
void session_on_stopped(struct session *session, enum role role, int sig);

/* The children's ends of all channels: closed once they are forked, or no end would ever be seen. */
void session_close_inner_ends(struct session *session);

/* Raises a failure where a reaper has ended without a word on its program, as soon as init has said how. */
void session_check_reapers(struct session *session);

void session_close_all(const int *fds, size_t count);

#endif
