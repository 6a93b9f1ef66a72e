/* SPDX-License-Identifier: Apache-2.0
 * The store: names, locks, stages, sweeping, removal, and the mount points of a tree. */
#include <errno.h>
#include <sys/file.h>

#include "rootfs/mountpoints.h"
#include "rootfs/store.h"
#include "tests/unit/test_rootfs_util.h"

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

#define SLASHES \
	"/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a"

struct shop {
	struct world world;
	struct store store;
	char dir[64];
};

/* A store in world's "outside"-free corner: <dir>/root/share/bottle. */
static void shop_open(struct shop *shop)
{
	struct err err = { 0 };

	*shop = (struct shop){ .world = world_make() };
	snprintf(shop->dir, sizeof(shop->dir), "%s/root/share/bottle", shop->world.dir);
	cr_assert_eq(store_open(shop->dir, false, &shop->store, &err), -ENOENT);
	cr_assert_eq(store_open(shop->dir, true, &shop->store, &err), 0, "%s", err.text);
}

static void shop_close(struct shop *shop)
{
	store_close(&shop->store);
	world_end(&shop->world);
}

static void lock(struct shop *shop)
{
	struct err err = { 0 };

	cr_assert_eq(store_lock(&shop->store, &err), 0, "%s", err.text);
}

/* Names in images/ that begin with "tmp-". */
static size_t count_tmp(const struct shop *shop)
{
	cleanup_with(strlist_clear) struct strlist names = { 0 };
	size_t count = 0;

	cr_assert_eq(tree_list(shop->store.images_fd, 1000, &names), 0);
	for (size_t i = 0; i < names.len; i++)
		count += str_starts(names.items[i], "tmp-");
	return count;
}

static void publish(struct shop *shop, const char *hex)
{
	cleanup_with(stage_close) struct stage stage = { 0 };
	struct err err = { 0 };

	lock(shop);
	cr_assert_eq(stage_open(&shop->store, &stage, &err), 0, "%s", err.text);
	put_file(stage.root_fd, "file", hex);
	cr_assert_eq(stage_publish(&stage, hex, &err), 0, "%s", err.text);
	store_unlock(&shop->store);
}

Test(rootfs_store, tags_have_a_grammar)
{
	static const struct {
		const char *name, *want;
	} cases[] = {
		{ "a", "a:latest" },
		{ "egress-proxy", "egress-proxy:latest" },
		{ "egress-proxy:1.0_x", "egress-proxy:1.0_x" },
		{ "host:5000/a/b", "host:5000/a/b:latest" },
		{ "host:5000/a/b:t", "host:5000/a/b:t" },
		{ "localhost/x", "localhost/x:latest" },
		{ "", NULL },
		{ ".", NULL },
		{ "..", NULL },
		{ "../x", NULL },
		{ "a/../b", NULL },
		{ "a//b", NULL },
		{ "/a", NULL },
		{ "a/", NULL },
		{ "a:", NULL },
		{ "-a", NULL },
		{ ".new", NULL },
		{ "a b", NULL },
		{ "a%2Fb", NULL },
		{ "a\n", NULL },
		{ "a\x1b[m", NULL },
		{ "\xc3\xa9", NULL },
		{ "sha256:" HEX_A, NULL },
		{ HEX_A HEX_A HEX_A HEX_A, NULL },
		/* 159 bytes and 177; in the file's name 247 and 283. */
		{ HEX_A SLASHES, HEX_A SLASHES ":latest" },
		{ HEX_A SLASHES "/a/a/a/a/a/a/a/a/a", NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cleanup_free char *tag = NULL;
		struct err err = { 0 };
		int rc = store_tag_normalise(cases[i].name, &tag, &err);

		cr_assert_eq(rc == 0, cases[i].want != NULL, "'%s': %d", cases[i].name, rc);
		if (cases[i].want)
			cr_assert_str_eq(tag, cases[i].want);
		else
			cr_assert_null(strpbrk(err.text, "\n\x1b"), "unescaped");
	}
}

Test(rootfs_store, tags_are_written_read_listed_removed)
{
	struct shop shop;
	cleanup_with(strlist_clear) struct strlist tags = { 0 };
	char hex[SHA256_HEX_BYTES];
	struct err err = { 0 };

	shop_open(&shop);
	lock(&shop);
	cr_assert_eq(store_tag_read(&shop.store, "a/b:1", hex, &err), -ENOENT);
	cr_assert_eq(store_tag_write(&shop.store, "a/b:1", HEX_A, &err), 0, "%s", err.text);
	cr_assert_eq(store_tag_write(&shop.store, "a:1", HEX_A, &err), 0);
	cr_assert_eq(store_tag_write(&shop.store, "a/b:1", HEX_B, &err), 0);
	cr_assert_eq(store_tag_read(&shop.store, "a/b:1", hex, &err), 0, "%s", err.text);
	cr_assert_str_eq(hex, HEX_B);
	cr_assert_eq(store_tag_list(&shop.store, &tags, &err), 0);
	cr_assert_eq(tags.len, 2);
	cr_assert_str_eq(tags.items[0], "a/b:1");
	cr_assert_eq(store_tag_remove(&shop.store, "a/b:1", &err), 0);
	cr_assert_eq(store_tag_remove(&shop.store, "a/b:1", &err), 0, "again");
	cr_assert_eq(store_tag_read(&shop.store, "a/b:1", hex, &err), -ENOENT);
	shop_close(&shop);
}

Test(rootfs_store, a_damaged_tag_says_so)
{
	static const char *const texts[] = { "",	"\n",
					     "sha256:", "sha256:" HEX_A "a",
					     "md5:1",	"sha256:../../../x" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct shop shop;
		char hex[SHA256_HEX_BYTES];
		struct err err = { 0 };

		shop_open(&shop);
		put_file(shop.store.tags_fd, "x:1", texts[i]);
		cr_assert_eq(store_tag_read(&shop.store, "x:1", hex, &err), -EBADMSG, "'%s'",
			     texts[i]);
		cr_assert_not_null(strstr(err.text, "damaged"), "%s", err.text);
		shop_close(&shop);
	}
}

Test(rootfs_store, a_stage_is_published_whole_or_deleted)
{
	struct shop shop;
	cleanup_with(strlist_clear) struct strlist images = { 0 };
	cleanup_with(stage_close) struct stage stage = { 0 };
	struct err err = { 0 };

	shop_open(&shop);
	publish(&shop, HEX_A);
	cr_assert_eq(count_tmp(&shop), 0);
	lock(&shop);
	cr_assert_eq(stage_open(&shop.store, &stage, &err), 0, "%s", err.text);
	cr_assert_eq(stage_publish(&stage, HEX_A, &err), -EEXIST);
	cr_assert_eq(count_tmp(&shop), 1);
	stage_close(&stage);
	cr_assert_eq(count_tmp(&shop), 0, "an unpublished stage stayed");
	cr_assert_eq(store_list_images(&shop.store, &images, &err), 0);
	cr_assert_eq(images.len, 1);
	cr_assert_eq(faccessat(shop.store.digests_fd, HEX_A "/trash", F_OK, 0), -1);
	cr_assert_eq(faccessat(shop.store.digests_fd, HEX_A "/rootfs/file", F_OK, 0), 0);
	shop_close(&shop);
}

Test(rootfs_store, the_dead_are_swept_and_the_living_not)
{
	struct shop shop;
	cleanup_with(stage_close) struct stage living = { 0 };
	cleanup_with(stage_close) struct stage dead = { 0 };
	struct err err = { 0 };
	char name[16];

	shop_open(&shop);
	lock(&shop);
	cr_assert_eq(stage_open(&shop.store, &living, &err), 0);
	cr_assert_eq(stage_open(&shop.store, &dead, &err), 0);
	cr_assert_eq(mkdirat(dead.root_fd, "d", 0700), 0);
	cr_assert_eq(mkdirat(dead.root_fd, "d/d", 0500), 0);
	cr_assert_eq(fchmodat(dead.root_fd, "d", 0, 0), 0);
	cr_assert_eq(mkdirat(shop.store.images_fd, "tmp-00000000", 0700), 0); /* before its lock */
	cr_assert_eq(count_tmp(&shop), 3);
	cr_assert_eq(store_sweep(&shop.store, &err), 0, "%s", err.text);
	cr_assert_eq(count_tmp(&shop), 2);
	memcpy(name, dead.name, sizeof(name));
	*dead.name = '\0';
	stage_close(&dead); /* as a kill does: the lock is gone, the folder stays */
	cr_assert_eq(store_sweep(&shop.store, &err), 0, "%s", err.text);
	cr_assert_eq(count_tmp(&shop), 1);
	cr_assert_eq(faccessat(shop.store.images_fd, living.name, F_OK, 0), 0);
	cr_assert_eq(faccessat(shop.store.images_fd, name, F_OK, 0), -1);
	stage_close(&living);
	shop_close(&shop);
}

Test(rootfs_store, an_image_in_use_is_not_removed)
{
	struct shop shop;
	cleanup_fd int fd = -1, lock_fd = -1;
	struct err err = { 0 };

	shop_open(&shop);
	publish(&shop, HEX_A);
	cr_assert_eq(store_open_image(&shop.store, HEX_B, &fd, &lock_fd, &err), -ENOENT);
	cr_assert_eq(store_open_image(&shop.store, HEX_A, &fd, &lock_fd, &err), 0, "%s", err.text);
	lock(&shop);
	cr_assert_eq(store_remove_image(&shop.store, HEX_A, &err), -EBUSY);
	cr_assert_not_null(strstr(err.text, "used by a bottle"), "%s", err.text);
	cr_assert_eq(faccessat(shop.store.digests_fd, HEX_A "/rootfs/file", F_OK, 0), 0);
	fd_close(&lock_fd);
	cr_assert_eq(store_remove_image(&shop.store, HEX_A, &err), 0, "%s", err.text);
	cr_assert_eq(store_remove_image(&shop.store, HEX_A, &err), 0, "again");
	cr_assert_eq(faccessat(shop.store.digests_fd, HEX_A, F_OK, 0), -1);
	cr_assert_eq(count_tmp(&shop), 0);
	shop_close(&shop);
}

/* Whoever removes holds the lock exclusively: a run that comes now finds no image. */
Test(rootfs_store, an_image_being_removed_is_not_found)
{
	struct shop shop;
	cleanup_fd int fd = -1, lock_fd = -1, remover = -1;
	struct err err = { 0 };

	shop_open(&shop);
	publish(&shop, HEX_A);
	remover = openat(shop.store.digests_fd, HEX_A "/lock", O_RDWR | O_CLOEXEC);
	cr_assert_eq(flock(remover, LOCK_EX | LOCK_NB), 0);
	cr_assert_eq(store_open_image(&shop.store, HEX_A, &fd, &lock_fd, &err), -ENOENT);
	shop_close(&shop);
}

Test(rootfs_store, the_path_must_be_absolute)
{
	struct store store = { 0 };
	struct err err = { 0 };

	cr_assert_eq(store_open("relative", true, &store, &err), -EINVAL);
}

static void make_mountpoints(struct world *world)
{
	struct err err = { 0 };

	cr_assert_eq(mountpoints_make(world->target.root_fd, &world->target.trash, &err), 0, "%s",
		     err.text);
	world_check(world);
}

Test(rootfs_mountpoints, are_made_in_an_empty_tree)
{
	static const char *const folders[] = { "proc",
					       "dev",
					       "sys",
					       "tmp",
					       "run",
					       "var/tmp",
					       "etc/egress-proxy",
					       "home/mitmproxy/.mitmproxy" };
	struct world world = world_make();

	make_mountpoints(&world);
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		cr_assert(S_ISDIR(world_stat(&world, folders[i]).st_mode), "%s", folders[i]);
	cr_assert_eq(world_stat(&world, "tmp").st_mode & 07777, 01777);
	cr_assert_eq(world_stat(&world, "var").st_mode & 07777, 0755);
	cr_assert(world_has(&world, "etc/hosts", ""));
	cr_assert(world_has(&world, "etc/resolv.conf", ""));
	make_mountpoints(&world); /* again: nothing to do */
	world_end(&world);
}

Test(rootfs_mountpoints, keep_what_the_image_has)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };

	tar_file(&tar, "etc/hosts", "mine");
	tar_dir(&tar, "tmp", 0750);
	tar_symlink(&tar, "var", "data/var");
	tar_dir(&tar, "data/var", 0755);
	tar_symlink(&tar, "sys", "/dev");
	tar_dir(&tar, "dev", 0755);
	world_must_unpack(&world, &tar);
	make_mountpoints(&world);
	cr_assert(world_has(&world, "etc/hosts", "mine"));
	cr_assert_eq(world_stat(&world, "tmp").st_mode & 07777, 0750);
	cr_assert(S_ISDIR(world_stat(&world, "data/var/tmp").st_mode));
	cr_assert(S_ISLNK(world_stat(&world, "sys").st_mode));
	world_end(&world);
}

Test(rootfs_mountpoints, lead_nowhere_outside)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };
	char outside[64];

	snprintf(outside, sizeof(outside), "%s/outside", world.dir);
	tar_symlink(&tar, "var", "../outside");
	tar_symlink(&tar, "home", outside);
	tar_symlink(&tar, "run", "/nowhere/at/all");
	tar_symlink(&tar, "tmp", "tmp");
	tar_symlink(&tar, "etc/hosts", "../../outside/secret");
	tar_symlink(&tar, "etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf");
	world_must_unpack(&world, &tar);
	make_mountpoints(&world);
	cr_assert(S_ISDIR(world_stat(&world, "var/tmp").st_mode));
	cr_assert(S_ISDIR(world_stat(&world, "run").st_mode));
	cr_assert(S_ISDIR(world_stat(&world, "tmp").st_mode));
	cr_assert(S_ISDIR(world_stat(&world, "home/mitmproxy/.mitmproxy").st_mode));
	cr_assert(world_has(&world, "etc/hosts", ""));
	cr_assert(world_has(&world, "etc/resolv.conf", ""));
	world_end(&world);
}

Test(rootfs_mountpoints, a_file_in_the_way_is_an_error)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };
	struct err err = { 0 };

	tar_file(&tar, "proc", "1");
	world_must_unpack(&world, &tar);
	cr_assert_lt(mountpoints_make(world.target.root_fd, &world.target.trash, &err), 0);
	cr_assert_not_null(strstr(err.text, "proc"), "%s", err.text);
	world_end(&world);
}
