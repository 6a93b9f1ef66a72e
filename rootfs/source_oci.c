/* SPDX-License-Identifier: Apache-2.0
 * The OCI image layout: index.json → (nested index →) manifest → configuration and layers, each a
 * blob named by its digest. Runs in: launcher (`bottle image import`).
 *
 * Every blob below index.json is checked against the digest and size that its parent states. */
#include "rootfs/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "rootfs/digest.h"
#include "rootfs/store.h"

/* A manifest that is for this platform. */
struct candidate {
	struct descriptor manifest;
	char *name; /* or NULL */
};

struct candidates {
	const struct image_archive *archive;
	struct candidate *items;
	size_t count;
	size_t seen;	 /* descriptors looked at, over all indexes */
	char other[128]; /* a platform that was passed over, for the message */
};

static void candidates_clear(struct candidates *found)
{
	for (size_t i = 0; i < found->count; i++) {
		descriptor_clear(&found->items[i].manifest);
		free(found->items[i].name);
	}
	free(found->items);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static int parse_descriptor(const struct image_archive *archive, const json_t *json,
			    struct descriptor *ret_descriptor, struct err *err)
{
	const char *digest = text_of(json, "digest");
	const char *hex = digest_hex(digest);
	const json_t *size = json_object_get(json, "size");
	char shown[100];

	if (!hex)
		return err_set(err, EBADMSG, "%s: '%s' is not a sha256 digest", archive->path,
			       str_escape(shown, sizeof(shown), digest, strlen(digest)));
	if (!json_is_integer(size) || json_integer_value(size) < 0)
		return err_set(err, EBADMSG, "%s: the descriptor of %s has no size", archive->path,
			       digest);
	memcpy(ret_descriptor->hex, hex, SHA256_HEX_BYTES);
	ret_descriptor->size = (uint64_t)json_integer_value(size);
	ret_descriptor->size_is_known = true;
	ret_descriptor->blob_name = str_printf("blobs/sha256/%s", hex);
	return ret_descriptor->blob_name ? 0 : err_sys(err, ENOMEM, "%s", archive->path);
}

static bool is_index(const json_t *descriptor)
{
	const char *type = text_of(descriptor, "mediaType");

	return strcmp(type, "application/vnd.oci.image.index.v1+json") == 0 ||
	       strcmp(type, "application/vnd.docker.distribution.manifest.list.v2+json") == 0;
}

/* No platform means: whatever the configuration says, which is checked later. */
static bool is_for_us(struct candidates *found, const json_t *descriptor)
{
	const json_t *platform = json_object_get(descriptor, "platform");
	const char *os = text_of(platform, "os"), *arch = text_of(platform, "architecture");
	char shown_os[40], shown_arch[40];

	if (!json_is_object(platform) ||
	    (strcmp(os, "linux") == 0 && strcmp(arch, source_architecture()) == 0))
		return true;
	if (strcmp(os, "unknown") != 0) /* an attestation, not an image */
		snprintf(found->other, sizeof(found->other), "%s/%s",
			 str_escape(shown_os, sizeof(shown_os), os, strlen(os)),
			 str_escape(shown_arch, sizeof(shown_arch), arch, strlen(arch)));
	return false;
}

/* containerd and Docker write the whole name beside the standard annotation, which they cut down to
 * its tag. */
static const char *name_of(const json_t *descriptor)
{
	const json_t *notes = json_object_get(descriptor, "annotations");
	const char *full = text_of(notes, "io.containerd.image.name");
	const char *name = *full ? full : text_of(notes, "org.opencontainers.image.ref.name");

	return *name ? name : NULL;
}

static int add_candidate(struct candidates *found, const json_t *json, const char *name,
			 struct err *err)
{
	struct candidate *grown = realloc(found->items, (found->count + 1) * sizeof(*found->items));
	struct candidate *item;

	if (!grown)
		return err_sys(err, ENOMEM, "%s", found->archive->path);
	found->items = grown;
	item = &grown[found->count];
	*item = (struct candidate){ 0 };
	TRY(parse_descriptor(found->archive, json, &item->manifest, err));
	found->count++;
	if (name && !(item->name = strdup(name)))
		return err_sys(err, ENOMEM, "%s", found->archive->path);
	return 0;
}

static int walk_index(struct candidates *found, const json_t *index, const char *outer_name,
		      int depth, struct err *err);

static int walk_nested(struct candidates *found, const json_t *json, const char *name, int depth,
		       struct err *err)
{
	cleanup_with(descriptor_clear) struct descriptor descriptor = { 0 };
	cleanup_with(json_clear) json_t *index = NULL;
	cleanup_with(buf_clear) struct buf text = { 0 };

	if (depth == SOURCE_INDEX_DEPTH_MAX)
		return err_set(err, ELOOP, "%s: indexes nested more than %d deep",
			       found->archive->path, SOURCE_INDEX_DEPTH_MAX);
	TRY(parse_descriptor(found->archive, json, &descriptor, err));
	TRY(source_read(found->archive, &descriptor, &text, err));
	TRY(source_parse_json(found->archive, descriptor.blob_name, &text, &index, err));
	return walk_index(found, index, name, depth + 1, err);
}

static int walk_index(struct candidates *found, const json_t *index, const char *outer_name,
		      int depth, struct err *err)
{
	const json_t *manifests = json_object_get(index, "manifests"), *json;
	size_t i;

	if (!json_is_array(manifests))
		return err_set(err, EBADMSG, "%s: an index without a list of manifests",
			       found->archive->path);
	json_array_foreach(manifests, i, json)
	{
		const char *name = name_of(json);

		if (++found->seen > SOURCE_INDEX_MAX)
			return err_set(err, E2BIG, "%s: its indexes name more than %d manifests",
				       found->archive->path, SOURCE_INDEX_MAX);
		if (!is_for_us(found, json))
			continue;
		if (!name)
			name = outer_name;
		TRY(is_index(json) ? walk_nested(found, json, name, depth, err)
				   : add_candidate(found, json, name, err));
	}
	return 0;
}

/* "name:tag" means any "host/…/name:tag" too. */
static bool is_called(const struct candidate *item, const char *wanted)
{
	cleanup_free char *name = NULL;
	cleanup_free char *full = NULL;

	if (!item->name || !wanted || store_tag_normalise(item->name, &name, NULL) < 0 ||
	    store_tag_normalise(wanted, &full, NULL) < 0 || !str_ends(name, full))
		return false;
	return strlen(name) == strlen(full) || name[strlen(name) - strlen(full) - 1] == '/';
}

/* Whether two entries are two images: the same manifest under two names is one, and so are two
 * manifests without names (variants of a platform: the first counts, OCI image-index.md). */
static bool differ(const struct candidate *a, const struct candidate *b)
{
	if (strcmp(a->manifest.hex, b->manifest.hex) == 0)
		return false;
	return a->name && b->name ? strcmp(a->name, b->name) != 0 : a->name != b->name;
}

static int choose(const struct candidates *found, const char *wanted,
		  const struct candidate **ret_item, struct err *err)
{
	if (found->count == 0)
		return err_set(err, ENOENT, "%s: no image for linux/%s in it%s%s",
			       found->archive->path, source_architecture(),
			       *found->other ? "; there is one for " : "", found->other);
	for (size_t i = 0; i < found->count; i++) {
		if (is_called(&found->items[i], wanted)) {
			*ret_item = &found->items[i];
			return 0;
		}
	}
	for (size_t i = 1; i < found->count; i++)
		if (differ(&found->items[0], &found->items[i]))
			return err_set(
				err, ENOENT,
				"%s: holds several images; choose one with --tag NAME, with a "
				"name that is in it",
				found->archive->path);
	*ret_item = &found->items[0];
	return 0;
}

static int check_media_type(const struct image_archive *archive, const json_t *descriptor,
			    const char *part, struct err *err)
{
	const char *type = text_of(descriptor, "mediaType");
	char shown[128];

	if (strstr(type, part) && !strstr(type, "encrypted"))
		return 0;
	return err_set(err, EBADMSG,
		       "%s: '%s' is no part of a container image that can be unpacked",
		       archive->path, str_escape(shown, sizeof(shown), type, strlen(type)));
}

static int take_parts(const struct image_archive *archive, const json_t *manifest,
		      struct source *source, struct err *err)
{
	cleanup_with(descriptor_clear) struct descriptor config = { 0 };
	const json_t *layers = json_object_get(manifest, "layers"), *json;
	size_t i;

	json = json_object_get(manifest, "config");
	TRY(check_media_type(archive, json, "image", err));
	TRY(parse_descriptor(archive, json, &config, err));
	TRY(source_read(archive, &config, &source->config_json, err));
	memcpy(source->config_hex, config.hex, sizeof(config.hex));
	if (!json_is_array(layers) || json_array_size(layers) == 0)
		return err_set(err, EBADMSG, "%s: the image has no layers", archive->path);
	json_array_foreach(layers, i, json)
	{
		cleanup_with(descriptor_clear) struct descriptor layer = { 0 };

		TRY(check_media_type(archive, json, "tar", err));
		TRY(parse_descriptor(archive, json, &layer, err));
		TRY(source_add_layer(source, archive, &layer, err));
	}
	return 0;
}

static int take_image(const struct image_archive *archive, const struct candidate *item,
		      struct source *source, struct err *err)
{
	cleanup_with(json_clear) json_t *manifest = NULL;
	cleanup_with(buf_clear) struct buf text = { 0 };

	TRY(source_read(archive, &item->manifest, &text, err));
	TRY(source_parse_json(archive, item->manifest.blob_name, &text, &manifest, err));
	TRY(take_parts(archive, manifest, source, err));
	if (item->name && !(source->name = strdup(item->name)))
		return err_sys(err, ENOMEM, "%s", archive->path);
	return 0;
}

int source_select_oci(const struct image_archive *archive, const char *wanted_name,
		      struct source *ret_source, struct err *err)
{
	cleanup_with(candidates_clear) struct candidates found = { .archive = archive };
	cleanup_with(source_clear) struct source source = { 0 };
	cleanup_with(json_clear) json_t *index = NULL;
	cleanup_with(buf_clear) struct buf text = { 0 };
	struct descriptor top = { .blob_name = (char[]){ "index.json" } };
	const struct candidate *item = NULL;

	TRY(source_read(archive, &top, &text, err));
	TRY(source_parse_json(archive, "index.json", &text, &index, err));
	TRY(walk_index(&found, index, NULL, 0, err));
	TRY(choose(&found, wanted_name, &item, err));
	TRY(take_image(archive, item, &source, err));
	*ret_source = source;
	source = (struct source){ 0 };
	return 0;
}
