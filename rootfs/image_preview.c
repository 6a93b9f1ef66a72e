/* SPDX-License-Identifier: Apache-2.0
 * What an import would make of an archive, told without one; see image.h. Runs in: launcher
 * (`--dry-run`). Writes nothing: the archive's members lie in memory meanwhile. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "rootfs/archive.h"
#include "rootfs/digest.h"
#include "rootfs/image.h"
#include "rootfs/import.h"
#include "rootfs/source.h"
#include "rootfs/user_spec.h"

/* What is read, in the order in which it is cleared. */
struct preview {
	struct image_config config;
	struct source source;
	struct image_archive archive;
};

static void preview_clear(struct preview *preview)
{
	image_config_clear(&preview->config);
	source_clear(&preview->source);
	image_archive_close(&preview->archive);
}

static int copy_list(const struct strlist *from, struct strlist *to)
{
	for (size_t i = 0; i < from->len; i++)
		TRY(strlist_add(to, from->items[i]));
	return 0;
}

static int fill(const struct image_config *config, const char *data_dir, const char *hex,
		struct image *image)
{
	struct user_spec user;

	user_spec_parse(config->user, &user);
	image->uid = user.uid;
	image->gid = user.gid;
	image->digest = str_printf("%s%s", DIGEST_PREFIX, hex);
	image->root_path = str_printf("%s/images/sha256/%s/rootfs", data_dir, hex);
	image->workdir = strdup(config->workdir);
	image->user = strdup(config->user);
	if (!image->digest || !image->root_path || !image->workdir || !image->user)
		return -ENOMEM;
	TRY(copy_list(&config->argv, &image->argv));
	TRY(copy_list(&config->env, &image->env));
	TRY(copy_list(&config->labels, &image->labels));
	image->knows_listen_fds = image_has_label(image, "bottle.listen-fds", "1");
	image->knows_ready_fd = image_has_label(image, "bottle.ready-fd", "1");
	image->knows_gate_fd = image_has_label(image, "bottle.gate-fd", "1");
	return 0;
}

int image_preview_exact(const char *data_dir, const char *archive, const char *digest,
			struct image *ret_image, struct err *err)
{
	cleanup_with(preview_clear) struct preview preview = { 0 };
	cleanup_with(image_clear) struct image image = { 0 };
	const char *hex = digest_hex(digest);

	if (!hex)
		return err_set(err, EINVAL, "'%.100s' is no digest", digest);
	TRY(image_archive_open(archive, -1, &image_archive_limits_default, &preview.archive, err));
	TRY(source_select(&preview.archive, NULL, &preview.source, err));
	if (strcmp(preview.source.config_hex, hex) != 0)
		return err_set(err, ESTALE, "%s: holds the image sha256:%.12s, not sha256:%.12s",
			       archive, preview.source.config_hex, hex);
	TRY(import_read_config(&preview.archive, &preview.source, &preview.config, err));
	if (fill(&preview.config, data_dir, hex, &image) < 0)
		return err_sys(err, ENOMEM, "%s", archive);
	*ret_image = image;
	image = (struct image){ 0 };
	return 0;
}
