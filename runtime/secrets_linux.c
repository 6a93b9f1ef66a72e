/* SPDX-License-Identifier: Apache-2.0
 * Secrets, as far as Linux has its own calls for them; see secrets.h. Runs in: the launcher. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/fd.h"
#include "runtime/limits.h"
#include "runtime/secrets.h"
#include "runtime/secrets_parts.h"

int secrets_protect(void *pages, size_t size)
{
	return madvise(pages, size, MADV_DONTFORK) < 0 ? -1 : madvise(pages, size, MADV_DONTDUMP);
}

int secrets_no_dump(struct err *err)
{
	/* First, while /proc/self is still ours; a child has inherited it. */
	(void)!file_write(AT_FDCWD, "/proc/self/coredump_filter", "0");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, errno, "PR_SET_DUMPABLE");
	return limits_no_core(err);
}
