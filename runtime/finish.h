/* SPDX-License-Identifier: Apache-2.0
 * The end of a run: what is told, and the exit status. */
#ifndef RUNTIME_FINISH_H
#define RUNTIME_FINISH_H

#include "runtime/session.h"

/* The status of `bottle run` once the agent has ended (table in bottle(1)). */
int finish_status(const struct session *session);

/* Whether output that was lost makes the status 125: where the command itself ended well. */
bool finish_output_counts(const struct session *session);

/* A run that failed: prints the one line that says why, and returns the status (125, or 128+n when a
 * signal ended the start). */
int finish_failed(const struct session *session, int rc, const struct err *err);

/* The agent could not be executed: says why, and which option would show it the file. */
void finish_explain_exec(const struct session *session);

/* Warnings and the summary of refused requests. */
void finish_report(const struct session *session);

#endif
