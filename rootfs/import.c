/* SPDX-License-Identifier: Apache-2.0
 * Filling a stage; see import.h. Runs in: launcher (`bottle image import`). */
#include "rootfs/import.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "rootfs/digest.h"
#include "rootfs/image_user.h"
#include "rootfs/layer.h"
#include "rootfs/mountpoints.h"
#include "rootfs/record.h"

int import_read_config(const struct image_archive *archive, const struct source *source,
		       struct image_config *ret_config, struct err *err)
{
	cleanup_with(image_config_clear) struct image_config config = { 0 };
	char os[40], arch[40];
	int rc = image_config_parse(&config,
				    source->config_json.data ? source->config_json.data : "",
				    source->config_json.len, err);

	if (rc < 0)
		return err_context(err, rc, "%s: the image's configuration", archive->path);
	str_escape(os, sizeof(os), config.os, strlen(config.os));
	str_escape(arch, sizeof(arch), config.architecture, strlen(config.architecture));
	if ((*os && strcmp(os, "linux") != 0) ||
	    (*arch && strcmp(arch, source_architecture()) != 0))
		return err_set(err, EINVAL, "%s: the image is for %s/%s, this machine is linux/%s",
			       archive->path, os, arch, source_architecture());
	if (config.diff_ids.len != source->layer_count)
		return err_set(err, EBADMSG,
			       "%s: the manifest names %zu layers, the configuration %zu",
			       archive->path, source->layer_count, config.diff_ids.len);
	*ret_config = config;
	config = (struct image_config){ 0 };
	return 0;
}

/* Of a damaged blob the digest says more than where its parser stumbled. */
static int layer_error(const struct image_archive *archive, const struct descriptor *layer,
		       const struct blob *blob, int rc, struct err *err)
{
	struct err damage = { 0 };

	if (source_verify(archive, layer, blob, &damage) == -EBADMSG)
		return err_set(err, EBADMSG, "%s", damage.text);
	return err_context(err, rc, "%s: layer %s", archive->path, blob->name);
}

static int unpack_layer(const struct image_archive *archive, const struct descriptor *layer,
			const char *diff_hex, struct layer_target *target, struct err *err)
{
	cleanup_with(blob_clear) struct blob blob = { 0 };
	uint8_t stored[SHA256_BYTES], diff[SHA256_BYTES];
	char stored_hex[SHA256_HEX_BYTES], found_hex[SHA256_HEX_BYTES];
	int rc;

	TRY(source_open(archive, layer, &blob, err));
	rc = layer_unpack(target, &blob, stored, diff, err);
	if (rc < 0)
		return layer_error(archive, layer, &blob, rc, err);
	sha256_hex(stored, stored_hex);
	sha256_hex(diff, found_hex);
	TRY(source_check_digest(archive, blob.name, "digest", layer->hex, stored_hex, err));
	return source_check_digest(archive, blob.name, "diff_id of the uncompressed layer",
				   diff_hex, found_hex, err);
}

static int unpack_layers(const struct image_archive *archive, const struct source *source,
			 const struct image_config *config, struct layer_target *target,
			 struct err *err)
{
	for (size_t i = 0; i < source->layer_count; i++) {
		target->has_lower = i > 0;
		TRY(unpack_layer(archive, &source->layers[i], config->diff_ids.items[i], target,
				 err));
	}
	return 0;
}

/* The strings are borrowed from `config`. */
static int write_record(const struct image_config *config, const struct layer_usage *usage,
			const struct stage *stage, struct err *err)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	struct image image = {
		.argv = config->argv,
		.env = config->env,
		.workdir = config->workdir,
		.user = config->user,
		.labels = config->labels,
		.size_bytes = usage->file_bytes,
		.skipped_entries = usage->skipped,
	};

	TRY(image_user_resolve(stage->root_fd, config->user, &image.uid, &image.gid, err));
	TRY(record_render(&image, &text, err));
	return stage_write(stage, RECORD_NAME, &text, err);
}

int import_fill_stage(const struct image_archive *archive, const struct source *source,
		      const struct image_config *config, struct stage *stage, struct err *err)
{
	struct layer_target target = {
		.root_fd = stage->root_fd,
		.trash = stage->trash,
		.limits = layer_limits_default,
	};
	int rc;

	TRY(unpack_layers(archive, source, config, &target, err));
	rc = mountpoints_make(stage->root_fd, &target.trash, err);
	if (rc == 0)
		rc = write_record(config, &target.usage, stage, err);
	if (rc < 0)
		return err_context(err, rc, "%s", archive->path);
	return stage_write(stage, "config.json", &source->config_json, err);
}
