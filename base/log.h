/* SPDX-License-Identifier: Apache-2.0
 *
 * The one place that writes lines for a person to stderr: "bottle: <text>". Called from
 * runtime/main.c, the subcommands, and where a run ends (run.c, docker_run.c, finish.c, report.c); everything
 * below returns a struct err.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdio.h>

#include "base/err.h"

/* Control bytes and bytes ≥ 0x80 that are not part of valid text are printed escaped. */
void log_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_warning(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_note(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* The text without its control bytes (C0, DEL, and C1 as 0xc2 0x80..0x9f), which are printed escaped: what may
 * name a stranger's path. UTF-8 stays readable. */
void log_print_safe(FILE *out, const char *text);

#endif
