/* SPDX-License-Identifier: Apache-2.0
 *
 * Capabilities: given up for good, and the proof. libcap stays in caps.c.
 *
 * Order: after the last id change and the last mount, before Landlock and seccomp. caps_prove_none()
 * comes before seccomp_load(), or a filter's EPERM would pass for the kernel's.
 */
#ifndef RUNTIME_CAPS_H
#define RUNTIME_CAPS_H

#include <stddef.h>

#include "base/err.h"

/* Bounding, ambient, inheritable, permitted and effective set to nothing, securebits locked (a
 * setuid-root file or uid 0 gives nothing back) as far as CAP_SETPCAP is held, no_new_privs.
 * Idempotent. */
int caps_drop_all(struct err *err) MUST_CHECK;

/* The same, but keeps these capabilities (CAP_*) permitted and effective; they are not inherited by
 * an exec. For init and, where the program runs under another id, its reaper. */
int caps_keep(const int *caps, size_t count, struct err *err) MUST_CHECK;

/* Reads all five sets and no_new_privs back, then tries a mount, a hostname, a namespace, a chroot, a device
 * node and taking a capability back. -EPROTO and a sentence when a set is not empty or one works.
 * A call that worked has had its effect: the caller must end the run. */
int caps_prove_none(struct err *err) MUST_CHECK;

/* The same for caps_keep(): exactly these are permitted and effective, the rest is nothing. */
int caps_prove_kept(const int *caps, size_t count, struct err *err) MUST_CHECK;

#endif
