/* SPDX-License-Identifier: Apache-2.0
 * `bottle trust [FILE]`: shows a manifest and keeps its digest. Runs in: launcher. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "config/trust.h"
#include "runtime/commands.h"
#include "runtime/manifest_load.h"

/* A hostile file must not draw on the terminal that its reader judges it by. */
static int show(const struct buf *text, struct err *err)
{
	const char *at = text->data;
	size_t left = text->len;

	while (left) {
		const char *newline = memchr(at, '\n', left);
		size_t len = newline ? (size_t)(newline - at) : left;
		cleanup_free char *line = malloc(4 * len + 1);

		if (!line)
			return err_sys(err, ENOMEM, "show the manifest");
		printf("    %s\n", str_escape(line, 4 * len + 1, at, len));
		at += len + (newline ? 1 : 0);
		left -= len + (newline ? 1 : 0);
	}
	/* What nobody can have read is not accepted. */
	if (fflush(stdout) != 0 || ferror(stdout))
		return err_set(err, EIO, "not accepted, since not all of it could be shown");
	return 0;
}

/* The folder's name is a stranger's as well. */
static void show_path(const char *path)
{
	char shown[4 * PATH_MAX];

	printf("%s:\n", str_escape(shown, sizeof(shown), path, strlen(path)));
}

static int trust(const char *name, struct err *err)
{
	cleanup_with(state_clear) struct state state;
	cleanup_with(buf_clear) struct buf text = { 0 };
	cleanup_with(manifest_clear) struct manifest manifest;
	cleanup_free char *path = NULL;

	state_init(&state);
	manifest_init(&manifest);
	TRY(manifest_read_found(name, &path, &text, err));
	TRY(manifest_parse(&manifest, name, "/", text.data ? text.data : "", text.len, err));
	TRY(state_open(&state, err));
	show_path(path);
	TRY(show(&text, err));
	TRY(trust_accept(state.state_fd, path, text.data ? text.data : "", text.len, err));
	printf("accepted: bottle run will use this file as it is now; a change asks again\n");
	return 0;
}

int cmd_trust(int argc, char **argv)
{
	struct err err = { 0 };

	if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
		log_error("usage: bottle trust [FILE]");
		return EXIT_BOTTLE_FAILED;
	}
	if (trust(argc == 2 ? argv[1] : "bottle.yaml", &err) < 0) {
		log_error("%s", err.text);
		return EXIT_BOTTLE_FAILED;
	}
	return 0;
}
