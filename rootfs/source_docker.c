/* SPDX-License-Identifier: Apache-2.0
 * manifest.json, the older format of `docker save`: [{Config, RepoTags, Layers}], all of them names
 * of members. Runs in: launcher (`bottle image import`).
 *
 * Config is named by its digest, which is checked. A layer is named by an id that is no digest of
 * anything, so of layers only the diff_id that the configuration holds can be, and is, verified;
 * where both are named blobs/sha256/<digest>, that digest is verified too. */
#include "rootfs/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "rootfs/digest.h"
#include "rootfs/store.h"

#define BLOB_PREFIX "blobs/sha256/"

/* The digest that a member's name states, or "". */
static void hex_of_name(const char *name, char ret_hex[static SHA256_HEX_BYTES])
{
	const char *at = str_starts(name, BLOB_PREFIX) ? name + strlen(BLOB_PREFIX) : name;

	*ret_hex = '\0';
	if (strlen(at) < DIGEST_HEX_LEN || !digest_is_hex(at, DIGEST_HEX_LEN))
		return;
	if (at[DIGEST_HEX_LEN] && strcmp(at + DIGEST_HEX_LEN, ".json") != 0)
		return;
	memcpy(ret_hex, at, DIGEST_HEX_LEN);
	ret_hex[DIGEST_HEX_LEN] = '\0';
}

static int take_member(const struct image_archive *archive, const json_t *name,
		       struct descriptor *ret_descriptor, struct err *err)
{
	const char *text = json_string_value(name);

	if (!text || !*text)
		return err_set(err, EBADMSG, "%s: manifest.json: a Config or a layer is not a name",
			       archive->path);
	ret_descriptor->blob_name = strdup(text);
	if (!ret_descriptor->blob_name)
		return err_sys(err, ENOMEM, "%s", archive->path);
	hex_of_name(text, ret_descriptor->hex);
	return 0;
}

static bool has_name(const json_t *image, const char *wanted)
{
	cleanup_free char *full_wanted = NULL;
	json_t *tag;
	size_t i;

	if (!wanted || store_tag_normalise(wanted, &full_wanted, NULL) < 0)
		return false;
	json_array_foreach(json_object_get(image, "RepoTags"), i, tag)
	{
		cleanup_free char *full = NULL;

		if (json_is_string(tag) &&
		    store_tag_normalise(json_string_value(tag), &full, NULL) == 0 &&
		    strcmp(full, full_wanted) == 0)
			return true;
	}
	return false;
}

static int choose(const struct image_archive *archive, const json_t *images, const char *wanted,
		  const json_t **ret_image, struct err *err)
{
	const json_t *image;
	size_t i;

	if (!json_is_array(images) || json_array_size(images) == 0)
		return err_set(err, EBADMSG, "%s: manifest.json: not a list of images",
			       archive->path);
	json_array_foreach(images, i, image)
	{
		if (json_array_size(images) == 1 || has_name(image, wanted)) {
			*ret_image = image;
			return 0;
		}
	}
	return err_set(
		err, ENOENT,
		"%s: holds %zu images; choose one with --tag NAME, with a name that is in it",
		archive->path, json_array_size(images));
}

static int take_layers(const struct image_archive *archive, const json_t *layers,
		       struct source *source, struct err *err)
{
	const json_t *layer;
	size_t i;

	if (!json_is_array(layers) || json_array_size(layers) == 0)
		return err_set(err, EBADMSG, "%s: manifest.json: the image has no layers",
			       archive->path);
	json_array_foreach(layers, i, layer)
	{
		cleanup_with(descriptor_clear) struct descriptor descriptor = { 0 };

		TRY(take_member(archive, layer, &descriptor, err));
		if (!str_starts(descriptor.blob_name, BLOB_PREFIX))
			*descriptor.hex = '\0';
		TRY(source_add_layer(source, archive, &descriptor, err));
	}
	return 0;
}

static int read_manifest(const struct image_archive *archive, json_t **ret_images, struct err *err)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	struct descriptor manifest = { .blob_name = (char[]){ "manifest.json" } };

	TRY(source_read(archive, &manifest, &text, err));
	return source_parse_json(archive, "manifest.json", &text, ret_images, err);
}

/* The first of RepoTags → *ret_name, which stays as it is where there is none. */
static int take_name(const struct image_archive *archive, const json_t *image, char **ret_name,
		     struct err *err)
{
	const json_t *tag = json_array_get(json_object_get(image, "RepoTags"), 0);
	char *name;

	if (!json_is_string(tag))
		return 0;
	name = strdup(json_string_value(tag));
	if (!name)
		return err_sys(err, ENOMEM, "%s", archive->path);
	free(*ret_name);
	*ret_name = name;
	return 0;
}

int source_docker_name(const struct image_archive *archive, const char *config_hex, char **ret_name,
		       struct err *err)
{
	cleanup_with(json_clear) json_t *images = NULL;
	const json_t *image;
	size_t i;

	TRY(read_manifest(archive, &images, err));
	json_array_foreach(images, i, image)
	{
		const char *config = json_string_value(json_object_get(image, "Config"));
		char hex[SHA256_HEX_BYTES];

		hex_of_name(config ? config : "", hex);
		if (strcmp(hex, config_hex) == 0)
			return take_name(archive, image, ret_name, err);
	}
	return 0;
}

int source_select_docker(const struct image_archive *archive, const char *wanted_name,
			 struct source *ret_source, struct err *err)
{
	cleanup_with(source_clear) struct source source = { 0 };
	cleanup_with(descriptor_clear) struct descriptor config = { 0 };
	cleanup_with(json_clear) json_t *images = NULL;
	const json_t *image = NULL;

	TRY(read_manifest(archive, &images, err));
	TRY(choose(archive, images, wanted_name, &image, err));
	TRY(take_member(archive, json_object_get(image, "Config"), &config, err));
	TRY(source_read(archive, &config, &source.config_json, err));
	digest_of(source.config_json.data ? source.config_json.data : "", source.config_json.len,
		  source.config_hex);
	TRY(take_layers(archive, json_object_get(image, "Layers"), &source, err));
	TRY(take_name(archive, image, &source.name, err));
	*ret_source = source;
	source = (struct source){ 0 };
	return 0;
}
