/* SPDX-License-Identifier: Apache-2.0
 * `bottle image`: proxy images in and out of the store. Runs in: launcher, as the caller; starts
 * nothing. A subcommand, so it may print. */
#include "runtime/cmd_image.h"

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "rootfs/image.h"
#include "rootfs/store.h"
#include "runtime/state.h"

enum { EXIT_BOTTLE_FAILED = 125 };

static const char usage_text[] = "usage: bottle image import ARCHIVE [--tag NAME]\n"
				 "       bottle image list [--json]\n"
				 "       bottle image remove NAME...\n"
				 "\n"
				 "ARCHIVE is a `docker save` tar, an OCI layout (folder or tar), "
				 "gzip or zstd compressed or not,\n"
				 "or - for a tar on stdin. NAME is a tag (egress-proxy, "
				 "egress-proxy:1), sha256:DIGEST or the\n"
				 "first six or more digits of one.\n";

static int usage_error(const char *fmt, ...) PRINTF_LIKE(1, 2);

static int usage_error(const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_error("image: %s (see `bottle image --help`)", text);
	return EXIT_BOTTLE_FAILED;
}

static int failed(const struct err *err)
{
	log_error("%s", err->text);
	return EXIT_BOTTLE_FAILED;
}

/* A reader that went away, or a full disk, must not look like success. */
static int flush_stdout(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	log_error("image: writing to stdout failed: %m");
	return EXIT_BOTTLE_FAILED;
}

/* The data folder, owned, or NULL after the error was printed. */
static char *data_dir(void)
{
	cleanup_with(state_clear) struct state state;
	struct err err = { 0 };

	state_init(&state);
	if (state_paths(&state, &err) < 0)
		(void)failed(&err);
	return take_ptr(state.data_path);
}

static void note_image(const char *dir, const char *digest)
{
	cleanup_with(image_clear) struct image image = { 0 };
	struct err err = { 0 };

	if (image_find(dir, digest, &image, &err) < 0)
		return;
	if (image.skipped_entries)
		log_note("image: %llu device, FIFO or socket entries were left out",
			 (unsigned long long)image.skipped_entries);
	if (image.uid == 0)
		log_warning("image: its USER is root; as proxy it runs without capabilities in a "
			    "user namespace of its own, but a USER such as 1000 is safer");
}

static int do_import(const char *archive, const char *tag)
{
	cleanup_free char *dir = data_dir();
	cleanup_free char *digest = NULL;
	cleanup_free char *given_tag = NULL;
	struct err err = { 0 };

	if (!dir)
		return EXIT_BOTTLE_FAILED;
	if (image_import(dir, archive, tag, &digest, &given_tag, &err) < 0)
		return failed(&err);
	note_image(dir, digest);
	printf("%s %s\n", given_tag, digest);
	return flush_stdout();
}

static int import(int argc, char **argv)
{
	static const struct option options[] = {
		{ "tag", required_argument, NULL, 't' },
		{ NULL, 0, NULL, 0 },
	};
	const char *tag = NULL;
	int option;

	while ((option = getopt_long(argc, argv, ":t:", options, NULL)) != -1) {
		if (option == ':')
			return usage_error("import: %s needs a value", argv[optind - 1]);
		if (option != 't')
			return usage_error("import: unknown option '%s'", argv[optind - 1]);
		tag = optarg;
	}
	if (optind + 1 != argc)
		return usage_error("import needs one ARCHIVE, %d given", argc - optind);
	return do_import(argv[optind], tag);
}

/* "sha256:" and twelve digits are enough to tell images apart. */
static const char *short_digest(const struct image *image, char out[static 20])
{
	snprintf(out, 20, "%.19s", image->digest);
	return out;
}

static const char *human_size(uint64_t bytes, char out[static 16])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	snprintf(out, 16, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return out;
}

static void print_row(void *ctx, const char *tag, const struct image *image)
{
	char digest[20], size[16], user[64], ids[96];
	bool *has_header = ctx;

	if (!*has_header)
		printf("%-32s %-20s %10s  %s\n", "TAG", "DIGEST", "SIZE", "USER");
	*has_header = true;
	if (!image->root_path) {
		printf("%-32s %-20s %10s  %s\n", tag ? tag : "-", short_digest(image, digest), "-",
		       "(missing or damaged: import it again)");
		return;
	}
	str_escape(user, sizeof(user), image->user, strlen(image->user));
	snprintf(ids, sizeof(ids), "%s%s(%u:%u)", user, *user ? " " : "", image->uid, image->gid);
	printf("%-32s %-20s %10s  %s\n", tag ? tag : "-", short_digest(image, digest),
	       human_size(image->size_bytes, size), ids);
}

static void append_json(void *ctx, const char *tag, const struct image *image)
{
	json_t *list = ctx;
	json_t *item;

	if (image->root_path)
		item = json_pack("{s:s?, s:s, s:I, s:s, s:I, s:I, s:s}", "tag", tag, "digest",
				 image->digest, "size_bytes", (json_int_t)image->size_bytes, "user",
				 image->user, "uid", (json_int_t)image->uid, "gid",
				 (json_int_t)image->gid, "rootfs", image->root_path);
	else
		item = json_pack("{s:s?, s:s, s:n}", "tag", tag, "digest", image->digest, "rootfs");
	json_array_append_new(list, item);
}

static int list_json(const char *dir)
{
	struct err err = { 0 };
	json_t *list = json_array();
	int rc = image_list(dir, append_json, list, &err);

	if (rc == 0)
		json_dumpf(list, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
	json_decref(list);
	if (rc < 0)
		return failed(&err);
	putchar('\n');
	return flush_stdout();
}

static int list(int argc, char **argv)
{
	cleanup_free char *dir = NULL;
	bool has_header = false, as_json = false;
	struct err err = { 0 };

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") != 0)
			return usage_error("list: unknown argument '%s'", argv[i]);
		as_json = true;
	}
	dir = data_dir();
	if (!dir)
		return EXIT_BOTTLE_FAILED;
	if (as_json)
		return list_json(dir);
	if (image_list(dir, print_row, &has_header, &err) < 0)
		return failed(&err);
	if (!has_header)
		log_note("no images yet: `bottle image import ARCHIVE --tag NAME`");
	return flush_stdout();
}

static int remove_each(int argc, char **argv)
{
	cleanup_free char *dir = NULL;
	int status = 0;

	if (argc < 2)
		return usage_error("remove needs the name of an image");
	for (int i = 1; i < argc; i++)
		if (*argv[i] == '-')
			return usage_error("remove: unknown option '%s'", argv[i]);
	dir = data_dir();
	if (!dir)
		return EXIT_BOTTLE_FAILED;
	for (int i = 1; i < argc; i++) {
		struct err err = { 0 };

		if (image_remove(dir, argv[i], &err) < 0)
			status = failed(&err);
	}
	return status;
}

static const struct {
	const char *name;
	int (*fn)(int argc, char **argv);
} verbs[] = {
	{ "import", import },
	{ "list", list },
	{ "remove", remove_each },
};

int cmd_image(int argc, char **argv)
{
	static const char *const names[] = { "import", "list", "remove", NULL };
	const char *nearest;

	if (argc < 2)
		return usage_error("say import, list or remove");
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0)
			continue;
		fputs(usage_text, stdout);
		return flush_stdout();
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(argv[1], verbs[i].name) != 0)
			continue;
		optind = 0; /* glibc: start anew, getopt(3) */
		return verbs[i].fn(argc - 1, argv + 1);
	}
	nearest = str_nearest(argv[1], names);
	return usage_error("unknown command '%s'%s%s%s", argv[1], nearest ? " (did you mean '" : "",
			   nearest ? nearest : "", nearest ? "'?)" : "");
}
