/* SPDX-License-Identifier: Apache-2.0
 * Images as Docker has them; see docker_image.h. Runs in: launcher of the Docker backend. */
#include "runtime/docker_image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "native_digest.h"
#include "rootfs/user_spec.h"
#include "runtime/docker_cli.h"
#include "runtime/docker_inputs.h"
#include "runtime/native_archive.h"
#include "runtime/own_files.h"

#define STEP	     "image"
#define BUILT_PREFIX "bottle-egress-proxy-"
#define INPUTS_LABEL "bottle.inputs"

enum { OUR_USER = 1000 };

void docker_image_clear(struct docker_image *image)
{
	free(image->name);
	free(image->source);
	free(image->inputs);
	free(image->id);
	free(image->user);
	strlist_clear(&image->argv);
	strlist_clear(&image->labels);
	*image = (struct docker_image){ 0 };
}

/* ---- what an image says of itself ---- */

static bool has_label(const struct docker_image *image, const char *label)
{
	return strlist_has(&image->labels, label);
}

static int read_labels(struct docker_image *image, json_t *labels)
{
	const char *key;
	json_t *value;

	json_object_foreach(labels, key, value) if (json_is_string(value))
		TRY(strlist_addf(&image->labels, "%s=%s", key, json_string_value(value)));
	image->by_stdin = has_label(image, "bottle.secrets=stdin");
	image->knows_ready = has_label(image, "bottle.ready-fd=1");
	image->wants_host_store = has_label(image, "bottle.trust-store=host");
	return 0;
}

static int add_words(struct strlist *argv, const json_t *words)
{
	const json_t *word;
	size_t i;

	json_array_foreach(words, i, word) if (json_is_string(word))
		TRY(strlist_add(argv, json_string_value(word)));
	return 0;
}

/* As far as it says numbers. A name, and the group of a uid that says none, stand in the image's own passwd
 * and group; but what takes its secrets on standard input is made a container before they can be read. */
static void read_user(struct docker_image *image)
{
	struct user_spec spec;

	user_spec_parse(image->user, &spec);
	image->has_uid = spec.has_uid;
	image->has_gid = spec.has_gid;
	image->uid = (uid_t)spec.uid;
	image->gid = (gid_t)spec.gid;
	if (!spec.has_gid && image->is_ours)
		image->gid = image->uid;
}

static int read_said(struct docker_image *image, const char *text, size_t len, struct err *err)
{
	cleanup_with(json_clear) json_t *said = json_loadb(text, len, 0, NULL);
	const json_t *found = json_array_get(said, 0);
	json_t *config = json_object_get(found, "Config");
	const char *id = json_string_value(json_object_get(found, "Id"));
	const char *user = json_string_value(json_object_get(config, "User"));

	if (!id || !config)
		return err_set(err, EPROTO, STEP ": %s: what 'image inspect' printed is no image",
			       image->name);
	free(image->id);
	free(image->user);
	strlist_clear(&image->argv);
	strlist_clear(&image->labels);
	image->id = strdup(id);
	image->user = strdup(user ? user : "");
	if (!image->id || !image->user ||
	    read_labels(image, json_object_get(config, "Labels")) < 0 ||
	    add_words(&image->argv, json_object_get(config, "Entrypoint")) < 0 ||
	    add_words(&image->argv, json_object_get(config, "Cmd")) < 0)
		return err_sys(err, ENOMEM, STEP);
	read_user(image);
	return 0;
}

/* -ENOENT without a sentence: it is not there. Docker's and podman's words for that differ, and a daemon
 * that does not answer was found before. */
static int inspect(struct docker_image *image, const char *name, struct err *err)
{
	cleanup_with(buf_clear) struct buf out = { 0 };
	struct err said;
	/* Without a format: an array, which podman prints for {{json .}} too. */
	int rc = DOCKER_CALL(STEP, &out, &said, "image", "inspect", name);

	if (rc == -EREMOTEIO &&
	    (strcasestr(said.text, "no such image") || strcasestr(said.text, "not known") ||
	     strcasestr(said.text, "not found")))
		return -ENOENT;
	if (rc < 0) {
		*err = said;
		return rc;
	}
	return read_said(image, out.data ? out.data : "", out.len, err);
}

/* ---- which image, and how it gets there ---- */

static int no_memory(struct err *err)
{
	return err_sys(err, ENOMEM, STEP);
}

/* What one of ours says of itself, before it is there. */
static int presume(struct docker_image *image)
{
	image->user = strdup("1000");
	image->has_uid = true;
	image->uid = image->gid = OUR_USER;
	image->by_stdin = image->knows_ready = true;
	image->wants_host_store = strcmp(image->target, "native") == 0;
	return image->user ? 0 : -ENOMEM;
}

static int look_built(const char *target, struct docker_image *image, struct err *err)
{
	static const char *const places[] = { "/../share/bottle", "/../../..", NULL };
	cleanup_free char *dockerfile = NULL;
	cleanup_free char *label = NULL;
	int rc;

	image->is_ours = true;
	image->target = target;
	rc = own_files_find(places, "Dockerfile.egress-proxy", &dockerfile, err);
	if (rc == -ENOENT)
		return err_set(err, ENOENT,
			       STEP ": Dockerfile.egress-proxy did not come with this bottle; "
				    "install it again, or say proxy.image");
	TRY(rc);
	*strrchr(dockerfile, '/') = '\0';
	image->source = take_ptr(dockerfile);
	TRY(docker_inputs_digest(image->source, target, &image->inputs, err));
	label = str_printf(INPUTS_LABEL "=%s", image->inputs);
	image->name = str_printf(BUILT_PREFIX "%s:latest", target);
	if (!image->name || !label)
		return no_memory(err);
	rc = inspect(image, image->name, err);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	image->way = rc == 0 && has_label(image, label) ? DOCKER_IMAGE_THERE : DOCKER_IMAGE_BUILD;
	if (image->way == DOCKER_IMAGE_THERE)
		return 0;
	free(image->id);
	free(image->user);
	image->id = image->user = NULL;
	return presume(image) < 0 ? no_memory(err) : 0;
}

/* By its digest, so that neither another image under its tag nor another archive is run. */
static int look_native(struct docker_image *image, struct err *err)
{
	int rc;

	if (!NATIVE_IMAGE_DIGEST[0])
		return look_built("native", image, err);
	image->is_ours = true;
	image->target = "native";
	image->name = strdup(NATIVE_IMAGE_DIGEST);
	if (!image->name)
		return no_memory(err);
	rc = inspect(image, NATIVE_IMAGE_DIGEST, err);
	if (rc == -ENOENT)
		rc = inspect(image, NATIVE_MANIFEST_DIGEST, err);
	if (rc != -ENOENT)
		return rc;
	image->way = DOCKER_IMAGE_LOAD;
	TRY(native_archive_find(&image->source, err));
	return presume(image) < 0 ? no_memory(err) : 0;
}

/* Its tmpfs mounts get their owner when the container is created, before its passwd can be read. */
static int check_stdin_user(const struct docker_image *image, struct err *err)
{
	char shown[64];

	if (!image->by_stdin || image->has_uid)
		return 0;
	return err_set(
		err, EINVAL,
		STEP ": '%s' takes its secrets on standard input (label "
		     "bottle.secrets=stdin), but its USER '%s' has a name, and the owner of "
		     "the mounts for them must be a number; build it with a numeric USER, as "
		     "1000:1000",
		image->name, str_escape(shown, sizeof(shown), image->user, strlen(image->user)));
}

int docker_image_look_proxy(const char *name, struct docker_image *ret_image, struct err *err)
{
	int rc;

	if (native_image_is_name(name))
		return look_native(ret_image, err);
	if (strcmp(name, "mitmproxy") == 0)
		return look_built("mitmproxy", ret_image, err);
	ret_image->name = strdup(name);
	if (!ret_image->name)
		return no_memory(err);
	rc = inspect(ret_image, name, err);
	if (rc == -ENOENT)
		return err_set(err, ENOENT,
			       STEP ": Docker has no image '%s'; give it one with "
				    "`docker load`, `docker pull` or `docker build`",
			       name);
	TRY(rc);
	return check_stdin_user(ret_image, err);
}

int docker_image_look_agent(const char *name, struct docker_image *ret_image, struct err *err)
{
	int rc;

	ret_image->name = strdup(name);
	if (!ret_image->name)
		return no_memory(err);
	rc = inspect(ret_image, name, err);
	if (rc != -ENOENT)
		return rc;
	ret_image->way = DOCKER_IMAGE_PULL;
	return 0;
}

/* ---- making it ---- */

static int call_long(const struct strlist *argv, struct err *err)
{
	return docker_call(&(struct docker_call){ .step = STEP,
						  .argv = argv,
						  .timeout_ms = DOCKER_LONG_MS,
						  .ends_on_signal = true },
			   err);
}

static int build(const struct docker_image *image, struct err *err)
{
	cleanup_with(strlist_clear) struct strlist argv = { 0 };
	const char *words[] = {
		"build", "--quiet", "--target", image->target, "--tag", image->name
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strlist_add(&argv, words[i]) < 0)
			return no_memory(err);
	if (strlist_addf(&argv, "--label=" INPUTS_LABEL "=%s", image->inputs) < 0 ||
	    strlist_addf(&argv, "--file=%s/Dockerfile.egress-proxy", image->source) < 0 ||
	    strlist_add(&argv, image->source) < 0)
		return no_memory(err);
	return call_long(&argv, err);
}

static const char *const way_words[] = {
	[DOCKER_IMAGE_THERE] = "image inspect",
	[DOCKER_IMAGE_LOAD] = "load",
	[DOCKER_IMAGE_BUILD] = "build",
	[DOCKER_IMAGE_PULL] = "pull",
};

static int make(const struct docker_image *image, struct err *err)
{
	cleanup_with(strlist_clear) struct strlist argv = { 0 };

	switch (image->way) {
	case DOCKER_IMAGE_THERE:
		return 0;
	case DOCKER_IMAGE_LOAD:
		if (strlist_add(&argv, "load") < 0 || strlist_add(&argv, "--input") < 0 ||
		    strlist_add(&argv, image->source) < 0)
			return no_memory(err);
		return call_long(&argv, err);
	case DOCKER_IMAGE_BUILD:
		return build(image, err);
	case DOCKER_IMAGE_PULL:
		if (strlist_add(&argv, "pull") < 0 || strlist_add(&argv, "--quiet") < 0 ||
		    strlist_add(&argv, image->name) < 0)
			return no_memory(err);
		return call_long(&argv, err);
	}
	return -EINVAL;
}

/* A built image must be what the plan took it for: the plan's words for the container were made of that. */
static int check_made(const struct docker_image *planned, const struct docker_image *made,
		      struct err *err)
{
	if (!planned->is_ours ||
	    (made->by_stdin && made->knows_ready && made->has_uid && made->uid == planned->uid &&
	     made->gid == planned->gid && made->wants_host_store == planned->wants_host_store))
		return 0;
	return err_set(err, EBADMSG,
		       STEP ": '%s' is not what this bottle's files make: its labels or its user "
			    "are others",
		       planned->name);
}

int docker_image_make(const struct docker_image *image, char **ret_id, struct err *err)
{
	cleanup_with(docker_image_clear) struct docker_image made = { 0 };
	int rc;

	if (image->way != DOCKER_IMAGE_THERE) {
		TRY(make(image, err));
		made.is_ours = image->is_ours;
		made.name = strdup(image->name);
		if (!made.name)
			return no_memory(err);
		rc = inspect(&made, image->name, err);
		if (rc == -ENOENT && image->way == DOCKER_IMAGE_LOAD)
			rc = inspect(&made, NATIVE_MANIFEST_DIGEST, err);
		if (rc == -ENOENT)
			return err_set(err, ENOENT, STEP ": Docker has no image '%s' after '%s %s'",
				       image->name, docker_cli_name(), way_words[image->way]);
		TRY(rc);
		TRY(check_made(image, &made, err));
	}
	*ret_id = strdup(made.id ? made.id : image->id);
	return *ret_id ? 0 : no_memory(err);
}
