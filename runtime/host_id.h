/* SPDX-License-Identifier: Apache-2.0
 *
 * Which host this is, and which start of it: for who finds a pid or a path and asks whether it says
 * anything here. Of two hosts with one Docker daemon or one home folder, each must leave the other's alone.
 *
 * Runs in: the launcher and the subcommands.
 */
#ifndef RUNTIME_HOST_ID_H
#define RUNTIME_HOST_ID_H

enum { HOST_ID_SIZE = 17, HOST_BOOT_ID_SIZE = 37 };

/* A digest, since the machine's id is not for showing (machine-id(5)): of that id, or of the host's name where
 * there is none, and of the namespace that pids count in: a container may have the id of its host. */
void host_id(char ret_id[static HOST_ID_SIZE]);

/* Another after each start of the system; "" where the system tells none (macOS). */
void host_boot_id(char ret_id[static HOST_BOOT_ID_SIZE]);

#endif
