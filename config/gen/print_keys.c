/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes the tables of keys into the documents that carry them, between the lines that hold
 * "keys: begin" and "keys: end". Runs in: a developer's shell, after a change to config/keys.h:
 *
 *   cc -D_GNU_SOURCE -I. -o /tmp/print_keys config/gen/print_keys.c config/[!g]*.c base/[!l]*.c -lyaml
 *   /tmp/print_keys docs/manifest.md man/bottle.yaml.5.scd
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "config/keys.h"

enum { DOCUMENT_MAX_BYTES = 1 << 20 };

static int put_between(const struct buf *old, const struct buf *table, struct buf *ret_new)
{
	const char *begin = strstr(old->data, "keys: begin");
	const char *end = strstr(old->data, "keys: end");

	if (!begin || !end || end < begin)
		return -EBADMSG;
	begin = strchr(begin, '\n') + 1;
	while (end[-1] != '\n')
		end--;
	buf_append(ret_new, old->data, (size_t)(begin - old->data));
	buf_puts(ret_new, "\n");
	buf_append(ret_new, table->data, table->len);
	buf_puts(ret_new, "\n");
	buf_puts(ret_new, end);
	return ret_new->failed ? -ENOMEM : 0;
}

static int rewrite(const char *path, struct err *err)
{
	cleanup_with(buf_clear) struct buf old = { 0 }, table = { 0 }, text = { 0 };
	cleanup_fd int fd = -1;
	int rc;

	TRY(file_read(AT_FDCWD, path, DOCUMENT_MAX_BYTES, &old, err));
	if (str_ends(path, ".md"))
		keys_print_markdown(&table);
	else
		keys_print_scdoc(&table);
	rc = table.failed || !old.data ? -ENOMEM : put_between(&old, &table, &text);
	if (rc < 0)
		return err_sys(err, -rc, "%s", path);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "%s", path);
	rc = fd_write_all(fd, text.data, text.len);
	return rc < 0 ? err_sys(err, -rc, "%s", path) : 0;
}

int main(int argc, char **argv)
{
	struct err err;

	for (int i = 1; i < argc; i++) {
		if (rewrite(argv[i], &err) < 0) {
			fprintf(stderr, "print_keys: %s\n", err.text);
			return 1;
		}
	}
	return 0;
}
