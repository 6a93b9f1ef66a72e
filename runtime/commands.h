/* SPDX-License-Identifier: Apache-2.0
 * The subcommands: each takes its own argv (argv[0] is its name) and returns the exit status. */
#ifndef RUNTIME_COMMANDS_H
#define RUNTIME_COMMANDS_H

enum {
	EXIT_DENIED = 123, /* --fail-on-denied: the command ended 0, but a request was refused */
	EXIT_BOTTLE_FAILED = 125, /* bottle itself failed, or bad usage */
	EXIT_NOT_EXECUTABLE = 126,
	EXIT_NOT_FOUND = 127,
};

int cmd_run(int argc, char **argv);
int cmd_trust(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_prune(int argc, char **argv);

#endif
