/* SPDX-License-Identifier: Apache-2.0
 *
 * Which manifest counts. One that was named with -f was chosen by the caller; one that was only found
 * in the current folder may have been written by the last agent or by a hostile clone, and counts
 * once `bottle trust` accepted its digest. What is checked, shown and parsed is one read of the bytes.
 *
 * Runs in: launcher, before anything has changed.
 */
#include "runtime/manifest_load.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "config/trust.h"

enum { MANIFEST_MAX_BYTES = 1024 * 1024 };

int manifest_read_found(const char *name, char **ret_path, struct buf *ret_text, struct err *err)
{
	cleanup_free char *path = realpath(name, NULL);

	if (!path)
		return err_sys(err, errno, "%s", name);
	TRY(file_read(AT_FDCWD, path, MANIFEST_MAX_BYTES, ret_text, err));
	*ret_path = take_ptr(path);
	return 0;
}

static int parse(struct manifest *m, const char *shown, const char *path, const struct buf *text,
		 struct err *err)
{
	cleanup_free char *copy = strdup(path);

	if (!copy)
		return err_sys(err, ENOMEM, "%s", shown);
	return manifest_parse(m, shown, dirname(copy), text->data ? text->data : "", text->len,
			      err);
}

/* `-f <(...)` names a pipe: it has no real path, and its relative paths start where the caller is. */
static int load_named(struct manifest *m, const char *name, struct err *err)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	cleanup_free char *real = realpath(name, NULL);
	cleanup_free char *here = real ? NULL : realpath(".", NULL);
	cleanup_free char *path = real ? strdup(real) : str_printf("%s/-", here ? here : "");

	if (!path)
		return err_sys(err, ENOMEM, "%s", name);
	TRY(file_read(AT_FDCWD, name, MANIFEST_MAX_BYTES, &text, err));
	return parse(m, name, path, &text, err);
}

static int load_found(struct manifest *m, const struct state *state, struct err *err)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	cleanup_free char *path = NULL;
	cleanup_fd int state_fd = state->state_path ? open(state->state_path,
							   O_PATH | O_DIRECTORY | O_CLOEXEC)
						    : -1;

	TRY(manifest_read_found("bottle.yaml", &path, &text, err));
	if (state_fd < 0)
		return err_set(err, ENOKEY,
			       "%s: was found, not named, and has not been accepted; look at it "
			       "with 'bottle trust', or name it with -f",
			       path);
	TRY(trust_check(state_fd, path, text.data ? text.data : "", text.len, err));
	return parse(m, "bottle.yaml", path, &text, err);
}

int manifest_load(struct manifest *m, const char *named, bool no_file, const struct state *state,
		  struct err *err)
{
	const char *config = getenv("XDG_CONFIG_HOME");
	const char *home = getenv("HOME");
	cleanup_free char *path = NULL;

	if (named)
		return load_named(m, named, err);
	if (no_file)
		return 0;
	if (access("bottle.yaml", F_OK) == 0)
		return load_found(m, state, err);
	if (config && config[0] == '/')
		path = str_printf("%s/bottle/bottle.yaml", config);
	else
		path = str_printf("%s/.config/bottle/bottle.yaml", home ? home : "");
	if (path && access(path, F_OK) == 0)
		return load_named(m, path, err);
	return err_set(err, ENOENT,
		       "no manifest: neither ./bottle.yaml nor %s is there; name one with -f, or "
		       "give routes with --allow",
		       path ? path : "~/.config/bottle/bottle.yaml");
}
