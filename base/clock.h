/* SPDX-License-Identifier: Apache-2.0
 *
 * Deadlines: milliseconds of CLOCK_MONOTONIC, -1 for none.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

int64_t clock_now_ms(void);

/* What is left until the deadline, for poll(2): 0 when it has passed, -1 where there is none. */
int clock_left_ms(int64_t deadline_ms);

#endif
