/* SPDX-License-Identifier: Apache-2.0
 * What ps(1) shows; see title.h. Runs in: every process of a run.
 *
 * The one static state of the tree: the argument block is a property of the process, known only to
 * main(). PR_SET_MM_ARG_START, which would tell the kernel of another block, needs a capability. */
#include "runtime/title.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

static struct {
	char *start;
	size_t size;
} block;

void title_remember(int argc, char **argv)
{
	char *end = argv[0];

	for (int i = 0; i < argc && argv[i] == end; i++)
		end += strlen(argv[i]) + 1;
	block.start = argv[0];
	block.size = (size_t)(end - argv[0]);
}

void title_set(const char *title)
{
	prctl(PR_SET_NAME, title);
	if (!block.size)
		return;
	memset(block.start, 0, block.size);
	snprintf(block.start, block.size, "%s", title);
}
