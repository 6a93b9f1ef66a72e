/* SPDX-License-Identifier: Apache-2.0
 * Images in the store: finding, listing, removing, imports at the same time, and SIGKILL at any
 * moment of one. */
#include <signal.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/unit/test_rootfs_shop.h"

Test(rootfs_image, is_found_by_digest_and_prefix)
{
	cleanup_with(image_clear) struct image image = { 0 };
	struct err err = { 0 };
	char prefix[20];
	struct shop shop;

	shop_open(&shop);
	cr_assert_eq(image_find(shop.dir, "test:1", &image, &err), -ENOENT, "without a store");
	cr_assert_not_null(strstr(err.text, "bottle image import"), "%s", err.text);
	write_recipe(&shop, &(struct recipe){ 0 });
	must_import(&shop, NULL, "test:1");
	cr_assert_eq(image_find(shop.dir, "test:1", &image, &err), 0);
	must_find(&shop, image.digest);
	snprintf(prefix, sizeof(prefix), "%.6s", image.digest + 7);
	must_find(&shop, prefix);
	snprintf(prefix, sizeof(prefix), "%.13s", image.digest);
	must_find(&shop, prefix);
	image_clear(&image);
	cr_assert_eq(image_find(shop.dir, "test:2", &image, &err), -ENOENT);
	cr_assert_eq(image_find(shop.dir, "sha256:" ZEROS, &image, &err), -ENOENT);
	cr_assert_eq(image_find(shop.dir, "sha256:", &image, &err), -ENOENT);
	cr_assert_eq(image_find(shop.dir, "../../etc", &image, &err), -EINVAL);
	world_end(&shop.world);
}

struct seen {
	char text[512];
};

static void note(void *ctx, const char *tag, const struct image *image)
{
	struct seen *seen = ctx;
	size_t used = strlen(seen->text);

	snprintf(seen->text + used, sizeof(seen->text) - used, "%s%s,", tag ? tag : "-",
		 image->root_path ? "" : "!");
}

static void must_list(const struct shop *shop, const char *want)
{
	struct seen seen = { 0 };
	struct err err = { 0 };

	cr_assert_eq(image_list(shop->dir, note, &seen, &err), 0, "%s", err.text);
	cr_assert_str_eq(seen.text, want);
}

Test(rootfs_image, goes_with_its_last_tag)
{
	cleanup_with(image_clear) struct image image = { 0 };
	struct err err = { 0 };
	struct shop shop;

	shop_open(&shop);
	must_list(&shop, "");
	write_recipe(&shop, &(struct recipe){ 0 });
	must_import(&shop, "b", "b:latest");
	must_import(&shop, "a/x", "a/x:latest");
	write_recipe(&shop, &(struct recipe){ .user = "7" });
	must_import(&shop, "c", "c:latest");
	must_list(&shop, "a/x:latest,b:latest,c:latest,");
	cr_assert_eq(image_remove(shop.dir, "b", &err), 0, "%s", err.text);
	must_find(&shop, "a/x");
	cr_assert_eq(image_find(shop.dir, "a/x", &image, &err), 0);
	cr_assert_eq(image_remove(shop.dir, "a/x", &err), -EBUSY, "while it is held");
	must_list(&shop, "a/x:latest,c:latest,");
	image_clear(&image);
	cr_assert_eq(image_remove(shop.dir, "a/x", &err), 0, "%s", err.text);
	must_list(&shop, "c:latest,");
	cr_assert_eq(count_entries(&shop, "images/sha256"), 1);
	cr_assert_eq(image_remove(shop.dir, "a/x", &err), -ENOENT);
	cr_assert_eq(image_find(shop.dir, "c", &image, &err), 0);
	cleanup_free char *digest = strdup(image.digest);

	image_clear(&image);
	must_import(&shop, "d", "d:latest");
	cr_assert_eq(image_remove(shop.dir, digest, &err), 0, "by digest: %s", err.text);
	must_be_empty(&shop);
	world_end(&shop.world);
}

Test(rootfs_image, without_a_tag_is_listed)
{
	cleanup_with(image_clear) struct image image = { 0 };
	cleanup_free char *record = NULL;
	struct err err = { 0 };
	struct shop shop;

	shop_open(&shop);
	write_recipe(&shop, &(struct recipe){ 0 });
	must_import(&shop, "a", "a:latest");
	write_recipe(&shop, &(struct recipe){ .user = "7" });
	must_import(&shop, "a", "a:latest");
	must_list(&shop, "a:latest,-,");
	/* One that cannot be read is listed too, is not found, and an import mends it. */
	cr_assert_eq(image_find(shop.dir, "a", &image, &err), 0);
	record = str_printf("%s/../image.json", image.root_path);
	cr_assert_eq(truncate(record, 5), 0);
	image_clear(&image);
	cr_assert_eq(image_find(shop.dir, "a", &image, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.text, "import it again"), "%s", err.text);
	must_list(&shop, "a:latest!,-,");
	must_import(&shop, "a", "a:latest");
	must_list(&shop, "a:latest,-,");
	world_end(&shop.world);
}

/* A moved tag leaves the old image without one; it is listed and can be removed. */
static pid_t start_import(const struct shop *shop, const char *tag)
{
	pid_t pid = fork();

	if (pid == 0) {
		char *digest = NULL;
		struct err err = { 0 };
		int rc = image_import(shop->dir, shop->archive, tag, &digest, NULL, &err);

		if (rc < 0)
			fprintf(stderr, "import: %s\n", err.text);
		_exit(rc < 0 ? 1 : 0);
	}
	cr_assert_gt(pid, 0);
	return pid;
}

Test(rootfs_image, two_imports_at_once)
{
	struct shop shop;
	pid_t pids[4];

	shop_open(&shop);
	write_recipe(&shop, &(struct recipe){ .big_layer_files = 500 });
	for (int i = 0; i < 4; i++)
		pids[i] = start_import(&shop, i % 2 ? "a" : "b");
	for (int i = 0; i < 4; i++) {
		int status = -1;

		cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
		cr_assert_eq(status, 0);
	}
	must_find(&shop, "a");
	must_find(&shop, "b");
	cr_assert_eq(count_entries(&shop, "images/sha256"), 1);
	cr_assert_eq(count_entries(&shop, "images"), 2, "a tmp folder stayed");
	world_end(&shop.world);
}

/* Returns once the import has let go of the image `hex` that it looked at: it closes the lock file
 * last, and a descriptor's lock goes after the event of its closing. */
static void wait_for_look(const struct shop *shop, int watch_fd)
{
	cleanup_free char *path = NULL;
	cleanup_fd int fd = -1;
	struct inotify_event event;

	cr_assert_eq(read(watch_fd, &event, sizeof(event)), sizeof(event));
	path = str_printf("%s/lock-of-image", shop->dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	cr_assert_geq(fd, 0, "%m");
	cr_assert_eq(flock(fd, LOCK_EX), 0);
}

/* The import reads a FIFO, so that it is known to be before its look at the store, and then waits for
 * the store's lock, which is held here while the image goes. */
Test(rootfs_image, removed_while_its_import_is_under_way, .timeout = 60)
{
	cleanup_with(image_clear) struct image image = { 0 };
	cleanup_with(store_close) struct store store = { 0 };
	cleanup_with(buf_clear) struct buf tar = { 0 };
	cleanup_free char *lock = NULL, *link_name = NULL;
	cleanup_fd int fifo_fd = -1, watch_fd = inotify_init1(IN_CLOEXEC);
	char hex[SHA256_HEX_BYTES];
	struct err err = { 0 };
	int status = -1;
	struct shop shop;
	pid_t pid;

	shop_open(&shop);
	make_oci(&(struct recipe){ 0 }, &tar);
	write_archive(&shop, &tar);
	must_import(&shop, "a", "a:latest");
	cr_assert_eq(image_find(shop.dir, "a", &image, &err), 0, "%s", err.text);
	memcpy(hex, digest_hex(image.digest), sizeof(hex));
	lock = str_printf("%s/../lock", image.root_path);
	image_clear(&image);
	link_name = str_printf("%s/lock-of-image", shop.dir);
	cr_assert_eq(link(lock, link_name), 0, "%m");
	cr_assert_geq(inotify_add_watch(watch_fd, lock, IN_CLOSE), 0, "%m");
	cr_assert_eq(unlink(shop.archive), 0);
	cr_assert_eq(mkfifo(shop.archive, 0600), 0);
	pid = start_import(&shop, "b");
	fifo_fd = open(shop.archive, O_WRONLY | O_CLOEXEC);
	cr_assert_eq(store_open(shop.dir, false, &store, &err), 0, "%s", err.text);
	cr_assert_eq(store_lock(&store, &err), 0, "%s", err.text);
	cr_assert_eq(fd_write_all(fifo_fd, tar.data, tar.len), 0);
	fd_close(&fifo_fd);
	wait_for_look(&shop, watch_fd);
	cr_assert_eq(store_remove_image(&store, hex, &err), 0, "%s", err.text);
	store_close(&store);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	must_find(&shop, "b");
	cr_assert_eq(count_entries(&shop, "images"), 2, "a tmp folder stayed");
	world_end(&shop.world);
}

enum { KILL_ROUNDS = 60, KILL_FILES = 1000 };

/* Whole: the last file of the layer and every one before it are there, and image.json reads. */
static void must_be_whole_or_absent(const struct shop *shop, int *whole)
{
	cleanup_with(image_clear) struct image image = { 0 };
	struct err err = { 0 };
	int rc = image_find(shop->dir, "k", &image, &err);

	if (count_entries(shop, "images/sha256") == 0) {
		cr_assert_eq(rc, -ENOENT);
		return;
	}
	for (int i = 0; i < KILL_FILES; i++) {
		cleanup_free char *path = NULL;

		if (rc < 0) /* killed before its tag */
			break;
		path = str_printf("%s/many/%d/%d", image.root_path, i % 17, i);
		cr_assert_eq(access(path, F_OK), 0, "%s: %m", path);
	}
	cr_assert(rc == 0 || rc == -ENOENT, "%s", err.text);
	(*whole)++;
}

/* Asked by name: a killed import may leave a half-written tag under a name of its own. */
static bool is_found(const struct shop *shop, const char *tag)
{
	cleanup_with(image_clear) struct image image = { 0 };

	return image_find(shop->dir, tag, &image, NULL) == 0;
}

Test(rootfs_image, killed_at_any_moment_leaves_all_or_nothing, .timeout = 120)
{
	struct timespec begin, end;
	int whole = 0, status;
	struct err err = { 0 };
	long whole_ns;
	struct shop shop;

	shop_open(&shop);
	write_recipe(&shop, &(struct recipe){ .big_layer_files = KILL_FILES });
	clock_gettime(CLOCK_MONOTONIC, &begin);
	cr_assert_geq(waitpid(start_import(&shop, "k"), &status, 0), 0);
	clock_gettime(CLOCK_MONOTONIC, &end);
	cr_assert_eq(status, 0);
	whole_ns = (end.tv_sec - begin.tv_sec) * 1000000000 + end.tv_nsec - begin.tv_nsec;
	for (int i = 0; i < KILL_ROUNDS; i++) {
		struct timespec delay = { 0 };
		pid_t pid;

		if (is_found(&shop, "k"))
			cr_assert_eq(image_remove(shop.dir, "k", &err), 0, "%s", err.text);
		delay.tv_nsec = whole_ns / KILL_ROUNDS * i % 1000000000;
		pid = start_import(&shop, "k");
		nanosleep(&delay, NULL);
		kill(pid, SIGKILL);
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		must_be_whole_or_absent(&shop, &whole);
	}
	cr_assert_lt(whole, KILL_ROUNDS, "every import was through before it was killed");
	must_import(&shop, "k", "k:latest");
	must_be_whole_or_absent(&shop, &whole);
	cr_assert_eq(count_entries(&shop, "images"), 2, "the next import did not sweep");
	cr_assert_eq(count_entries(&shop, "tags"), 1, "a half-written tag stayed");
	world_end(&shop.world);
}
