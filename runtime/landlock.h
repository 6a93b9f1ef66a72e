/* SPDX-License-Identifier: Apache-2.0
 *
 * Landlock: the file system and TCP ports taken away from within, as a second wall behind mounts and
 * namespaces. Raw system calls, ABI 1 to 7, the newest that the kernel has is used. A kernel without
 * it (ABI 0, switched off, or refused by an outer seccomp filter) is no error: *ret_abi is 0 then and
 * nothing was restricted. What was restricted is proved before these return; -EPROTO when an attempt
 * worked. Each needs no_new_privs.
 */
#ifndef RUNTIME_LANDLOCK_H
#define RUNTIME_LANDLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* The ABI the running kernel offers, 0 for none. */
int landlock_abi(void);

/* No signal to, and no abstract unix socket of, a process outside the caller and what it forks from
 * now on (ABI 6). For the gate before it forks its resolvers, which it may then still end. */
int landlock_scope(int *ret_abi, struct err *err) MUST_CHECK;

/* For who opens nothing any more: the gate's loop, init, reapers. No file can be opened, no TCP port
 * bound (ABI 4); connecting is the gate's work. Signals are left to landlock_scope(), for a reaper's
 * is to send them. */
int landlock_gate(int *ret_abi, struct err *err) MUST_CHECK;

/* A resolver helper: reads what NSS needs, writes nothing, binds no TCP port. (Connecting to a unix
 * socket by path is not governed by Landlock: nscd, resolved and avahi stay reachable.) */
int landlock_resolver(int *ret_abi, struct err *err) MUST_CHECK;

/* The agent: "/" is read and executed, the trees below (work folder, home, /tmp, /run, /var, /dev,
 * /proc …; O_PATH descriptors,
 * borrowed, of folders or files) are also written. No TCP rule: it may serve on its own loopback. With nested namespaces
 * allowed only the scopes are set, for a Landlock domain over files forbids every mount. */
int landlock_agent(const int *writable_fds, size_t count, bool nested_ok, int *ret_abi,
		   struct err *err) MUST_CHECK;

/* The proxy: as the agent, and the only TCP port that it can bind is `port` (0: none, it was handed
 * its listener). */
int landlock_proxy(const int *writable_fds, size_t count, uint16_t port, int *ret_abi,
		   struct err *err) MUST_CHECK;

#endif
