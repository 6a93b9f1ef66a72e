/* SPDX-License-Identifier: Apache-2.0
 *
 * The process that owns the caller's terminal while a bottle runs; started by tty.c only.
 */
#ifndef RUNTIME_TTY_PROCESS_H
#define RUNTIME_TTY_PROCESS_H

#include <sys/types.h>

#include "runtime/stdio.h"

/* One byte each on the control socket; all but TTY_FINISH are answered by child_send_ready(). */
enum tty_command {
	TTY_ATTACH = 1, /* with the master's descriptor */
	TTY_SUSPEND,
	TTY_RESUME,
	TTY_FINISH, /* answered by the end of the process */
};

struct tty_child {
	const struct stdio_plan *plan;
	int control_fd;
	pid_t launcher;
	int (*confine)(struct err *err);
};

/* The child's main, for child_fork(); `ctx` is a struct tty_child. */
int tty_process_main(void *ctx);

#endif
