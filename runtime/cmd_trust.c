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
	return 0;
}

/* The folder's name is a stranger's as well. */
static void show_path(const char *path, const char *more)
{
	char shown[4 * PATH_MAX];

	printf("%s:%s\n", str_escape(shown, sizeof(shown), path, strlen(path)), more);
}

/* Who can change a CA file reads what the proxy sends, so its bytes are accepted with the manifest. */
static int show_cas(const struct manifest *manifest, struct strlist *ret_digests, struct err *err)
{
	for (size_t i = 0; i < manifest_ca_count(manifest); i++) {
		cleanup_with(buf_clear) struct buf pem = { 0 };
		char hex[SHA256_HEX_BYTES], more[SHA256_HEX_BYTES + 16];

		TRY(manifest_read_ca(manifest, i, &pem, hex, err));
		snprintf(more, sizeof(more), " SHA-256 %s", hex);
		printf("with the CA file ");
		show_path(manifest_ca_path(manifest, i), more);
		if (strlist_add(ret_digests, hex) < 0)
			return err_sys(err, ENOMEM, "show the CA files");
	}
	return 0;
}

static int trust(const char *name, struct err *err)
{
	cleanup_with(state_clear) struct state state;
	cleanup_with(buf_clear) struct buf text = { 0 };
	cleanup_with(manifest_clear) struct manifest manifest;
	cleanup_with(strlist_clear) struct strlist cas = { 0 };
	cleanup_free char *path = NULL;

	state_init(&state);
	manifest_init(&manifest);
	TRY(manifest_read_found(name, &path, &text, err));
	TRY(manifest_parse_found(&manifest, name, path, &text, err));
	TRY(state_open(&state, err));
	show_path(path, "");
	TRY(show(&text, err));
	TRY(show_cas(&manifest, &cas, err));
	/* What nobody can have read is not accepted. */
	if (fflush(stdout) != 0 || ferror(stdout))
		return err_set(err, EIO, "not accepted, since not all of it could be shown");
	TRY(trust_accept(state.state_fd, path, text.data ? text.data : "", text.len, &cas, err));
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
