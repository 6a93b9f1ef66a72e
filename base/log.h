/* SPDX-License-Identifier: Apache-2.0
 *
 * The one place that writes lines for a person to stderr: "bottle: <text>". Called from
 * runtime/main.c, runtime/run.c with its end in finish.c, and the subcommands; everything below returns a struct err.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"

/* Control bytes and bytes ≥ 0x80 that are not part of valid text are printed escaped. */
void log_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_warning(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_note(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
