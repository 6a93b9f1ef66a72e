/* SPDX-License-Identifier: Apache-2.0
 * An image's configuration, and what is kept of it: whatever parses must survive being written to
 * image.json and read back. Runs in: `make fuzz` alone. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "rootfs/image_config.h"
#include "rootfs/record.h"

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_record(const struct image_config *config)
{
	cleanup_with(image_clear) struct image back = { 0 };
	cleanup_with(buf_clear) struct buf text = { 0 };
	struct image image = {
		.argv = config->argv,
		.env = config->env,
		.workdir = config->workdir,
		.user = config->user,
		.labels = config->labels,
	};

	check(record_render(&image, &text, NULL) == 0);
	check(record_parse(text.data, text.len, &back, NULL) == 0);
	check(back.argv.len == image.argv.len && back.env.len == image.env.len);
	check(back.labels.len == image.labels.len);
	check(strcmp(back.user, image.user) == 0 && strcmp(back.workdir, image.workdir) == 0);
	for (size_t i = 0; i < image.argv.len; i++)
		check(strcmp(back.argv.items[i], image.argv.items[i]) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_with(image_config_clear) struct image_config config = { 0 };
	struct err err = { 0 };

	if (image_config_parse(&config, (const char *)data, size, &err) < 0) {
		check(*err.text && !strpbrk(err.text, "\n\r\x1b"));
		return 0;
	}
	check(config.argv.len > 0 && *config.workdir == '/');
	for (size_t i = 0; i < config.env.len; i++)
		check(strchr(config.env.items[i], '=') > config.env.items[i]);
	check_record(&config);
	return 0;
}
