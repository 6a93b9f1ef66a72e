/* SPDX-License-Identifier: Apache-2.0
 * Secrets, by POSIX alone; see secrets.h. In the place of secrets_linux.c in a bottle of `make DOCKER_ONLY=1`, which
 * starts programs by posix_spawn(3) and forks nothing. Runs in: the launcher. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#ifdef __APPLE__
#include <mach/vm_inherit.h>
#endif

#include "runtime/secrets.h"
#include "runtime/secrets_parts.h"

int secrets_protect(void *pages, size_t size)
{
#ifdef __APPLE__
	return minherit(pages, size, VM_INHERIT_NONE);
#else
	(void)pages;
	(void)size;
	return 0;
#endif
}

int secrets_no_dump(struct err *err)
{
	const struct rlimit none = { 0, 0 };

	return setrlimit(RLIMIT_CORE, &none) < 0 ? err_sys(err, errno, "RLIMIT_CORE") : 0;
}
