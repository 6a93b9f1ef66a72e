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
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "ca/bundle.h"
#include "config/trust.h"

enum { MANIFEST_MAX_BYTES = 1024 * 1024 };

/* A fifo would hold the run for ever, so nothing is waited for. */
static int read_regular(int fd, const char *shown, struct buf *ret_text, struct err *err)
{
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "%s", shown);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "%s: is not a regular file", shown);
	rc = fd_read_all(fd, MANIFEST_MAX_BYTES, ret_text);
	if (rc == -EFBIG)
		return err_set(err, EFBIG, "%s: larger than %d bytes", shown, MANIFEST_MAX_BYTES);
	return rc < 0 ? err_sys(err, -rc, "%s", shown) : 0;
}

/* The folder of `name`, by its real path and open, and the name in it. */
static int open_folder_of(const char *name, char **ret_folder, const char **ret_base)
{
	const char *slash = strrchr(name, '/');
	cleanup_free char *named = slash ? strndup(name, (size_t)(slash - name + 1)) : strdup(".");
	cleanup_free char *real = named ? realpath(named, NULL) : NULL;
	int fd;

	if (!real)
		return named ? -errno : -ENOMEM;
	fd = fd_open_nosymlinks(AT_FDCWD, real, O_PATH | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	*ret_folder = take_ptr(real);
	*ret_base = slash ? slash + 1 : name;
	return fd;
}

/* Where the link leads must be named itself: below the current folder -f follows none either. */
static int refuse_link(const char *name, struct err *err)
{
	cleanup_free char *real = realpath(name, NULL);
	cleanup_with(buf_clear) struct buf hint = { 0 };

	if (real) {
		buf_puts(&hint, " (or name what it leads to: -f ");
		buf_quote(&hint, real);
		buf_puts(&hint, ")");
	}
	return err_set(
		err, ELOOP,
		"%s: is a symbolic link; a manifest that is found must be a file of its own%s",
		name, hint.data && !hint.failed ? hint.data : "");
}

/* A link would let who can turn it choose which accepted manifest counts, so there is none: the digest is
 * kept for the folder's real path and the name in it. */
int manifest_read_found(const char *name, char **ret_path, struct buf *ret_text, struct err *err)
{
	cleanup_free char *folder = NULL;
	cleanup_free char *path = NULL;
	const char *base = NULL;
	cleanup_fd int folder_fd = open_folder_of(name, &folder, &base);
	cleanup_fd int fd = folder_fd < 0 ? folder_fd
					  : fd_open_nosymlinks(folder_fd, base,
							       O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);

	if (fd == -ELOOP)
		return refuse_link(name, err);
	if (fd < 0)
		return err_sys(err, -fd, "%s", name);
	path = str_printf("%s/%s", strcmp(folder, "/") == 0 ? "" : folder, base);
	if (!path)
		return err_sys(err, ENOMEM, "%s", name);
	TRY(read_regular(fd, path, ret_text, err));
	*ret_path = take_ptr(path);
	return 0;
}

int manifest_parse_found(struct manifest *m, const char *shown, const char *path,
			 const struct buf *text, struct err *err)
{
	cleanup_free char *copy = strdup(path);

	if (!copy)
		return err_sys(err, ENOMEM, "%s", shown);
	return manifest_parse(m, shown, dirname(copy), text->data ? text->data : "", text->len,
			      err);
}

/* In the caller's own configuration folder, where links are the caller's own. */
static int read_own(const char *name, struct buf *ret_text, struct err *err)
{
	cleanup_fd int fd = open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	return fd < 0 ? err_sys(err, errno, "%s", name) : read_regular(fd, name, ret_text, err);
}

/* `-f <(...)` names a pipe: it has no real path, and its relative paths start where the caller is. */
static int load_named(struct manifest *m, const char *name, bool may_be_pipe, struct err *err)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	cleanup_free char *real = realpath(name, NULL);
	cleanup_free char *here = real ? NULL : realpath(".", NULL);
	cleanup_free char *path = real ? strdup(real) : str_printf("%s/-", here ? here : "");

	if (!path)
		return err_sys(err, ENOMEM, "%s", name);
	if (may_be_pipe)
		TRY(file_read(AT_FDCWD, name, MANIFEST_MAX_BYTES, &text, err));
	else
		TRY(read_own(name, &text, err));
	return manifest_parse_found(m, name, path, &text, err);
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
	TRY(trust_check(state_fd, path, text.data ? text.data : "", text.len, &m->accepted_ca,
			err));
	TRY(manifest_parse_found(m, "bottle.yaml", path, &text, err));
	if (m->accepted_ca.len != manifest_ca_count(m))
		return trust_refuse(path, "the CA files that it names were not accepted with it",
				    err);
	return 0;
}

/* The CA files lie where the manifest says, so in reach of the agent of a run that names another manifest,
 * and who chooses them reads the tokens on their way. What was read is judged, and nothing reads it again. */
int manifest_read_ca(const struct manifest *m, size_t index, struct buf *ret_pem,
		     char ret_hex[static SHA256_HEX_BYTES], struct err *err)
{
	const char *path = manifest_ca_path(m, index);
	cleanup_free char *key = index < m->extra_ca.len ? str_printf("egress.extra_ca[%zu]", index)
							 : strdup("egress.upstream_proxy.ca");
	const size_t before = ret_pem->len;
	struct sha256 sha;
	uint8_t digest[SHA256_BYTES];
	int rc;

	if (!key)
		return err_sys(err, ENOMEM, "%s", m->path);
	rc = ca_file_read(path, ret_pem, err);
	if (rc < 0)
		return err_context(err, rc, "%s: %s",
				   index < m->extra_ca.len ? m->path : m->upstream.where, key);
	sha256_init(&sha);
	sha256_update(&sha, ret_pem->data + before, ret_pem->len - before);
	sha256_final(&sha, digest);
	sha256_hex(digest, ret_hex);
	if (index < m->accepted_ca.len && strcmp(ret_hex, m->accepted_ca.items[index]) != 0)
		return err_set(err, EKEYREJECTED,
			       "%s: %s: %s has changed since the manifest was accepted; look at it "
			       "with 'bottle trust', or name the manifest with -f",
			       m->path, key, path);
	return 0;
}

int manifest_load(struct manifest *m, const char *named, bool no_file, const struct state *state,
		  struct err *err)
{
	cleanup_free char *path = NULL;

	if (named)
		return load_named(m, named, true, err);
	if (no_file)
		return 0;
	if (faccessat(AT_FDCWD, "bottle.yaml", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return load_found(m, state, err);
	TRY(state_default_manifest(&path, err));
	if (path && access(path, F_OK) == 0)
		return load_named(m, path, false, err);
	return err_set(err, ENOENT,
		       "no manifest: neither ./bottle.yaml nor %s is there; name one with -f, or "
		       "give routes with --allow",
		       path ? path : "~/.config/bottle/bottle.yaml");
}
