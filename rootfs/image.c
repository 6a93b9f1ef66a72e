/* SPDX-License-Identifier: Apache-2.0
 * Images: import, find, list, remove; see image.h. Runs in: launcher.
 *
 * The store's lock is held while names change, which is short, and not while an archive is read: an
 * import that takes a minute keeps nobody waiting. */
#include "rootfs/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "rootfs/archive.h"
#include "rootfs/digest.h"
#include "rootfs/image_config.h"
#include "rootfs/import.h"
#include "rootfs/record.h"
#include "rootfs/source.h"
#include "rootfs/store.h"

enum { PREFIX_MIN_LEN = 6, SHOWN_NAME_BYTES = 256 };

void image_clear(struct image *image)
{
	free(image->digest);
	free(image->root_path);
	strlist_clear(&image->argv);
	strlist_clear(&image->env);
	free(image->workdir);
	free(image->user);
	strlist_clear(&image->labels);
	if (image->lock_fd > 0)
		close(image->lock_fd);
	*image = (struct image){ 0 };
}

const char *image_label(const struct image *image, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < image->labels.len; i++) {
		const char *label = image->labels.items[i];

		if (strncmp(label, key, len) == 0 && label[len] == '=')
			return label + len + 1;
	}
	return NULL;
}

bool image_has_label(const struct image *image, const char *key, const char *value)
{
	const char *found = image_label(image, key);

	return found && strcmp(found, value) == 0;
}

/* Opens the image `hex` and reads its record. -ENOENT without a sentence when it is not there. */
static int open_image(const struct store *store, const char *hex, struct image *ret_image,
		      struct err *err)
{
	cleanup_with(image_clear) struct image image = { 0 };
	cleanup_with(buf_clear) struct buf text = { 0 };
	cleanup_fd int fd = -1;
	int rc;

	TRY(store_open_image(store, hex, &fd, &image.lock_fd, err));
	rc = file_read(fd, RECORD_NAME, RECORD_MAX_BYTES, &text, err);
	if (rc == 0)
		rc = record_parse(text.data ? text.data : "", text.len, &image, err);
	if (rc < 0) {
		/* Of these the image is innocent. */
		bool is_want = rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM;

		return err_context(err, rc == -ENOENT ? -EBADMSG : rc,
				   "image sha256:%.12s cannot be used%s", hex,
				   is_want ? "" : ", import it again");
	}
	image.digest = str_printf("%s%s", DIGEST_PREFIX, hex);
	image.root_path = str_printf("%s/images/sha256/%s/rootfs", store->dir, hex);
	if (!image.digest || !image.root_path)
		return err_sys(err, ENOMEM, "image sha256:%.12s", hex);
	*ret_image = image;
	image = (struct image){ 0 };
	return 0;
}

static int find_by_prefix(const struct store *store, const char *prefix,
			  char ret_hex[static SHA256_HEX_BYTES], struct err *err)
{
	cleanup_with(strlist_clear) struct strlist all = { 0 };
	size_t matches = 0;

	TRY(store_list_images(store, &all, err));
	for (size_t i = 0; i < all.len; i++) {
		if (!str_starts(all.items[i], prefix))
			continue;
		matches++;
		memcpy(ret_hex, all.items[i], SHA256_HEX_BYTES);
	}
	if (matches > 1)
		return err_set(err, EINVAL, "%zu images begin with '%s': say more digits", matches,
			       prefix);
	return matches ? 0 : -ENOENT;
}

/* A tag, a whole digest or the beginning of one; *ret_tag is NULL (owned else) for the latter two.
 * -ENOENT without a sentence. */
static int resolve(const struct store *store, const char *name, char **ret_tag,
		   char ret_hex[static SHA256_HEX_BYTES], struct err *err)
{
	const char *hex = str_starts(name, DIGEST_PREFIX) ? name + strlen(DIGEST_PREFIX) : name;
	bool is_prefix = digest_is_hex(hex, strlen(hex)) && strlen(hex) <= DIGEST_HEX_LEN &&
			 (hex != name || strlen(hex) >= PREFIX_MIN_LEN);
	cleanup_free char *tag = NULL;
	int rc = -ENOENT;

	*ret_tag = NULL;
	if (hex == name) {
		TRY(store_tag_normalise(name, &tag, err));
		rc = store_tag_read(store, tag, ret_hex, err);
	}
	if (rc == 0)
		*ret_tag = take_ptr(tag);
	return rc == -ENOENT && is_prefix ? find_by_prefix(store, hex, ret_hex, err) : rc;
}

static int not_found(const char *name, struct err *err)
{
	char shown[SHOWN_NAME_BYTES];

	return err_set(
		err, ENOENT,
		"no image '%s': import one with `bottle image import ARCHIVE --tag NAME` "
		"(a `docker save` tar or an OCI layout); `bottle image list` shows what there is",
		str_escape(shown, sizeof(shown), name, strlen(name)));
}

int image_find(const char *data_dir, const char *name, struct image *ret_image, struct err *err)
{
	cleanup_with(store_close) struct store store = { 0 };
	char hex[SHA256_HEX_BYTES];
	cleanup_free char *tag = NULL;
	int rc = store_open(data_dir, false, &store, err);

	if (rc == 0)
		rc = resolve(&store, name, &tag, hex, err);
	if (rc == 0)
		rc = open_image(&store, hex, ret_image, err);
	return rc == -ENOENT ? not_found(name, err) : rc;
}

/* Why a tag would be taken for another image, or NULL: bottle's own, or one named by its digest, which
 * resolve looks for among the tags first. */
static const char *why_misleading(const char *tag)
{
	static const char suffix[] = ":latest";
	size_t len = strcspn(tag, ":");

	if (strcmp(tag, IMAGE_OWN_NAME ":latest") == 0)
		return "is the name of the proxy that came with bottle";
	if (str_starts(tag, DIGEST_PREFIX))
		return "reads as a digest";
	if (len >= PREFIX_MIN_LEN && len <= DIGEST_HEX_LEN && digest_is_hex(tag, len) &&
	    strcmp(tag + len, suffix) == 0)
		return "reads as the beginning of a digest";
	return NULL;
}

/* Before minutes of unpacking. */
static int check_wanted_tag(const char *wanted, struct err *err)
{
	cleanup_free char *tag = NULL;
	const char *why;

	TRY(store_tag_normalise(wanted, &tag, err));
	why = why_misleading(tag);
	return why ? err_set(err, EINVAL, "'%s' %s: say another --tag NAME", wanted, why) : 0;
}

/* The tag that an import shall write: asked for, or the archive's own. */
static int choose_tag(const struct image_archive *archive, const struct source *source,
		      const char *wanted, char **ret_tag, struct err *err)
{
	cleanup_free char *tag = NULL;
	char shown[SHOWN_NAME_BYTES];
	const char *why;

	if (wanted)
		return store_tag_normalise(wanted, ret_tag, err);
	if (!source->name)
		return err_set(err, EINVAL,
			       "%s: the archive gives the image no name; say --tag NAME",
			       archive->path);
	why = store_tag_normalise(source->name, &tag, NULL) < 0 ? "is no name here"
								: why_misleading(tag);
	if (why)
		return err_set(err, EINVAL,
			       "%s: the archive calls the image '%s', which %s; say --tag NAME",
			       archive->path,
			       str_escape(shown, sizeof(shown), source->name, strlen(source->name)),
			       why);
	*ret_tag = take_ptr(tag);
	return 0;
}

/* Whether this image is in the store, whole and of this version. */
static bool is_usable(const struct store *store, const char *hex)
{
	cleanup_with(image_clear) struct image image = { 0 };

	return open_image(store, hex, &image, NULL) == 0;
}

/* The tags of one digest, except `but` (or NULL). */
static int tags_of(const struct store *store, const char *hex, const char *but,
		   struct strlist *ret_tags, struct err *err)
{
	cleanup_with(strlist_clear) struct strlist tags = { 0 };

	TRY(store_tag_list(store, &tags, err));
	for (size_t i = 0; i < tags.len; i++) {
		char found[SHA256_HEX_BYTES];

		if (but && strcmp(tags.items[i], but) == 0)
			continue;
		if (store_tag_read(store, tags.items[i], found, NULL) < 0 ||
		    strcmp(found, hex) != 0)
			continue;
		if (strlist_add(ret_tags, tags.items[i]) < 0)
			return err_sys(err, ENOMEM, "reading tags");
	}
	return 0;
}

/* What an import needs until it is over; cleared in this order. */
struct import {
	struct store store;
	struct stage stage;
	struct image_archive archive;
	struct source source;
	struct image_config config;
	char *tag;
	const char *only_hex; /* borrowed: the one image that is wanted, or NULL */
	bool is_filled;	      /* the stage holds the whole image */
};

static void import_clear(struct import *import)
{
	free(import->tag);
	image_config_clear(&import->config);
	source_clear(&import->source);
	image_archive_close(&import->archive);
	stage_close(&import->stage);
	store_close(&import->store);
}

static int open_stage(struct import *import, struct err *err)
{
	TRY(store_lock(&import->store, err));
	TRY(store_sweep(&import->store, err));
	TRY(stage_open(&import->store, &import->stage, err));
	store_unlock(&import->store);
	return 0;
}

static int check_wanted(const struct import *import, struct err *err)
{
	const char *hex = import->source.config_hex;

	if (!import->only_hex || strcmp(import->only_hex, hex) == 0)
		return 0;
	return err_set(err, ESTALE, "%s: holds the image sha256:%.12s, not sha256:%.12s",
		       import->archive.path, hex, import->only_hex);
}

/* What the tag pointed to until now has no name any more: it goes, unless a run uses it. Under the
 * lock. That it could not be removed is no failure of the import. */
static void remove_former(struct store *store, const char *former_hex, const char *hex)
{
	cleanup_with(strlist_clear) struct strlist others = { 0 };

	if (strcmp(former_hex, hex) != 0 && tags_of(store, former_hex, NULL, &others, NULL) == 0 &&
	    others.len == 0)
		(void)!store_remove_image(store, former_hex, NULL);
}

/* Fills the stage, unless the image is there already: a tag for it costs no unpacking then. */
static int fill_unless_usable(struct import *import, struct err *err)
{
	if (import->is_filled || is_usable(&import->store, import->source.config_hex))
		return 0;
	TRY(import_fill_stage(&import->archive, &import->source, &import->config, &import->stage,
			      err));
	import->is_filled = true;
	return 0;
}

/* Puts the stage in its place and keeps the store's lock. An image there that cannot be used is
 * replaced; one that another import has put there meanwhile is as good as ours, since its digest is
 * the same. One that was there when the stage was left empty may have been removed since: the stage
 * is filled then, and everything is looked at again. */
static int publish(struct import *import, struct err *err)
{
	const char *hex = import->source.config_hex;

	for (;;) {
		TRY(fill_unless_usable(import, err));
		TRY(store_lock(&import->store, err));
		if (is_usable(&import->store, hex))
			return 0;
		if (import->is_filled)
			break;
		store_unlock(&import->store);
	}
	TRY(store_remove_image(&import->store, hex, err));
	return stage_publish(&import->stage, hex, err);
}

static int run_import(struct import *import, const char *path, const char *wanted_tag,
		      struct err *err)
{
	char former_hex[SHA256_HEX_BYTES] = "";
	const char *hex = import->source.config_hex;

	TRY(open_stage(import, err));
	TRY(image_archive_open(path, import->stage.fd, &image_archive_limits_default,
			       &import->archive, err));
	TRY(source_select(&import->archive, wanted_tag, &import->source, err));
	TRY(check_wanted(import, err));
	TRY(choose_tag(&import->archive, &import->source, wanted_tag, &import->tag, err));
	TRY(import_read_config(&import->archive, &import->source, &import->config, err));
	TRY(publish(import, err));
	if (import->only_hex)
		(void)!store_tag_read(&import->store, import->tag, former_hex, NULL);
	TRY(store_tag_write(&import->store, import->tag, hex, err));
	if (former_hex[0])
		remove_former(&import->store, former_hex, hex);
	return 0;
}

int image_import(const char *data_dir, const char *archive, const char *tag, char **ret_digest,
		 char **ret_tag, struct err *err)
{
	cleanup_with(import_clear) struct import import = { 0 };
	cleanup_free char *digest = NULL;

	if (tag)
		TRY(check_wanted_tag(tag, err));
	TRY(store_open(data_dir, true, &import.store, err));
	TRY(run_import(&import, archive, tag, err));
	digest = str_printf("%s%s", DIGEST_PREFIX, import.source.config_hex);
	if (!digest)
		return err_sys(err, ENOMEM, "%s", archive);
	*ret_digest = take_ptr(digest);
	if (ret_tag)
		*ret_tag = take_ptr(import.tag);
	return 0;
}

int image_import_exact(const char *data_dir, const char *archive, const char *tag,
		       const char *digest, struct err *err)
{
	cleanup_with(import_clear) struct import import = { .only_hex = digest_hex(digest) };

	if (!import.only_hex)
		return err_set(err, EINVAL, "'%.100s' is no digest", digest);
	TRY(store_open(data_dir, true, &import.store, err));
	return run_import(&import, archive, tag, err);
}

/* The callback and what it needs, for one listing. */
struct listing {
	const struct store *store;
	void (*each)(void *ctx, const char *tag, const struct image *image);
	void *ctx;
};

static int show(const struct listing *listing, const char *tag, const char *hex, struct err *err)
{
	cleanup_with(image_clear) struct image image = { 0 };
	int rc = open_image(listing->store, hex, &image, NULL);

	if (rc < 0) { /* it is listed all the same, so that it can be removed */
		image.digest = str_printf("%s%s", DIGEST_PREFIX, hex);
		if (!image.digest)
			return err_sys(err, ENOMEM, "listing images");
	}
	listing->each(listing->ctx, tag, &image);
	return 0;
}

int image_list(const char *data_dir,
	       void (*each)(void *ctx, const char *tag, const struct image *image), void *ctx,
	       struct err *err)
{
	cleanup_with(store_close) struct store store = { 0 };
	cleanup_with(strlist_clear) struct strlist tags = { 0 };
	cleanup_with(strlist_clear) struct strlist tagged = { 0 };
	cleanup_with(strlist_clear) struct strlist all = { 0 };
	struct listing listing = { .store = &store, .each = each, .ctx = ctx };
	int rc = store_open(data_dir, false, &store, err);

	if (rc == -ENOENT)
		return 0;
	TRY(rc);
	TRY(store_tag_list(&store, &tags, err));
	TRY(store_list_images(&store, &all, err));
	for (size_t i = 0; i < tags.len; i++) {
		char hex[SHA256_HEX_BYTES];

		/* Removed since, or damaged: the others are still shown. */
		if (store_tag_read(&store, tags.items[i], hex, NULL) < 0)
			continue;
		if (strlist_add(&tagged, hex) < 0)
			return err_sys(err, ENOMEM, "listing images");
		TRY(show(&listing, tags.items[i], hex, err));
	}
	for (size_t i = 0; i < all.len; i++)
		if (!strlist_has(&tagged, all.items[i]))
			TRY(show(&listing, NULL, all.items[i], err));
	return 0;
}

/* The tree goes before its tags: a kill in between leaves tags that say "no image", and never a
 * refusal (-EBUSY) with the tags already gone. */
static int remove_locked(struct store *store, const char *name, struct err *err)
{
	cleanup_with(strlist_clear) struct strlist others = { 0 };
	cleanup_free char *tag = NULL;
	char hex[SHA256_HEX_BYTES];

	TRY(resolve(store, name, &tag, hex, err));
	TRY(tags_of(store, hex, tag, &others, err));
	if (!tag || others.len == 0)
		TRY(store_remove_image(store, hex, err));
	if (tag)
		return store_tag_remove(store, tag, err);
	for (size_t i = 0; i < others.len; i++)
		TRY(store_tag_remove(store, others.items[i], err));
	return 0;
}

int image_remove(const char *data_dir, const char *name, struct err *err)
{
	cleanup_with(store_close) struct store store = { 0 };
	int rc = store_open(data_dir, false, &store, err);

	if (rc == 0) {
		TRY(store_lock(&store, err));
		TRY(store_sweep(&store, err));
		rc = remove_locked(&store, name, err);
	}
	return rc == -ENOENT ? not_found(name, err) : rc;
}
