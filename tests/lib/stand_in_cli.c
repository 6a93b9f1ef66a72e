/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/stand_in_cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char program[64];

void stand_in_cli(const char *fmt, ...)
{
	va_list ap;
	int fd;

	strcpy(program, "/tmp/stand_in_cli.XXXXXX");
	fd = mkstemp(program);
	if (fd < 0)
		abort();
	dprintf(fd, "#!/bin/sh\n");
	va_start(ap, fmt);
	vdprintf(fd, fmt, ap);
	va_end(ap);
	dprintf(fd, "\n");
	fchmod(fd, 0700);
	close(fd);
	setenv("BOTTLE_DOCKER", program, 1);
}

void stand_in_cli_clear(void)
{
	unlink(program);
}
