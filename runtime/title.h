/* SPDX-License-Identifier: Apache-2.0
 *
 * What ps(1) shows. The agent sees its reaper, which is a fork of the launcher: the caller's command
 * line (paths of the host, names of variables) is none of its business.
 */
#ifndef RUNTIME_TITLE_H
#define RUNTIME_TITLE_H

/* In main(), once: where the kernel keeps this process's arguments. */
void title_remember(int argc, char **argv);

/* Overwrites them with `title` (cut to their length), and the name shown by comm. */
void title_set(const char *title);

#endif
