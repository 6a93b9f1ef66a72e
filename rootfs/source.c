/* SPDX-License-Identifier: Apache-2.0
 * Which image is meant; see source.h. Runs in: launcher (`bottle image import`). */
#include "rootfs/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "rootfs/architecture.h"
#include "rootfs/digest.h"

void descriptor_clear(struct descriptor *descriptor)
{
	free(descriptor->blob_name);
	*descriptor = (struct descriptor){ 0 };
}

void source_clear(struct source *source)
{
	free(source->name);
	buf_clear(&source->config_json);
	for (size_t i = 0; i < source->layer_count; i++)
		descriptor_clear(&source->layers[i]);
	free(source->layers);
	*source = (struct source){ 0 };
}

const char *source_architecture(void)
{
	return ROOTFS_ARCHITECTURE;
}

int source_parse_json(const struct image_archive *archive, const char *blob_name,
		      const struct buf *text, json_t **ret_json, struct err *err)
{
	json_error_t where;
	char shown[JSON_ERROR_TEXT_LENGTH];
	json_t *json = json_loadb(text->data ? text->data : "", text->len, JSON_REJECT_DUPLICATES,
				  &where);

	if (!json)
		return err_set(err, EBADMSG, "%s: %s:%d:%d: not valid JSON: %s", archive->path,
			       blob_name, where.line, where.column,
			       str_escape(shown, sizeof(shown), where.text, strlen(where.text)));
	*ret_json = json;
	return 0;
}

int source_open(const struct image_archive *archive, const struct descriptor *descriptor,
		struct blob *ret_blob, struct err *err)
{
	cleanup_with(blob_clear) struct blob blob = { 0 };
	const char *name = descriptor->blob_name;
	char shown[256];
	int rc = image_archive_find(archive, name, &blob, err);

	str_escape(shown, sizeof(shown), name, strlen(name));
	if (rc == -ENOENT)
		return err_set(err, ENOENT,
			       "%s: %s is named by the manifest but not in the archive",
			       archive->path, shown);
	TRY(rc);
	if (descriptor->size_is_known && descriptor->size != blob.size)
		return err_set(err, EBADMSG, "%s: %s: wrong size: expected %llu bytes, found %llu",
			       archive->path, shown, (unsigned long long)descriptor->size,
			       (unsigned long long)blob.size);
	*ret_blob = blob;
	blob = (struct blob){ 0 };
	return 0;
}

int source_check_digest(const struct image_archive *archive, const char *blob_name,
			const char *what, const char *expected_hex, const char *found_hex,
			struct err *err)
{
	if (!*expected_hex || strcmp(expected_hex, found_hex) == 0)
		return 0;
	return err_set(
		err, EBADMSG,
		"%s: %s: wrong %s: expected sha256:%s, found sha256:%s; the archive is damaged or "
		"was changed",
		archive->path, blob_name, what, expected_hex, found_hex);
}

int source_verify(const struct image_archive *archive, const struct descriptor *descriptor,
		  const struct blob *blob, struct err *err)
{
	uint8_t digest[SHA256_BYTES], chunk[65536];
	char found[SHA256_HEX_BYTES];
	struct sha256 sha;

	sha256_init(&sha);
	for (uint64_t at = 0; at < blob->size;) {
		ssize_t n = blob_read(blob, at, chunk, sizeof(chunk));

		if (n <= 0)
			return err_sys(err, n < 0 ? (int)-n : EIO, "%s: %s", archive->path,
				       blob->name);
		sha256_update(&sha, chunk, (size_t)n);
		at += (uint64_t)n;
	}
	sha256_final(&sha, digest);
	sha256_hex(digest, found);
	return source_check_digest(archive, blob->name, "digest", descriptor->hex, found, err);
}

int source_read(const struct image_archive *archive, const struct descriptor *descriptor,
		struct buf *ret_text, struct err *err)
{
	cleanup_with(blob_clear) struct blob blob = { 0 };
	char found[SHA256_HEX_BYTES];
	int rc;

	TRY(source_open(archive, descriptor, &blob, err));
	rc = blob_read_all(&blob, SOURCE_JSON_MAX_BYTES, ret_text, err);
	if (rc < 0)
		return err_context(err, rc, "%s", archive->path);
	digest_of(ret_text->data ? ret_text->data : "", ret_text->len, found);
	return source_check_digest(archive, blob.name, "digest", descriptor->hex, found, err);
}

int source_add_layer(struct source *source, const struct image_archive *archive,
		     struct descriptor *take, struct err *err)
{
	if (source->layer_count == SOURCE_LAYERS_MAX)
		return err_set(err, E2BIG, "%s: the image has more than %d layers", archive->path,
			       SOURCE_LAYERS_MAX);
	if (!source->layers) {
		source->layers = calloc(SOURCE_LAYERS_MAX, sizeof(*source->layers));
		if (!source->layers)
			return err_sys(err, ENOMEM, "%s", archive->path);
	}
	source->layers[source->layer_count++] = *take;
	*take = (struct descriptor){ 0 };
	return 0;
}

static int has_member(const struct image_archive *archive, const char *name, struct err *err)
{
	cleanup_with(blob_clear) struct blob blob = { 0 };
	int rc = image_archive_find(archive, name, &blob, err);

	return rc == -ENOENT ? 0 : rc < 0 ? rc : 1;
}

/* An archive that is both (`docker save` since 25) is read as the one with more digests. */
static int select_oci(const struct image_archive *archive, const char *wanted_name,
		      bool has_manifest, struct source *ret_source, struct err *err)
{
	cleanup_with(source_clear) struct source source = { 0 };

	TRY(source_select_oci(archive, wanted_name, &source, err));
	if (has_manifest)
		TRY(source_docker_name(archive, source.config_hex, &source.name, err));
	*ret_source = source;
	source = (struct source){ 0 };
	return 0;
}

int source_select(const struct image_archive *archive, const char *wanted_name,
		  struct source *ret_source, struct err *err)
{
	int has_index = has_member(archive, "index.json", err);
	int has_manifest = has_index < 0 ? has_index : has_member(archive, "manifest.json", err);

	TRY(has_manifest);
	if (has_index)
		return select_oci(archive, wanted_name, has_manifest, ret_source, err);
	if (has_manifest)
		return source_select_docker(archive, wanted_name, ret_source, err);
	return err_set(
		err, EBADMSG,
		"%s: not an image: it holds neither index.json (OCI layout) nor manifest.json "
		"(docker save); the output of `docker export` has no configuration, use "
		"`docker save`",
		archive->path);
}
