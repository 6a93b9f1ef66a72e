/* SPDX-License-Identifier: Apache-2.0
 *
 * The agent must not be given a token in a variable or a word of its command, whatever its name.
 */
#ifndef RUNTIME_TOKEN_CHECK_H
#define RUNTIME_TOKEN_CHECK_H

#include "runtime/plan.h"
#include "runtime/secrets.h"

/* Moves the plan's tokens out of the environment (secrets_take_env) and looks for them in what the
 * agent is given. */
int token_check_take(const struct plan *plan, struct secrets *secrets, struct err *err) MUST_CHECK;

/* The same for --dry-run, of those tokens that are set: a plan needs none. */
int token_check_dry(const struct plan *plan, struct err *err) MUST_CHECK;

#endif
