/* SPDX-License-Identifier: Apache-2.0
 *
 * A proxy that is ready at once and proxies nothing, for attacks that need none. Built statically by
 * the tests, so that its image is this one file.
 */
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
	const char *fd = getenv("EGRESS_PROXY_READY_FD");

	if (!fd || write(fd[0] - '0', "READY=1\n", 8) != 8)
		return 1;
	for (;;)
		pause();
}
