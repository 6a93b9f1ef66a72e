/* SPDX-License-Identifier: Apache-2.0
 * Imports: every format, and every kind of wrong archive, each of which leaves nothing behind. */
#include "tests/unit/test_rootfs_shop.h"

Test(rootfs_import, imports_an_oci_tar)
{
	for (int nested = 0; nested <= 4; nested++) {
		struct shop shop;

		shop_open(&shop);
		write_recipe(&shop, &(struct recipe){ .nested = nested });
		must_import(&shop, NULL, "test:1");
		must_find(&shop, "test:1");
		must_import(&shop, "again", "again:latest");
		must_find(&shop, "again");
		cr_assert_eq(count_entries(&shop, "images/sha256"), 1);
		cr_assert_eq(count_entries(&shop, "images"), 2);
		world_end(&shop.world);
	}
}

Test(rootfs_import, imports_compressed_archives)
{
	for (int zstd = 0; zstd < 2; zstd++) {
		cleanup_with(buf_clear) struct buf tar = { 0 };
		cleanup_with(buf_clear) struct buf packed = { 0 };
		struct shop shop;

		shop_open(&shop);
		make_oci(&(struct recipe){ 0 }, &tar);
		compress_buf(&tar, zstd, &packed);
		write_archive(&shop, &packed);
		must_import(&shop, NULL, "test:1");
		must_find(&shop, "test:1");
		world_end(&shop.world);
	}
}

Test(rootfs_import, refuses_what_is_compressed_twice)
{
	cleanup_with(buf_clear) struct buf tar = { 0 };
	cleanup_with(buf_clear) struct buf once = { 0 };
	cleanup_with(buf_clear) struct buf twice = { 0 };
	struct err err = { 0 };
	char *digest = NULL;
	struct shop shop;

	shop_open(&shop);
	make_oci(&(struct recipe){ 0 }, &tar);
	compress_buf(&tar, false, &once);
	compress_buf(&once, false, &twice);
	write_archive(&shop, &twice);
	cr_assert_lt(image_import(shop.dir, shop.archive, NULL, &digest, NULL, &err), 0);
	cr_assert_not_null(strstr(err.text, "compressed more than once"), "%s", err.text);
	must_be_empty(&shop);
	world_end(&shop.world);
}

/* What is passed over is inflated all the same. */
Test(rootfs_import, members_that_are_passed_over_have_a_bound)
{
	static const char content[1 << 20] = { 0 };
	const struct image_archive_limits limits = { .spool_bytes = sizeof(content), .members = 9 };
	static const char *const names[] = { "../no-member", "member" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		cleanup_with(buf_clear) struct buf tar = { 0 };
		struct image_archive archive = { 0 };
		struct err err = { 0 };
		struct shop shop;

		shop_open(&shop);
		tar_header(&tar, '0', names[i], "", 0644, sizeof(content));
		buf_append(&tar, content, sizeof(content));
		tar_file(&tar, "one-byte-more", "x");
		tar_end(&tar);
		write_archive(&shop, &tar);
		cr_expect_eq(image_archive_open(shop.archive, -1, &limits, &archive, &err), -EFBIG,
			     "%zu: %s", i, err.text);
		cr_expect_not_null(strstr(err.text, "holds more than"), "%zu: %s", i, err.text);
		image_archive_close(&archive);
		world_end(&shop.world);
	}
}

Test(rootfs_import, imports_an_oci_folder)
{
	cleanup_with(buf_clear) struct buf tar = { 0 };
	struct shop shop;

	shop_open(&shop);
	make_oci(&(struct recipe){ .nested = 1 }, &tar);
	cr_assert_eq(mkdirat(shop.world.target.root_fd, "archive", 0755), 0);
	cleanup_fd int fd = open(shop.archive, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct layer_target target = { .root_fd = fd,
				       .trash.fd = shop.world.target.trash.fd,
				       .limits = layer_limits_default };
	cleanup_with(blob_clear) struct blob blob = { .size = tar.len, .name = strdup("x") };
	uint8_t digest[SHA256_BYTES];

	blob.fd = memfd_create("x", MFD_CLOEXEC);
	cr_assert_eq(fd_write_all(blob.fd, tar.data, tar.len), 0);
	cr_assert_eq(layer_unpack(&target, &blob, digest, digest, NULL), 0);
	must_import(&shop, NULL, "test:1");
	must_find(&shop, "test:1");
	world_end(&shop.world);
}

Test(rootfs_import, imports_from_a_pipe)
{
	struct shop shop;
	int fds[2];
	char *digest = NULL;
	struct err err = { 0 };
	cleanup_with(buf_clear) struct buf tar = { 0 };

	shop_open(&shop);
	make_oci(&(struct recipe){ 0 }, &tar);
	cr_assert_lt(tar.len, 60000, "must fit a pipe");
	cr_assert_eq(pipe(fds), 0);
	cr_assert_eq(fd_write_all(fds[1], tar.data, tar.len), 0);
	close(fds[1]);
	cr_assert_eq(dup2(fds[0], STDIN_FILENO), STDIN_FILENO);
	cr_assert_eq(image_import(shop.dir, "-", "p", &digest, NULL, &err), 0, "%s", err.text);
	must_find(&shop, "p");
	free(digest);
	world_end(&shop.world);
}

/* The classic format; the second layer is the first, as a symlink, as `docker save` once had it. */
static void make_docker(struct buf *tar, const char *config_name, const char *diff_hex,
			const char *link)
{
	cleanup_with(buf_clear) struct buf layer = { 0 };
	cleanup_with(buf_clear) struct buf config = { 0 };
	cleanup_with(buf_clear) struct buf manifest = { 0 };
	char hex[SHA256_HEX_BYTES], name[100];

	make_layer(&(struct recipe){ 0 }, &layer);
	digest_of(layer.data, layer.len, hex);
	make_config(&(struct recipe){ .diff_ids = 2 }, diff_hex ? diff_hex : hex, &config);
	digest_of(config.data, config.len, hex);
	snprintf(name, sizeof(name), "%s.json", hex);
	tar_data(tar, '0', config_name ? config_name : name, config.data, config.len, 0644);
	tar_symlink(tar, "bbb/layer.tar", link);
	tar_data(tar, '0', "aaa/layer.tar", layer.data, layer.len, 0644);
	buf_printf(&manifest,
		   "[{\"Config\":\"%s\",\"RepoTags\":[\"saved:3\"],\"Layers\":[\"aaa/layer.tar\","
		   "\"bbb/layer.tar\"]}]",
		   config_name ? config_name : name);
	tar_data(tar, '0', "manifest.json", manifest.data, manifest.len, 0644);
	tar_end(tar);
}

Test(rootfs_import, imports_docker_save)
{
	static const char *const links[] = { "../aaa/layer.tar", "/aaa/layer.tar",
					     ".././aaa/layer.tar" };

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		cleanup_with(buf_clear) struct buf tar = { 0 };
		struct shop shop;

		shop_open(&shop);
		make_docker(&tar, NULL, NULL, links[i]);
		write_archive(&shop, &tar);
		must_import(&shop, NULL, "saved:3");
		must_find(&shop, "saved:3");
		world_end(&shop.world);
	}
}

/* Since 25 `docker save` writes both: digests from one, the name as its user knows it from the other. */
Test(rootfs_import, takes_the_short_name_of_two)
{
	cleanup_with(buf_clear) struct buf tar = { 0 };
	cleanup_with(buf_clear) struct buf manifest = { 0 };
	cleanup_with(image_clear) struct image image = { 0 };
	struct err err = { 0 };
	struct shop shop;

	shop_open(&shop);
	write_recipe(&shop, &(struct recipe){ .name = "host.example/library/short:1" });
	must_import(&shop, NULL, "host.example/library/short:1");
	cr_assert_eq(image_find(shop.dir, "host.example/library/short:1", &image, &err), 0);
	make_oci(&(struct recipe){ .name = "host.example/library/short:1" }, &tar);
	tar.len -= 2 * TAR_BLOCK;
	buf_printf(&manifest,
		   "[{\"Config\":\"x.json\",\"RepoTags\":[\"other:1\"]},"
		   "{\"Config\":\"blobs/sha256/%s\",\"RepoTags\":[\"short:1\"]}]",
		   digest_hex(image.digest));
	tar_data(&tar, '0', "manifest.json", manifest.data, manifest.len, 0644);
	tar_end(&tar);
	write_archive(&shop, &tar);
	must_import(&shop, NULL, "short:1");
	world_end(&shop.world);
}

/* Of several images --tag chooses one by its name, with or without its host. */
Test(rootfs_import, chooses_by_tag)
{
	static const char *const names[] = { "short:1", "host.example/a/short:1" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct shop shop;

		shop_open(&shop);
		write_recipe(&shop, &(struct recipe){ .name = "host.example/a/short:1",
						      .second_image = true });
		must_import(&shop, names[i], names[i]);
		must_find(&shop, names[i]);
		world_end(&shop.world);
	}
	must_refuse_tag(&(struct recipe){ .name = "host/ashort:1", .second_image = true },
			"short:1", "several images");
}

Test(rootfs_import, refuses_a_wrong_docker_save)
{
	static const struct {
		const char *config_name, *diff_hex, *link, *words;
	} cases[] = {
		{ ZEROS ".json", NULL, "../aaa/layer.tar", "wrong digest" },
		{ NULL, ZEROS, "../aaa/layer.tar", "wrong diff_id" },
		{ NULL, NULL, "../../aaa/layer.tar", "not in the archive" },
		{ NULL, NULL, "layer.tar", "not in the archive" }, /* a loop */
		{ NULL, NULL, "/etc/passwd", "not in the archive" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cleanup_with(buf_clear) struct buf tar = { 0 };
		struct err err = { 0 };
		char *digest = NULL;
		struct shop shop;

		shop_open(&shop);
		make_docker(&tar, cases[i].config_name, cases[i].diff_hex, cases[i].link);
		write_archive(&shop, &tar);
		cr_assert_lt(image_import(shop.dir, shop.archive, NULL, &digest, NULL, &err), 0);
		cr_assert_not_null(strstr(err.text, cases[i].words), "%zu: %s", i, err.text);
		must_be_empty(&shop);
		world_end(&shop.world);
	}
}

Test(rootfs_import, refuses_wrong_digests_and_sizes)
{
	must_refuse(&(struct recipe){ .layer_hex = ZEROS }, "not in the archive");
	must_refuse(&(struct recipe){ .config_hex = ZEROS }, "not in the archive");
	must_refuse(&(struct recipe){ .manifest_hex = ZEROS }, "not in the archive");
	must_refuse(&(struct recipe){ .layer_hex = "../../../../etc/passwd" },
		    "not a sha256 digest");
	must_refuse(&(struct recipe){ .drop_layer = true }, "not in the archive");
	must_refuse(&(struct recipe){ .diff_hex = ZEROS }, "wrong diff_id");
	must_refuse(&(struct recipe){ .layer_size_off = 1 }, "wrong size: expected");
	must_refuse(&(struct recipe){ .layer_size_off = -1 }, "wrong size: expected");
	must_refuse(&(struct recipe){ .config_size_off = 1 }, "wrong size: expected");
}

/* One bit of each blob in turn. */
Test(rootfs_import, refuses_damaged_blobs)
{
	cleanup_with(buf_clear) struct buf tar = { 0 };
	size_t damaged = 0;

	make_oci(&(struct recipe){ .nested = 1 }, &tar);
	for (size_t at = 0; at + TAR_BLOCK < tar.len; at += TAR_BLOCK) {
		struct err err = { 0 };
		char *digest = NULL;
		struct shop shop;

		if (!str_starts(tar.data + at, "blobs/sha256/"))
			continue;
		shop_open(&shop);
		tar.data[at + TAR_BLOCK + 40] ^= 1;
		write_archive(&shop, &tar);
		tar.data[at + TAR_BLOCK + 40] ^= 1;
		cr_assert_lt(image_import(shop.dir, shop.archive, NULL, &digest, NULL, &err), 0,
			     "%s", tar.data + at);
		cr_assert_not_null(strstr(err.text, "wrong digest: expected sha256:"), "%s",
				   err.text);
		cr_assert_not_null(strstr(err.text, tar.data + at), "'%s' names no blob", err.text);
		must_be_empty(&shop);
		world_end(&shop.world);
		damaged++;
	}
	cr_assert_eq(damaged, 4);
}

Test(rootfs_import, refuses_what_is_not_for_us)
{
	must_refuse(&(struct recipe){ .platform = "{\"os\":\"linux\",\"architecture\":\"pdp11\"}" },
		    "there is one for linux/pdp11");
	must_refuse(&(struct recipe){ .platform = "{\"os\":\"windows\",\"architecture\":\"amd64\"}",
				      .nested = 2 },
		    "no image for linux/");
	must_refuse(&(struct recipe){ .architecture = "pdp11" }, "is for linux/pdp11");
	must_refuse(&(struct recipe){ .config_type = "application/vnd.cncf.helm.config.v1+json" },
		    "no part of a container image");
	must_refuse(
		&(struct recipe){
			.layer_type = "application/vnd.oci.image.layer.v1.tar+encrypted" },
		"no part of a container image");
	must_refuse(&(struct recipe){ .nested = 5 }, "nested");
	must_refuse(&(struct recipe){ .second_image = true }, "several images");
	must_refuse(&(struct recipe){ .name = "" }, "--tag");
	must_refuse(&(struct recipe){ .name = "../../x" }, "--tag");
	must_refuse_tag(&(struct recipe){ 0 }, "../x", "no name for an image");
	/* What would be taken for another image, whoever says it. */
	must_refuse(&(struct recipe){ .name = "native" }, "came with bottle; say --tag");
	must_refuse(&(struct recipe){ .name = "native:latest" }, "came with bottle; say --tag");
	must_refuse(&(struct recipe){ .name = "abc012:latest" }, "beginning of a digest");
	must_refuse(&(struct recipe){ .name = ZEROS }, "beginning of a digest");
	must_refuse(&(struct recipe){ .name = "sha256:0123" }, "reads as a digest");
	must_refuse_tag(&(struct recipe){ 0 }, "native", "came with bottle");
	must_refuse_tag(&(struct recipe){ 0 }, "abc012", "beginning of a digest");
}

Test(rootfs_import, refuses_bad_documents)
{
	cleanup_with(buf_clear) struct buf text = { 0 };

	must_refuse(&(struct recipe){ .config_json = "nonsense" }, "not valid JSON");
	must_refuse(&(struct recipe){ .config_json = "{}" }, "diff_ids");
	must_refuse(&(struct recipe){ .layers = -1 }, "no layers");
	must_refuse(&(struct recipe){ .diff_ids = 2 }, "names 1 layers, the configuration 2");
	must_refuse(&(struct recipe){ .layers = SOURCE_LAYERS_MAX + 1 }, "more than 128 layers");
	must_refuse(&(struct recipe){ .user = "nobody" }, "USER");
	for (int i = 0; i < 5000; i++)
		buf_puts(&text, "{\"a\":");
	must_refuse(&(struct recipe){ .config_json = text.data }, "not valid JSON");
	for (int i = 0; i < SOURCE_JSON_MAX_BYTES / 5; i++)
		buf_puts(&text, "     ");
	must_refuse(&(struct recipe){ .config_json = text.data }, "more than the");
}

Test(rootfs_import, many_layers_are_fine)
{
	struct shop shop;

	shop_open(&shop);
	write_recipe(&shop, &(struct recipe){ .layers = SOURCE_LAYERS_MAX });
	must_import(&shop, NULL, "test:1");
	must_find(&shop, "test:1");
	world_end(&shop.world);
}

Test(rootfs_import, refuses_what_is_no_archive)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{ "", "not a tar" },
		{ "text", "not a tar" },
		{ "\x1f\x8b\x08\x00", "not a tar" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cleanup_with(buf_clear) struct buf text = { 0 };
		struct err err = { 0 };
		char *digest = NULL;
		struct shop shop;

		shop_open(&shop);
		buf_puts(&text, cases[i].text);
		write_archive(&shop, &text);
		cr_assert_lt(image_import(shop.dir, shop.archive, "x", &digest, NULL, &err), 0);
		cr_assert_not_null(strstr(err.text, cases[i].words), "%s", err.text);
		cr_assert_eq(image_import(shop.dir, "/nowhere", "x", &digest, NULL, &err), -ENOENT);
		must_be_empty(&shop);
		world_end(&shop.world);
	}
}

/* Members of the outer archive are never made as files. */
Test(rootfs_import, outer_names_touch_nothing)
{
	cleanup_with(buf_clear) struct buf tar = { 0 };
	struct err err = { 0 };
	char *digest = NULL;
	struct shop shop;

	shop_open(&shop);
	tar_file(&tar, "../outside/secret", "evil");
	tar_file(&tar, "../../../outside/new", "evil");
	tar_symlink(&tar, "index.json", "/etc/passwd");
	tar_hard_link(&tar, "manifest.json", "../outside/secret");
	tar_end(&tar);
	write_archive(&shop, &tar);
	cr_assert_lt(image_import(shop.dir, shop.archive, "x", &digest, NULL, &err), 0);
	cr_assert_not_null(strstr(err.text, "not an image"), "%s", err.text);
	must_be_empty(&shop);
	world_end(&shop.world);
}
