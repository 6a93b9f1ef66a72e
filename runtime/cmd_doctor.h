/* SPDX-License-Identifier: Apache-2.0
 *
 * `bottle doctor [--json]`: tries everything that a run needs, each in a child of its own, and says
 * what works, what does not, and the fix.
 */
#ifndef RUNTIME_CMD_DOCTOR_H
#define RUNTIME_CMD_DOCTOR_H

/* Prints to stdout. 0 when a bottle can run here (warnings are fine), 125 when not or on bad
 * usage. */
int cmd_doctor(int argc, char **argv);

#endif
