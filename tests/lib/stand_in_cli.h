/* SPDX-License-Identifier: Apache-2.0
 * A shell script in the docker CLI's place. */
#ifndef TESTS_STAND_IN_CLI_H
#define TESTS_STAND_IN_CLI_H

#include "base/err.h"

/* From here on BOTTLE_DOCKER names a script of these lines; aborts where it cannot be made. */
void stand_in_cli(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Removes it. */
void stand_in_cli_clear(void);

#endif
