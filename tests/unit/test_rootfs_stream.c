/* SPDX-License-Identifier: Apache-2.0
 * Layers as streams: limits, bombs, cuts, digests, and names at the edge of what a name may be. */
#include <errno.h>

#include "tests/unit/test_rootfs_util.h"

Test(rootfs_stream, files_have_a_limit)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	tar_header(&tar, '0', "huge", "", 0644, 1ULL << 50);
	world_must_refuse(&world, &tar, "larger than");
	cr_assert_not(world_exists(&world, "huge"));
	tar_header(&tar, '0', "huge", "", 0644, INT64_MAX);
	world_must_refuse(&world, &tar, "overflow");
	world.target.limits.file_bytes = world.target.usage.file_bytes + 7;
	tar_file(&tar, "a", "1234");
	tar_file(&tar, "b", "1234");
	world_must_refuse(&world, &tar, "larger than");
	world_end(&world);
}

Test(rootfs_stream, entries_have_a_limit_over_all_layers)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	world.target.limits.entries = 3;
	tar_file(&tar, "a", "1");
	tar_file(&tar, "b", "1");
	world_must_unpack(&world, &tar);
	tar_file(&tar, "c", "1");
	tar_file(&tar, ".wh.a", "1");
	world_must_refuse(&world, &tar, "more than 3 entries");
	world_end(&world);
}

/* Those that no entry names count as those that one does. */
Test(rootfs_stream, implied_folders_count_as_entries)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	world.target.limits.entries = 8;
	tar_file(&tar, "a/b/c/x", "x");
	tar_file(&tar, "a/b/c/y", "x");
	world_must_unpack(&world, &tar);
	cr_assert_eq(world.target.usage.entries, 5);
	tar_file(&tar, "1/2/3/4/5/x", "x");
	world_must_refuse(&world, &tar, "entries");
	cr_assert(world_exists(&world, "1/2"));
	cr_assert_not(world_exists(&world, "1/2/3"), "made past the limit");
	world_end(&world);
}

Test(rootfs_stream, kept_names_have_a_limit)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };
	char name[32];

	world.target.limits.name_bytes = 16;
	for (int i = 0; i < 100; i++) /* a name that is repeated is kept once */
		tar_dir(&tar, "folder/name", 0755);
	world_must_unpack(&world, &tar);
	cr_assert_eq(world_stat(&world, "folder/name").st_mtim.tv_sec, TAR_MTIME);
	for (int i = 0; i < 100; i++) /* of files too: what this layer has is known by name */
		tar_file(&tar, "folder/name/file", "x");
	world_must_unpack(&world, &tar);
	world.target.has_lower = false;
	tar_dir(&tar, "123456789", 0755);
	tar_dir(&tar, "abcdefgh", 0755);
	world_must_refuse(&world, &tar, "names");
	for (int i = 0; i < 9; i++) {
		snprintf(name, sizeof(name), "%02d", i);
		tar_file(&tar, name, "x");
	}
	world_must_refuse(&world, &tar, "names");
	world_end(&world);
}

Test(rootfs_stream, a_bomb_is_stopped)
{
	for (int zstd = 0; zstd < 2; zstd++) {
		struct world world = world_make();
		cleanup_with(buf_clear) struct buf tar = { 0 };
		cleanup_with(buf_clear) struct buf bomb = { 0 };
		struct err err = { 0 };
		static char zeros[1 << 20];

		world.target.limits.stream_bytes = 4 << 20;
		tar_header(&tar, '0', "zeros", "", 0644, 32 << 20);
		for (int i = 0; i < 32; i++)
			buf_append(&tar, zeros, sizeof(zeros));
		compress_buf(&tar, zstd, &bomb);
		cr_assert_lt(bomb.len, 100 * 1000);
		cr_assert_lt(world_unpack_raw(&world, bomb.data, bomb.len, &err), 0);
		cr_assert_not_null(strstr(err.text, "inflate to more"), "%s", err.text);
		world_end(&world);
	}
}

/* A bomb between two filters is none in what comes out. */
Test(rootfs_stream, one_filter_is_taken)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };
	cleanup_with(buf_clear) struct buf once = { 0 };
	cleanup_with(buf_clear) struct buf twice = { 0 };
	struct err err = { 0 };

	tar_file(&tar, "file", "text");
	tar_end(&tar);
	compress_buf(&tar, true, &once);
	compress_buf(&once, false, &twice);
	cr_assert_lt(world_unpack_raw(&world, twice.data, twice.len, &err), 0);
	cr_assert_not_null(strstr(err.text, "compressed more than once"), "%s", err.text);
	world_end(&world);
}

Test(rootfs_stream, a_bomb_behind_the_end_is_stopped)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };
	struct err err = { 0 };
	static char zeros[1 << 20];

	world.target.limits.stream_bytes = 1 << 20;
	tar_file(&tar, "x", "1");
	tar_end(&tar);
	for (int i = 0; i < 4; i++)
		buf_append(&tar, zeros, sizeof(zeros));
	cr_assert_lt(world_unpack_raw(&world, tar.data, tar.len, &err), 0);
	cr_assert_not_null(strstr(err.text, "inflate to more"), "%s", err.text);
	world_end(&world);
}

Test(rootfs_stream, cut_and_damaged_streams_are_refused)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };
	struct err err = { 0 };
	static char text[20000];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)rand();
	tar_data(&tar, '0', "x", text, sizeof(text), 0644);
	tar_end(&tar);
	cr_assert_lt(world_unpack_raw(&world, tar.data, 9000, &err), 0);
	for (int zstd = 0; zstd < 2; zstd++) {
		cleanup_with(buf_clear) struct buf packed = { 0 };

		compress_buf(&tar, zstd, &packed);
		cr_assert_eq(world_unpack_raw(&world, packed.data, packed.len, &err), 0, "%s",
			     err.text);
		cr_assert_lt(world_unpack_raw(&world, packed.data, packed.len / 2, &err), 0);
		cr_assert_lt(world_unpack_raw(&world, packed.data, packed.len - 12, &err), 0,
			     "%d: cut at its end", zstd);
	}
	cr_assert_lt(world_unpack_raw(&world, text, sizeof(text), &err), 0);
	cr_assert_not_null(strstr(err.text, "not a tar"), "%s", err.text);
	world_end(&world);
}

Test(rootfs_stream, an_empty_layer_is_a_layer)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };
	struct err err = { 0 };

	cr_assert_eq(world_unpack_raw(&world, "", 0, &err), 0, "%s", err.text);
	world_must_unpack(&world, &tar);
	world_end(&world);
}

Test(rootfs_stream, digests_are_of_the_whole)
{
	for (int kind = 0; kind < 3; kind++) {
		struct world world = world_make();
		cleanup_with(buf_clear) struct buf tar = { 0 };
		cleanup_with(buf_clear) struct buf packed = { 0 };
		cleanup_with(blob_clear) struct blob blob = { .name = strdup("test") };
		uint8_t stored[SHA256_BYTES], diff[SHA256_BYTES], want[SHA256_BYTES];
		struct sha256 sha;
		struct err err = { 0 };

		tar_file(&tar, "x", "1");
		tar_end(&tar);
		buf_puts(&tar, "and what follows the end");
		if (kind)
			compress_buf(&tar, kind == 2, &packed);
		else
			buf_append(&packed, tar.data, tar.len);
		blob.fd = memfd_create("layer", MFD_CLOEXEC);
		blob.size = packed.len;
		cr_assert_eq(fd_write_all(blob.fd, packed.data, packed.len), 0);
		cr_assert_eq(layer_unpack(&world.target, &blob, stored, diff, &err), 0, "%s",
			     err.text);
		sha256_init(&sha);
		sha256_update(&sha, packed.data, packed.len);
		sha256_final(&sha, want);
		cr_assert_eq(memcmp(stored, want, sizeof(want)), 0, "stored digest, kind %d", kind);
		sha256_init(&sha);
		sha256_update(&sha, tar.data, tar.len);
		sha256_final(&sha, want);
		cr_assert_eq(memcmp(diff, want, sizeof(want)), 0, "diff_id, kind %d", kind);
		world_end(&world);
	}
}

Test(rootfs_stream, long_names)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };
	char name[5000];

	memset(name, 'n', 256);
	name[256] = '\0';
	tar_long_name(&tar, name);
	tar_file(&tar, "short", "1");
	world_must_refuse(&world, &tar, "too long");
	for (size_t i = 0; i < sizeof(name) - 1; i++)
		name[i] = i % 2 ? '/' : 'a';
	name[sizeof(name) - 1] = '\0';
	tar_long_name(&tar, name);
	tar_file(&tar, "short", "1");
	world_must_refuse(&world, &tar, "too long");
	memset(name, 'n', 255);
	name[255] = '\0';
	tar_long_name(&tar, name);
	tar_file(&tar, "short", "1");
	world_must_unpack(&world, &tar);
	cr_assert(world_has(&world, name, "1"));
	world_end(&world);
}

Test(rootfs_stream, names_keep_their_bytes)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	tar_pax(&tar, "path", "F\xc5\x91tan\xc3\xbas.crt");
	tar_file(&tar, "x", "1");
	tar_file(&tar, "latin\xe9", "2");
	world_must_unpack(&world, &tar);
	cr_assert(world_has(&world, "F\xc5\x91tan\xc3\xbas.crt", "1"));
	cr_assert(world_has(&world, "latin\xe9", "2"));
	tar_pax(&tar, "path", "no\xffutf8");
	tar_file(&tar, "x", "1");
	world_must_refuse(&world, &tar, "not UTF-8");
	world_end(&world);
}

Test(rootfs_stream, depth_is_no_obstacle_to_deleting)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };
	char deep[511], name[32];

	for (size_t i = 0; i < sizeof(deep) - 1; i++)
		deep[i] = i % 2 ? '/' : 'd';
	deep[sizeof(deep) - 2] = '\0';
	tar_long_name(&tar, deep);
	tar_dir(&tar, "x", 0755);
	for (int i = 0; i < 12; i++) {
		char from[600];

		/* s0 → d/d/…; s1 = s0/d/d/… and so on: each 255 levels further down. */
		snprintf(name, sizeof(name), "s%c", 'a' + i);
		snprintf(from, sizeof(from), "%s%s",
			 i ? (char[]){ 's', (char)('a' + i - 1), '/', 0 } : "", deep);
		tar_long_name(&tar, from);
		tar_dir(&tar, "x", 0755);
		tar_data(&tar, 'K', "././@LongLink", from, strlen(from) + 1, 0644);
		tar_symlink(&tar, name, "x");
	}
	world_must_unpack(&world, &tar);
	world_end(&world);
}
