/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel settings of a network namespace, set and read back. The names are below /proc, and which
 * namespace they belong to is the one that the caller is in when they are opened.
 */
#ifndef NETNS_SYSCTL_H
#define NETNS_SYSCTL_H

#include <stdbool.h>

#include "base/err.h"

/* Writes `value` to <proc>/<path>, reads it back, and fails unless the kernel took it. */
int sysctl_set(int proc_fd, const char *path, const char *value, struct err *err) MUST_CHECK;

/* Fails unless <proc>/<path> is `value`. */
int sysctl_expect(int proc_fd, const char *path, const char *value, struct err *err) MUST_CHECK;

/* False on a kernel without IPv6 (ipv6.disable=1, or not built). */
bool sysctl_has_ipv6(int proc_fd);

#endif
