/* SPDX-License-Identifier: Apache-2.0
 *
 * Archives of whole images, right or wrong in one place, and a store to import them into.
 */
#ifndef TESTS_UNIT_TEST_ROOTFS_SHOP_H
#define TESTS_UNIT_TEST_ROOTFS_SHOP_H

#include <errno.h>

#include "rootfs/archive.h"
#include "rootfs/digest.h"
#include "rootfs/image.h"
#include "rootfs/source.h"
#include "rootfs/store.h"
#include "tests/unit/test_rootfs_util.h"

#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define INDEX_TYPE    "application/vnd.oci.image.index.v1+json"
#define CONFIG_TYPE   "application/vnd.oci.image.config.v1+json"
#define LAYER_TYPE    "application/vnd.oci.image.layer.v1.tar+gzip"
#define ZEROS	      "0000000000000000000000000000000000000000000000000000000000000000"

struct recipe {
	const char *name;	  /* NULL: "test:1"; "": none */
	const char *layer_hex;	  /* in the manifest, in place of the right one */
	const char *diff_hex;	  /* in the configuration */
	const char *config_hex;	  /* in the manifest */
	const char *manifest_hex; /* in the index */
	long layer_size_off;	  /* added to the size in the manifest */
	long config_size_off;
	const char *platform;	  /* of the manifest in the index, a JSON object */
	const char *architecture; /* in the configuration */
	const char *config_json;  /* the whole configuration */
	const char *config_type, *layer_type;
	const char *user;
	int diff_ids;	 /* how many; 0: as many as layers */
	int layers;	 /* how many times the layer is named; 0: once; -1: none */
	int nested;	 /* indexes around the manifest */
	bool drop_layer; /* its blob is not in the archive */
	bool second_image;
	int big_layer_files;
};

/* What is wrong with the archive; the zero value is a good one. */
static inline void put_blob(struct buf *tar, const struct buf *blob,
			    char hex[static SHA256_HEX_BYTES])
{
	char name[100];

	digest_of(blob->data, blob->len, hex);
	snprintf(name, sizeof(name), "blobs/sha256/%s", hex);
	tar_data(tar, '0', name, blob->data, blob->len, 0644);
}

static inline void make_layer(const struct recipe *recipe, struct buf *layer)
{
	char name[64];

	tar_dir(layer, "./", 0755);
	tar_dir(layer, "etc", 0755);
	tar_file(layer, "etc/passwd", "mitm:x:1000:1001::/:/bin/sh\n");
	tar_file(layer, "hello", "hello");
	for (int i = 0; i < recipe->big_layer_files; i++) {
		snprintf(name, sizeof(name), "many/%d/%d", i % 17, i);
		tar_file(layer, name, name);
	}
	tar_file(layer, "last", "last");
	tar_end(layer);
}

static inline void make_config(const struct recipe *recipe, const char *diff_hex,
			       struct buf *config)
{
	int count = recipe->diff_ids ? recipe->diff_ids : recipe->layers ? recipe->layers : 1;

	if (recipe->config_json) {
		buf_puts(config, recipe->config_json);
		return;
	}
	buf_printf(config,
		   "{\"os\":\"linux\",\"architecture\":\"%s\",\"config\":{\"Cmd\":[\"/hello\"],"
		   "\"User\":\"%s\",\"Labels\":{\"bottle.listen-fds\":\"1\",\"bottle.secrets\":\"a "
		   "b\"}},"
		   "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[",
		   recipe->architecture ? recipe->architecture : source_architecture(),
		   recipe->user ? recipe->user : "mitm");
	for (int i = 0; i < count; i++)
		buf_printf(config, "%s\"sha256:%s\"", i ? "," : "", diff_hex);
	buf_puts(config, "]}}");
}

static inline void make_index(struct buf *index, const char *type, const char *hex, size_t size,
			      const char *platform, const char *name, const char *second_hex)
{
	buf_printf(index,
		   "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"%s\","
		   "\"digest\":\"sha256:%s\",\"size\":%zu",
		   type, hex, size);
	if (platform)
		buf_printf(index, ",\"platform\":%s", platform);
	if (name)
		buf_printf(index, ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"%s\"}",
			   name);
	buf_puts(index, "}");
	if (second_hex)
		buf_printf(index,
			   ",{\"mediaType\":\"%s\",\"digest\":\"sha256:%s\",\"size\":1,"
			   "\"annotations\":"
			   "{\"org.opencontainers.image.ref.name\":\"other:2\"}}",
			   type, second_hex);
	buf_puts(index, "]}");
}

static inline void make_manifest(const struct recipe *recipe, const char *config_hex,
				 size_t config_size, const char *layer_hex, size_t layer_size,
				 struct buf *manifest)
{
	int layers = recipe->layers < 0 ? 0 : recipe->layers ? recipe->layers : 1;

	buf_printf(manifest,
		   "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"%s\",\"digest\":\"sha256:%s\","
		   "\"size\":%zu},\"layers\":[",
		   recipe->config_type ? recipe->config_type : CONFIG_TYPE, config_hex,
		   config_size);
	for (int i = 0; i < layers; i++)
		buf_printf(manifest,
			   "%s{\"mediaType\":\"%s\",\"digest\":\"sha256:%s\",\"size\":%zu}",
			   i ? "," : "", recipe->layer_type ? recipe->layer_type : LAYER_TYPE,
			   layer_hex, layer_size);
	buf_puts(manifest, "]}");
}

/* The index goes last, as stdin may have it. */
static inline void make_oci(const struct recipe *recipe, struct buf *tar)
{
	cleanup_with(buf_clear) struct buf layer = { 0 };
	cleanup_with(buf_clear) struct buf packed = { 0 };
	cleanup_with(buf_clear) struct buf config = { 0 };
	cleanup_with(buf_clear) struct buf manifest = { 0 };
	char diff_hex[SHA256_HEX_BYTES], layer_hex[SHA256_HEX_BYTES], hex[SHA256_HEX_BYTES];
	const char *name = recipe->name ? recipe->name : "test:1", *type = MANIFEST_TYPE;
	size_t size;

	make_layer(recipe, &layer);
	digest_of(layer.data, layer.len, diff_hex);
	compress_buf(&layer, false, &packed);
	if (recipe->drop_layer)
		digest_of(packed.data, packed.len, layer_hex);
	else
		put_blob(tar, &packed, layer_hex);
	make_config(recipe, recipe->diff_hex ? recipe->diff_hex : diff_hex, &config);
	put_blob(tar, &config, hex);
	make_manifest(recipe, recipe->config_hex ? recipe->config_hex : hex,
		      config.len + recipe->config_size_off,
		      recipe->layer_hex ? recipe->layer_hex : layer_hex,
		      packed.len + recipe->layer_size_off, &manifest);
	put_blob(tar, &manifest, hex);
	size = manifest.len;
	for (int i = 0; i < recipe->nested; i++) {
		cleanup_with(buf_clear) struct buf index = { 0 };

		make_index(&index, type, hex, size, i ? NULL : recipe->platform, NULL, NULL);
		put_blob(tar, &index, hex);
		size = index.len;
		type = INDEX_TYPE;
	}
	buf_clear(&manifest);
	make_index(&manifest, type, recipe->manifest_hex ? recipe->manifest_hex : hex, size,
		   recipe->nested ? NULL : recipe->platform, *name ? name : NULL,
		   recipe->second_image ? ZEROS : NULL);
	tar_data(tar, '0', "index.json", manifest.data, manifest.len, 0644);
	tar_file(tar, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
	tar_end(tar);
}

struct shop {
	struct world world;
	char dir[64], archive[64];
};

/* A store, and an archive beside it. */
static inline void shop_open(struct shop *shop)
{
	shop->world = world_make();
	snprintf(shop->dir, sizeof(shop->dir), "%s/root/data", shop->world.dir);
	snprintf(shop->archive, sizeof(shop->archive), "%s/root/archive", shop->world.dir);
}

static inline void write_archive(struct shop *shop, const struct buf *tar)
{
	unlink(shop->archive);
	put_file(shop->world.target.root_fd, "archive", "");
	cleanup_fd int fd = open(shop->archive, O_WRONLY | O_TRUNC | O_CLOEXEC);

	cr_assert_eq(fd_write_all(fd, tar->data, tar->len), 0);
}

static inline void write_recipe(struct shop *shop, const struct recipe *recipe)
{
	cleanup_with(buf_clear) struct buf tar = { 0 };

	make_oci(recipe, &tar);
	write_archive(shop, &tar);
}

static inline void must_import(struct shop *shop, const char *tag, const char *want_tag)
{
	cleanup_free char *digest = NULL;
	cleanup_free char *given = NULL;
	struct err err = { 0 };
	int rc = image_import(shop->dir, shop->archive, tag, &digest, &given, &err);

	cr_assert_eq(rc, 0, "%s", err.text);
	cr_assert_str_eq(given, want_tag);
	cr_assert_not_null(digest_hex(digest));
}

static inline size_t count_entries(const struct shop *shop, const char *sub)
{
	cleanup_with(strlist_clear) struct strlist names = { 0 };
	cleanup_free char *path = str_printf("%s/%s", shop->dir, sub);
	cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	cr_assert_eq(tree_list(fd, 1000, &names), 0);
	return names.len;
}

/* images/ holds its lock and sha256/ alone. */
static inline void must_be_empty(const struct shop *shop)
{
	cr_assert_eq(count_entries(shop, "images/sha256"), 0, "an image stayed");
	cr_assert_leq(count_entries(shop, "images"), 2, "a tmp folder stayed");
	cr_assert_eq(count_entries(shop, "tags"), 0, "a tag stayed");
}

static inline void must_refuse_tag(const struct recipe *recipe, const char *tag, const char *words)
{
	struct shop shop;
	char *digest = NULL;
	struct err err = { 0 };
	int rc;

	shop_open(&shop);
	write_recipe(&shop, recipe);
	rc = image_import(shop.dir, shop.archive, tag, &digest, NULL, &err);
	cr_assert_lt(rc, 0, "taken, but '%s' was expected", words);
	cr_assert_not_null(strstr(err.text, words), "'%s' has no '%s'", err.text, words);
	cr_assert_null(strchr(err.text, '\n'));
	must_be_empty(&shop);
	world_end(&shop.world);
}

static inline void must_refuse(const struct recipe *recipe, const char *words)
{
	must_refuse_tag(recipe, NULL, words);
}

static inline void must_find(const struct shop *shop, const char *name)
{
	cleanup_with(image_clear) struct image image = { 0 };
	cleanup_with(buf_clear) struct buf text = { 0 };
	cleanup_free char *hello = NULL;
	struct err err = { 0 };

	cr_assert_eq(image_find(shop->dir, name, &image, &err), 0, "%s", err.text);
	cr_assert_eq(image.uid, 1000);
	cr_assert_eq(image.gid, 1001);
	cr_assert_str_eq(image.user, "mitm");
	cr_assert_str_eq(image.argv.items[0], "/hello");
	cr_assert_str_eq(image.workdir, "/");
	cr_assert(image.knows_listen_fds);
	cr_assert_not(image.knows_ready_fd);
	cr_assert_str_eq(image_label(&image, "bottle.secrets"), "a b");
	cr_assert_null(image_label(&image, "bottle"));
	cr_assert_gt(image.lock_fd, 0);
	hello = str_printf("%s/hello", image.root_path);
	cr_assert_eq(file_read(AT_FDCWD, hello, 100, &text, &err), 0, "%s", err.text);
	cr_assert_str_eq(text.data, "hello");
}

#endif
