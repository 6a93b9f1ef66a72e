/* SPDX-License-Identifier: Apache-2.0
 *
 * System-call filters, one allowlist for each kind of process. The rules stand in seccomp_rules.h;
 * runtime/gen/seccomp_gen.c compiles them with libseccomp when bottle is built, so that at run time
 * there is nothing to compute: one seccomp(2) call of some tenths of a millisecond.
 *
 * Unknown calls get ENOSYS (so that libc and programs fall back as on an older kernel), known-bad
 * ones EPERM. Other ABIs of the machine (i386, x32) get ENOSYS for everything.
 */
#ifndef RUNTIME_SECCOMP_H
#define RUNTIME_SECCOMP_H

#include "base/err.h"
#include "runtime/seccomp_role.h"

/* Installs the role's filter on the calling thread for good. Needs no_new_privs (caps_drop_all and
 * caps_keep set it). Afterwards only what the role allows works: the caller has opened, forked and
 * executed all it ever will, except agent and proxy, which go on to execve. */
int seccomp_load(enum seccomp_role role, struct err *err) MUST_CHECK;

/* Tries calls that must fail and looks at their errno, and one that must work. -EPROTO and a
 * sentence when the filter does not hold. Cheap (about ten calls); call it right after the load. */
int seccomp_prove(enum seccomp_role role, struct err *err) MUST_CHECK;

#endif
