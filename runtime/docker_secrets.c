/* SPDX-License-Identifier: Apache-2.0
 *
 * How the key, the routes and the tokens get into the proxy's container.
 *
 *   image with the label bottle.secrets=stdin   one ustar stream on its standard input, tokens in it. The
 *                                               image lays the files on a tmpfs; Docker never has them
 *   any other                                   `docker cp - NAME:/` for the files, the CLI's environment
 *                                               for the tokens: Docker's storage has both
 *
 * In either way the headers carry the image's user and mode 0400. What Docker made of them, files and
 * folder, is read back, since not every engine keeps an owner: a proxy that may not read its own key does
 * not start. Where the owner was lost all is laid once more, to be read by whoever is in the container. The
 * folder is 01777 then and not 0755, because mitmproxy writes into its confdir (mitmproxy-dhparam.pem, and
 * ends where it may not); the sticky bit keeps what lies there, root's now, from being replaced.
 *
 * Runs in: the launcher of the Docker backend. Holds: the key and the tokens, in the locked mapping.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "rootfs/user_spec.h"
#include "runtime/docker_run.h"
#include "runtime/plan_contract.h"

#define STEP	    "secrets"
#define TOKENS_FILE "run/egress-proxy/tokens"
#define CA_FOLDER   PLAN_CONTRACT_HOME "/.mitmproxy/"

enum { SECRET_MODE = 0400, SLOT_NAME_BYTES = 40 };

static int failed(int rc, struct err *err)
{
	return rc < 0 ? err_sys(err, -rc, STEP ": make the archive") : 0;
}

/* ---- the archive ---- */

struct secret_file {
	const char *path;
	const void *bytes;
	size_t len;
	bool wanted;
};

enum { FILES_MAX = 4 };

static void list_files(const struct docker_run *run, struct secret_file ret_files[static FILES_MAX])
{
	const struct plan *p = run->plan;
	const struct secret_file files[FILES_MAX] = {
		{ PLAN_CONTRACT_ROUTES, p->routes_yaml.data, p->routes_yaml.len, true },
		{ PLAN_CONTRACT_CA, run->material.ca_secret, run->material.ca_secret_len, true },
		{ PLAN_CONTRACT_UPSTREAM_CA, p->upstream_ca.data, p->upstream_ca.len,
		  p->upstream_ca.len > 0 },
		{ PLAN_CONTRACT_EXTRA_CA, p->extra_ca.data, p->extra_ca.len, p->extra_ca.len > 0 },
	};

	memcpy(ret_files, files, sizeof(files));
}

static int add_files(const struct docker_run *run, const struct docker_tar_owner *owner,
		     struct docker_tar *tar)
{
	struct secret_file files[FILES_MAX];

	list_files(run, files);
	for (size_t i = 0; i < FILES_MAX; i++) {
		const struct docker_tar_part part = { files[i].bytes, files[i].len, NULL };

		if (files[i].wanted)
			TRY(docker_tar_add(tar, files[i].path + 1, owner, &part, 1));
	}
	return 0;
}

/* "EGRESS_PROXY_TOKEN_<n>=<value>\n" for each; the values from where they stand. */
static int add_tokens(struct docker_run *run, const struct docker_tar_owner *owner)
{
	const struct strlist *refs = &run->plan->token_refs;
	cleanup_free struct docker_tar_part *parts = calloc(3 * refs->len + 1, sizeof(*parts));
	cleanup_free char *names = malloc(SLOT_NAME_BYTES * (refs->len + 1));

	if (!parts || !names)
		return -ENOMEM;
	for (size_t i = 0; i < refs->len; i++) {
		char *name = names + SLOT_NAME_BYTES * i;
		size_t len = 0;
		const char *value = secrets_get(&run->secrets, refs->items[i], &len);
		int name_len = snprintf(name, SLOT_NAME_BYTES, "EGRESS_PROXY_TOKEN_%zu=", i);

		if (!value)
			return -ENOKEY;
		parts[3 * i] = (struct docker_tar_part){ name, (size_t)name_len, NULL };
		parts[3 * i + 1] = (struct docker_tar_part){ value, len, NULL };
		parts[3 * i + 2] = (struct docker_tar_part){ "\n", 1, NULL };
	}
	TRY(docker_tar_add(&run->tar, TOKENS_FILE, owner, parts, 3 * refs->len));
	return docker_tar_keep(&run->tar, take_ptr(names));
}

int docker_secrets_stream(struct docker_run *run, struct err *err)
{
	const struct docker_image *image = &run->plan->docker.proxy_image;
	const struct docker_tar_owner owner = { image->uid, image->gid, SECRET_MODE };
	int rc = add_files(run, &owner, &run->tar);

	if (rc == 0 && run->plan->token_refs.len)
		rc = add_tokens(run, &owner);
	if (rc == 0)
		rc = docker_tar_end(&run->tar);
	return failed(rc, err);
}

/* ---- the CLI's environment ---- */

int docker_secrets_env(struct docker_run *run, const char ***ret_env, struct err *err)
{
	const struct strlist *refs = &run->plan->token_refs;
	cleanup_free const char **env = calloc(refs->len + 1, sizeof(*env));

	if (!env)
		return err_sys(err, ENOMEM, STEP);
	for (size_t i = 0; i < refs->len; i++) {
		size_t len = 0;
		const char *value = secrets_get(&run->secrets, refs->items[i], &len);
		size_t size = SLOT_NAME_BYTES + len;
		char *item = value ? secrets_alloc(&run->secrets, size) : NULL;

		if (!item)
			return err_set(err, ENOSPC, STEP ": no room for the token of %s",
				       refs->items[i]);
		snprintf(item, size, "EGRESS_PROXY_TOKEN_%zu=%s", i, value);
		env[i] = item;
	}
	*ret_env = take_ptr(env);
	return 0;
}

/* ---- docker cp ---- */

struct modes {
	mode_t file, folder;
};
static const struct modes owners_modes = { SECRET_MODE, 0700 }, anyones_modes = { 0444, 01777 };

/* The folder as well: mitmproxy keeps more than the key in it. */
static int copy_in(struct docker_run *run, const struct docker_tar_owner *user,
		   const struct modes *modes, struct err *err)
{
	cleanup_with(docker_tar_clear) struct docker_tar tar = { 0 };
	cleanup_with(strlist_clear) struct strlist argv = { 0 };
	const struct docker_tar_owner file = { user->uid, user->gid, modes->file };
	const struct docker_tar_owner folder = { user->uid, user->gid, modes->folder };
	int rc = docker_tar_add(&tar, &CA_FOLDER[1], &folder, NULL, 0);

	if (rc == 0)
		rc = add_files(run, &file, &tar);
	if (rc == 0)
		rc = docker_tar_end(&tar);
	if (rc == 0)
		rc = strlist_add(&argv, "cp");
	if (rc == 0)
		rc = strlist_add(&argv, "-");
	if (rc == 0)
		rc = strlist_addf(&argv, "%s:/", run->plan->docker.proxy_name);
	TRY(failed(rc, err));
	return docker_call(&(struct docker_call){ .step = STEP, .argv = &argv, .input = &tar },
			   err);
}

static int copy_out(const struct docker_run *run, const char *path, struct buf *ret_archive,
		    struct err *err)
{
	cleanup_free char *from = str_printf("%s:%s", run->plan->docker.proxy_name, path);

	if (!from)
		return err_sys(err, ENOMEM, STEP);
	return DOCKER_CALL(STEP, ret_archive, err, "cp", from, "-");
}

/* Docker's and podman's words for a file that is not there, which is an empty one. */
static int read_in_image(const void *of, const char *path, struct buf *ret_text, struct err *err)
{
	const struct docker_run *run = of;
	cleanup_with(buf_clear) struct buf archive = { 0 };
	cleanup_free char *absolute = str_printf("/%s", path);
	struct docker_tar_owner ignored;
	const char *content;
	size_t len;
	int rc;

	if (!absolute)
		return err_sys(err, ENOMEM, STEP);
	rc = copy_out(run, absolute, &archive, err);
	if (rc == -EREMOTEIO && (strcasestr(err->text, "could not find the file") ||
				 strcasestr(err->text, "could not be found")))
		return 0;
	TRY(rc);
	if (docker_tar_first(archive.data, archive.len, &ignored, &content, &len) < 0)
		return err_set(err, EBADMSG, STEP ": the image's %s is not a regular file",
			       absolute);
	buf_append(ret_text, content, len);
	return ret_text->failed ? err_sys(err, ENOMEM, STEP) : 0;
}

/* The image's USER, by its own passwd and group where it does not say numbers. */
static int find_user(const struct docker_run *run, struct docker_tar_owner *ret_user,
		     struct err *err)
{
	const struct docker_image *image = &run->plan->docker.proxy_image;
	const struct user_spec_files files = { read_in_image, run };
	uint32_t uid = image->uid, gid = image->gid;
	struct err why;

	if (!(image->has_uid && image->has_gid)) {
		int rc = user_spec_resolve(image->user, &files, &uid, &gid, &why);

		if (rc < 0)
			return err_set(err, -rc, STEP ": %s: %s", image->name, why.text);
	}
	*ret_user = (struct docker_tar_owner){ uid, gid, SECRET_MODE };
	return 0;
}

/* ---- what it laid ---- */

/* `bits` as those of others: 4 to read a file, 1 to reach what lies in a folder. */
static bool may(const struct docker_tar_owner *user, const struct docker_tar_owner *found,
		mode_t bits)
{
	mode_t granted = found->uid == user->uid ? found->mode >> 6 : found->mode;

	return (granted & bits) == bits;
}

static int not_read_back(const char *path, struct err *err)
{
	return err_set(err, EBADMSG, STEP ": %s, which 'docker cp' laid, cannot be read back",
		       path);
}

/* 1 where the proxy's user may read it, and it is what was given. The bytes that come back may be the
 * key's too. */
static int is_readable(const struct docker_run *run, const struct secret_file *file,
		       const struct docker_tar_owner *user, struct err *err)
{
	cleanup_with(buf_clear) struct buf archive = { 0 };
	struct docker_tar_owner found;
	const char *content;
	size_t len;
	bool same;
	int rc = copy_out(run, file->path, &archive, err);

	if (rc == 0 && docker_tar_first(archive.data, archive.len, &found, &content, &len) < 0)
		rc = not_read_back(file->path, err);
	same = rc == 0 && len == file->len && memcmp(content, file->bytes, len) == 0;
	if (archive.data)
		explicit_bzero(archive.data, archive.len);
	TRY(rc);
	if (!same)
		return err_set(err, EBADMSG, STEP ": 'docker cp' laid another %s than it was given",
			       file->path);
	return may(user, &found, 4);
}

static int is_reached(const struct docker_run *run, const struct docker_tar_owner *user,
		      struct err *err)
{
	cleanup_with(buf_clear) struct buf archive = { 0 };
	struct docker_tar_owner found;
	int rc = copy_out(run, CA_FOLDER, &archive, err);

	if (rc == 0 && docker_tar_first_folder(archive.data, archive.len, &found) < 0)
		rc = not_read_back(CA_FOLDER, err);
	if (archive.data)
		explicit_bzero(archive.data, archive.len);
	TRY(rc);
	return may(user, &found, 1);
}

/* 1 where the proxy's user may use all of it. 0: not `*ret_path`. */
static int is_usable(const struct docker_run *run, const struct docker_tar_owner *user,
		     const char **ret_path, struct err *err)
{
	struct secret_file files[FILES_MAX];
	int rc = is_reached(run, user, err);

	*ret_path = CA_FOLDER;
	list_files(run, files);
	for (size_t i = 0; i < FILES_MAX && rc == 1; i++) {
		*ret_path = files[i].path;
		if (files[i].wanted)
			rc = is_readable(run, &files[i], user, err);
	}
	return rc;
}

int docker_secrets_copy(struct docker_run *run, struct err *err)
{
	struct docker_tar_owner user;
	const char *path;
	int usable;

	TRY(find_user(run, &user, err));
	TRY(copy_in(run, &user, &owners_modes, err));
	usable = is_usable(run, &user, &path, err);
	if (usable)
		return usable < 0 ? usable : 0;
	TRY(copy_in(run, &user, &anyones_modes, err));
	usable = is_usable(run, &user, &path, err);
	if (usable < 0)
		return usable;
	if (!usable)
		return err_set(
			err, EPERM,
			STEP ": this engine keeps neither owner nor mode of what 'docker cp' "
			     "lays: the proxy, user %u, could not read %s; take an image with the "
			     "label bottle.secrets=stdin, or another engine",
			(unsigned)user.uid, path);
	return strlist_add(
		       &run->warnings,
		       "this engine did not keep the owner of what 'docker cp' laid: key and "
		       "routes are readable for every user inside the proxy's container (0444)") < 0
		       ? err_sys(err, ENOMEM, STEP)
		       : 0;
}
