/* SPDX-License-Identifier: Apache-2.0
 *
 * A proxy that the gate may hand sockets of the host's network. It gets them only behind the filter
 * SECCOMP_PROXY_HANDED, which leaves nothing to do with a socket but to use it as it is, and only when that
 * held against an attack on a socket of just that kind. Where there is none to attack, or the filter
 * cannot be installed, the gate relays.
 */
#ifndef RUNTIME_HANDED_H
#define RUNTIME_HANDED_H

#include "base/err.h"

/* In the launcher: two connected ends over the host's own loopback. */
int handed_decoy_open(int ret_fds[static 2], struct err *err) MUST_CHECK;

/* In the proxy's process, behind the filter: tries to lead the first of the two elsewhere. -EPROTO and a
 * sentence that names the attempt when one of them worked. */
int handed_prove(const int decoy_fds[static 2], struct err *err) MUST_CHECK;

#endif
