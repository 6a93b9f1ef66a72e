/* SPDX-License-Identifier: Apache-2.0
 * Layers: what a good one becomes, and what a hostile one does not reach. Every unpacking is followed
 * by a look at what lies beside the tree (world_check). */
#include <errno.h>

#include "tests/unit/test_rootfs_util.h"

Test(rootfs_layer, makes_what_it_says)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };
	char target[16] = { 0 };

	tar_dir(&tar, "./", 0755);
	tar_dir(&tar, "./a/", 0555);
	tar_file(&tar, "a/file", "text");
	tar_file(&tar, "./implied/by/name", "deep");
	tar_symlink(&tar, "a/link", "../x");
	tar_data(&tar, '0', "a/empty", "", 0, 0600);
	world_must_unpack(&world, &tar);
	cr_assert(world_has(&world, "a/file", "text"));
	cr_assert(world_has(&world, "implied/by/name", "deep"));
	cr_assert(world_has(&world, "a/empty", ""));
	cr_assert_eq(readlinkat(world.target.root_fd, "a/link", target, sizeof(target) - 1), 4);
	cr_assert_str_eq(target, "../x");
	cr_assert_eq(world_stat(&world, "implied").st_mode & 07777, 0755);
	cr_assert_eq(world.target.usage.file_bytes, 8);
	world_end(&world);
}

Test(rootfs_layer, keeps_times_and_drops_power)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	tar_data(&tar, '0', "suid", "x", 1, 06755);
	tar_data(&tar, '0', "locked", "x", 1, 0);
	tar_dir(&tar, "sticky", 01777);
	tar_dir(&tar, "sgid", 02000);
	tar_pax(&tar, "mtime", "1111111111.123456789");
	tar_pax(&tar, "SCHILY.xattr.user.evil", "1");
	tar_file(&tar, "sgid/fine.py", "x");
	world_must_unpack(&world, &tar);
	cr_assert_eq(world_stat(&world, "suid").st_mode, S_IFREG | 0755);
	cr_assert_eq(world_stat(&world, "locked").st_mode, S_IFREG | 0400);
	cr_assert_eq(world_stat(&world, "sticky").st_mode, S_IFDIR | 01777);
	cr_assert_eq(world_stat(&world, "sgid").st_mode, S_IFDIR | 0700);
	cr_assert_eq(world_stat(&world, "suid").st_mtim.tv_sec, TAR_MTIME);
	cr_assert_eq(world_stat(&world, "sgid").st_mtim.tv_sec, TAR_MTIME, "folder's time");
	cr_assert_eq(world_stat(&world, "suid").st_uid, geteuid());
	world_end(&world);
}

Test(rootfs_layer, keeps_nanoseconds)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	tar_pax(&tar, "mtime", "1111111111.123456789");
	tar_file(&tar, "fine.py", "x");
	world_must_unpack(&world, &tar);
	cr_assert_eq(world_stat(&world, "fine.py").st_mtim.tv_sec, 1111111111);
	cr_assert_eq(world_stat(&world, "fine.py").st_mtim.tv_nsec, 123456789);
	world_end(&world);
}

Test(rootfs_layer, refuses_names_that_lead_out)
{
	static const char *const names[] = { "../x",	 "..",	 "a/../../x", "./../x",
					     "/../x",	 "a/..", "a/b/..",    "../outside/secret",
					     "a/./../x", "..//x" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct world world = world_make();
		cleanup_with(buf_clear) struct buf tar = { 0 };

		tar_file(&tar, names[i], "evil");
		world_must_refuse(&world, &tar, "'..'");
		tar_dir(&tar, names[i], 0777);
		world_must_refuse(&world, &tar, "'..'");
		tar_symlink(&tar, names[i], "x");
		world_must_refuse(&world, &tar, "'..'");
		world_end(&world);
	}
}

Test(rootfs_layer, absolute_names_are_the_trees_own)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	tar_file(&tar, "/abs", "1");
	tar_file(&tar, "///many//slashes/./x", "2");
	world_must_unpack(&world, &tar);
	cr_assert(world_has(&world, "abs", "1"));
	cr_assert(world_has(&world, "many/slashes/x", "2"));
	cr_assert_neq(access("/abs", F_OK), 0);
	world_end(&world);
}

Test(rootfs_layer, the_root_stays_a_folder)
{
	static const char *const names[] = { ".", "./", "/", "//." };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct world world = world_make();
		cleanup_with(buf_clear) struct buf tar = { 0 };

		tar_symlink(&tar, names[i], "../outside");
		world_must_refuse(&world, &tar, "root folder");
		tar_hard_link(&tar, names[i], "x");
		world_must_refuse(&world, &tar, "root folder");
		world_end(&world);
	}
}

/* Symlinks that lead out, in the spellings that matter; NULL is the world's own path. */
static const char *const ways_out[] = { "../outside", "../../outside", "../../../../../../tmp",
					NULL };

static const char *way_out(const struct world *world, size_t i, char path[static 64])
{
	snprintf(path, 64, "%s/outside", world->dir);
	return ways_out[i] ? ways_out[i] : path;
}

Test(rootfs_layer, writes_through_no_symlink_that_leads_out)
{
	for (size_t i = 0; i < sizeof(ways_out) / sizeof(ways_out[0]); i++) {
		for (int in_two_layers = 0; in_two_layers < 2; in_two_layers++) {
			struct world world = world_make();
			cleanup_with(buf_clear) struct buf tar = { 0 };
			char path[64];

			tar_symlink(&tar, "esc", way_out(&world, i, path));
			if (in_two_layers)
				world_must_unpack(&world, &tar);
			tar_file(&tar, "esc/secret", "evil");
			world_must_refuse(&world, &tar, "points to nothing");
			world_end(&world);
		}
	}
}

/* With a folder of that name inside, the link means that one. */
Test(rootfs_layer, a_symlink_means_what_it_means_inside)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	tar_dir(&tar, "outside", 0755);
	tar_symlink(&tar, "esc", "../../outside");
	tar_file(&tar, "esc/secret", "inside");
	world_must_unpack(&world, &tar);
	cr_assert(world_has(&world, "outside/secret", "inside"));
	world_end(&world);
}

Test(rootfs_layer, replaces_a_symlink_and_not_its_target)
{
	for (size_t i = 0; i < sizeof(ways_out) / sizeof(ways_out[0]); i++) {
		struct world world = world_make();
		cleanup_with(buf_clear) struct buf tar = { 0 };
		char path[64], file[80];

		snprintf(file, sizeof(file), "%s/secret", way_out(&world, i, path));
		tar_symlink(&tar, "f", file);
		tar_file(&tar, "f", "mine");
		tar_symlink(&tar, "d", way_out(&world, i, path));
		tar_dir(&tar, "d", 0777);
		tar_file(&tar, "d/secret", "mine");
		world_must_unpack(&world, &tar);
		cr_assert(world_has(&world, "f", "mine"));
		cr_assert(world_has(&world, "d/secret", "mine"));
		world_end(&world);
	}
}

Test(rootfs_layer, a_folder_may_become_a_symlink)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	tar_file(&tar, "d/deep/er/x", "1");
	tar_symlink(&tar, "d", "../outside");
	tar_file(&tar, "d/secret", "evil");
	world_must_refuse(&world, &tar, "points to nothing");
	cr_assert(S_ISLNK(world_stat(&world, "d").st_mode));
	world_end(&world);
}

/* The mode and time of a folder entry are set late, by name: what the name is by then counts. */
Test(rootfs_layer, late_folder_times_follow_no_symlink)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };
	struct stat before, after;

	cr_assert_eq(fstatat(world.dir_fd, "outside", &before, 0), 0);
	tar_dir(&tar, "d", 0777);
	tar_dir(&tar, "p/d", 0777);
	tar_symlink(&tar, "d", "../outside");
	tar_symlink(&tar, "p", "../..");
	world_must_unpack(&world, &tar);
	cr_assert_eq(fstatat(world.dir_fd, "outside", &after, 0), 0);
	cr_assert_eq(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
	world_end(&world);
}

Test(rootfs_layer, writes_through_a_lower_layers_folder_link)
{
	static const char *const targets[] = { "usr/bin", "/usr/bin", "./usr/../usr/bin",
					       "../usr/bin" };

	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		struct world world = world_make();
		cleanup_with(buf_clear) struct buf tar = { 0 };

		tar_dir(&tar, "usr/bin", 0755);
		tar_symlink(&tar, "bin", targets[i]);
		world_must_unpack(&world, &tar);
		tar_file(&tar, "bin/foo", "new");
		tar_file(&tar, "bin/new/dir/foo", "deep");
		world_must_unpack(&world, &tar);
		cr_assert(world_has(&world, "usr/bin/foo", "new"));
		cr_assert(world_has(&world, "usr/bin/new/dir/foo", "deep"));
		cr_assert(S_ISLNK(world_stat(&world, "bin").st_mode));
		world_end(&world);
	}
}

Test(rootfs_layer, hard_links_stay_inside)
{
	static const struct {
		const char *target, *words;
	} cases[] = {
		{ "../outside/secret", "'..'" },
		{ "/etc/passwd", "not there" },
		{ "esc/secret", "not there" },
		{ "link", "no regular file" },
		{ "dir", "no regular file" },
		{ "nothing", "not there" },
		{ "/", "not there" },
		{ "a/../../outside/secret", "'..'" },
		{ "linkdir/../outside/secret", "'..'" },
		{ "dangling/x", "not there" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct world world = world_make();
		cleanup_with(buf_clear) struct buf tar = { 0 };

		tar_dir(&tar, "dir", 0755);
		tar_symlink(&tar, "esc", "../outside");
		tar_symlink(&tar, "link", "../outside/secret");
		tar_symlink(&tar, "linkdir", "dir");
		tar_symlink(&tar, "dangling", "/nowhere");
		tar_hard_link(&tar, "h", cases[i].target);
		tar_file(&tar, "h", "evil");
		world_must_refuse(&world, &tar, cases[i].words);
		world_end(&world);
	}
}

Test(rootfs_layer, a_hard_link_is_one_file_until_written)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	tar_file(&tar, "a", "one");
	tar_symlink(&tar, "here", ".");
	tar_hard_link(&tar, "b", "./a");
	tar_hard_link(&tar, "c", "/here/a");
	tar_hard_link(&tar, "a", "a"); /* to itself */
	world_must_unpack(&world, &tar);
	cr_assert_eq(world_stat(&world, "a").st_ino, world_stat(&world, "b").st_ino);
	cr_assert_eq(world_stat(&world, "a").st_nlink, 3);
	tar_file(&tar, "b", "two");
	world_must_unpack(&world, &tar);
	cr_assert(world_has(&world, "a", "one"), "a write went through the link");
	cr_assert(world_has(&world, "b", "two"));
	world_end(&world);
}

Test(rootfs_layer, whiteouts_hide_lower_layers)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	tar_file(&tar, "file", "1");
	tar_file(&tar, "dir/a/b/c", "1");
	tar_file(&tar, "keep/x", "1");
	world_must_unpack(&world, &tar);
	tar_file(&tar, ".wh.file", "");
	tar_file(&tar, ".wh.dir", "");
	tar_file(&tar, "keep/.wh.nothing", "");
	tar_file(&tar, ".wh..wh.plnk/1.2", "");
	tar_file(&tar, ".wh..wh.aufs", "");
	world_must_unpack(&world, &tar);
	cr_assert_not(world_exists(&world, "file"));
	cr_assert_not(world_exists(&world, "dir"));
	cr_assert(world_has(&world, "keep/x", "1"));
	cr_assert_not(world_exists(&world, ".wh.file"));
	cr_assert_not(world_exists(&world, ".wh..wh.plnk"));
	world_end(&world);
}

Test(rootfs_layer, whiteouts_hide_nothing_of_their_own_layer)
{
	for (int whiteout_last = 0; whiteout_last < 2; whiteout_last++) {
		struct world world = world_make();
		cleanup_with(buf_clear) struct buf tar = { 0 };

		tar_file(&tar, "d/old", "1");
		tar_file(&tar, "d/sub/old", "1");
		tar_file(&tar, "o/old/x", "1");
		tar_file(&tar, "o/sub/old", "1");
		world_must_unpack(&world, &tar);
		for (int i = 0; i < 2; i++) {
			if (i == whiteout_last) {
				tar_file(&tar, ".wh.d", "");
				tar_file(&tar, "o/.wh..wh..opq", "");
			} else {
				tar_file(&tar, "d/sub/new", "2");
				tar_file(&tar, "o/sub/new", "2");
			}
		}
		world_must_unpack(&world, &tar);
		cr_assert(world_has(&world, "d/sub/new", "2"));
		cr_assert(world_has(&world, "o/sub/new", "2"));
		cr_assert_not(world_exists(&world, "d/old"));
		cr_assert_not(world_exists(&world, "d/sub/old"));
		cr_assert_not(world_exists(&world, "o/old"));
		cr_assert_not(world_exists(&world, "o/sub/old"));
		world_end(&world);
	}
}

/* What the layer brought is known by the folder, not by the path that was used. */
Test(rootfs_layer, an_opaque_folder_has_one_identity)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	tar_file(&tar, "usr/bin/old", "1");
	tar_symlink(&tar, "bin", "usr/bin");
	world_must_unpack(&world, &tar);
	tar_file(&tar, "usr/bin/new", "2");
	tar_file(&tar, "bin/.wh..wh..opq", "");
	world_must_unpack(&world, &tar);
	cr_assert(world_has(&world, "usr/bin/new", "2"));
	cr_assert_not(world_exists(&world, "usr/bin/old"));
	world_end(&world);
}

Test(rootfs_layer, refuses_whiteouts_that_name_no_file)
{
	static const char *const names[] = { ".wh.", ".wh..", ".wh...", "a/.wh...", "a/.wh.." };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct world world = world_make();
		cleanup_with(buf_clear) struct buf tar = { 0 };

		tar_file(&tar, "a/x", "1");
		world_must_unpack(&world, &tar);
		tar_file(&tar, names[i], "");
		world_must_refuse(&world, &tar, "names no file");
		cr_assert(world_has(&world, "a/x", "1"));
		world_end(&world);
	}
}

Test(rootfs_layer, whiteouts_reach_through_no_symlink_that_leads_out)
{
	static const char *const names[] = { "esc/.wh.secret", "esc/.wh..wh..opq" };

	for (size_t i = 0; i < sizeof(ways_out) / sizeof(ways_out[0]); i++) {
		for (size_t j = 0; j < sizeof(names) / sizeof(names[0]); j++) {
			struct world world = world_make();
			cleanup_with(buf_clear) struct buf tar = { 0 };
			char path[64];

			tar_symlink(&tar, "esc", way_out(&world, i, path));
			world_must_unpack(&world, &tar);
			tar_file(&tar, names[j], "");
			world_must_refuse(&world, &tar, "points to nothing");
			world_end(&world);
		}
	}
}

/* A whiteout of a symlink takes the link. */
Test(rootfs_layer, a_whiteout_follows_no_symlink)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	tar_file(&tar, "d/x", "1");
	tar_symlink(&tar, "l", "d");
	tar_symlink(&tar, "e", "../outside");
	world_must_unpack(&world, &tar);
	tar_file(&tar, ".wh.l", "");
	tar_file(&tar, ".wh.e", "");
	world_must_unpack(&world, &tar);
	cr_assert_not(world_exists(&world, "l"));
	cr_assert_not(world_exists(&world, "e"));
	cr_assert(world_has(&world, "d/x", "1"));
	world_end(&world);
}

Test(rootfs_layer, the_last_of_several_entries_counts)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	tar_file(&tar, "x", "first");
	tar_file(&tar, "x", "second");
	tar_file(&tar, "y/z", "1");
	tar_file(&tar, "y", "file");
	tar_file(&tar, "w", "1");
	tar_dir(&tar, "w", 0755);
	tar_file(&tar, "w/z", "2");
	world_must_unpack(&world, &tar);
	cr_assert(world_has(&world, "x", "second"));
	cr_assert(world_has(&world, "y", "file"));
	cr_assert(world_has(&world, "w/z", "2"));
	world_end(&world);
}

Test(rootfs_layer, a_file_is_no_folder)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	tar_file(&tar, "f", "1");
	tar_file(&tar, "f/x", "2");
	world_must_refuse(&world, &tar, "Not a directory");
	world_end(&world);
}

Test(rootfs_layer, leaves_devices_fifos_and_sockets_out)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	tar_header(&tar, '3', "dev/null", "", 0666, 0);
	tar_header(&tar, '4', "dev/sda", "", 0666, 0);
	tar_header(&tar, '6', "run/fifo", "", 0666, 0);
	tar_file(&tar, "x", "1");
	world_must_unpack(&world, &tar);
	cr_assert_not(world_exists(&world, "dev/null"));
	cr_assert_not(world_exists(&world, "dev/sda"));
	cr_assert_not(world_exists(&world, "run/fifo"));
	cr_assert_eq(world.target.usage.skipped, 3);
	cr_assert(world_has(&world, "x", "1"));
	world_end(&world);
}

/* It would replace what a lower layer has there, so that must not show through; and it is nothing
 * that this layer has, which a whiteout would leave. */
Test(rootfs_layer, a_node_left_out_hides_what_was_there)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	tar_file(&tar, "file", "lower");
	tar_file(&tar, "folder/x", "lower");
	tar_file(&tar, "etc/a", "lower");
	world_must_unpack(&world, &tar);
	tar_header(&tar, '3', "file", "", 0666, 0);
	tar_header(&tar, '6', "folder", "", 0666, 0);
	tar_header(&tar, '6', "etc/a", "", 0666, 0);
	world_must_unpack(&world, &tar);
	cr_assert_not(world_exists(&world, "file"));
	cr_assert_not(world_exists(&world, "folder"));
	cr_assert_not(world_exists(&world, "etc/a"));
	cr_assert_eq(world.target.usage.skipped, 3);
	tar_file(&tar, "file", "again");
	world_must_unpack(&world, &tar);
	cr_assert(world_has(&world, "file", "again"));
	world_end(&world);
}

/* Also behind the end of the tar, where no entry would show it. */
/* The test runs in the C locale, as the program does. */
/* Folders that their owner may not write or search are still filled, replaced and deleted. */
Test(rootfs_layer, read_only_folders_are_no_obstacle)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	tar_dir(&tar, "ro", 0555);
	tar_dir(&tar, "none", 0);
	tar_file(&tar, "ro/x", "1");
	tar_file(&tar, "none/x", "1");
	world_must_unpack(&world, &tar);
	tar_file(&tar, "ro/y", "2");
	tar_file(&tar, ".wh.none", "");
	world_must_unpack(&world, &tar);
	cr_assert(world_has(&world, "ro/y", "2"));
	cr_assert_not(world_exists(&world, "none"));
	cr_assert_eq(fchmodat(world.target.root_fd, "ro", 0, 0), 0);
	world_end(&world); /* which deletes it */
}

/* Deeper than a path can say and than there are descriptors. */
