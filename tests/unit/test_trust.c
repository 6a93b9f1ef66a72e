/* SPDX-License-Identifier: Apache-2.0
 * Digests of accepted manifests, and what an attacker may have laid in their place. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sha256.h"
#include "base/str.h"
#include "config/trust.h"

#define MANIFEST "/work/bottle.yaml"

/* A fresh state folder, with nothing in it. */
static char state_path[32];
static int state_fd = -1;

static void setup(void)
{
	strcpy(state_path, "/tmp/test-trust-XXXXXX");
	cr_assert_not_null(mkdtemp(state_path));
	state_fd = open(state_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(state_fd, 0);
}

/* The name of the record of MANIFEST. */
static const char *record_name(void)
{
	static char name[sizeof("trust/") + SHA256_HEX_BYTES];
	uint8_t digest[SHA256_BYTES];
	struct sha256 sha;

	strcpy(name, "trust/");
	sha256_init(&sha);
	sha256_update(&sha, MANIFEST, strlen(MANIFEST));
	sha256_final(&sha, digest);
	sha256_hex(digest, name + strlen(name));
	return name;
}

static void teardown(void)
{
	(void)unlinkat(state_fd, record_name(), 0);
	(void)unlinkat(state_fd, record_name(), AT_REMOVEDIR);
	(void)unlinkat(state_fd, "elsewhere", 0);
	(void)unlinkat(state_fd, "trust", 0);
	/* Fails when a temporary file was left behind. */
	if (unlinkat(state_fd, "trust", AT_REMOVEDIR) < 0)
		cr_assert_eq(errno, ENOENT, "trust/ is not empty after the test");
	cr_assert_eq(rmdir(state_path), 0);
	close(state_fd);
}

TestSuite(trust, .init = setup, .fini = teardown);

static const struct strlist no_files;

static int check(const char *text, struct err *err)
{
	cleanup_with(strlist_clear) struct strlist files = { 0 };

	return trust_check(state_fd, MANIFEST, text, strlen(text), &files, err);
}

static void accept_text(const char *text)
{
	struct err err = { 0 };

	cr_assert_eq(trust_accept(state_fd, MANIFEST, text, strlen(text), &no_files, &err), 0, "%s",
		     err.text);
}

Test(trust, unknown_then_accepted_then_changed)
{
	struct err err;

	cr_expect_eq(check("a: 1\n", &err), -ENOKEY);
	cr_expect_str_eq(err.text, MANIFEST
			 ": this manifest was found, not named, and nobody has "
			 "accepted it yet; look at it with 'bottle trust " MANIFEST "', or name "
			 "it with -f");
	accept_text("a: 1\n");
	cr_expect_eq(check("a: 1\n", &err), 0);
	cr_expect_eq(check("a: 2\n", &err), -EKEYREJECTED);
	cr_expect_str_eq(err.text,
			 MANIFEST ": this manifest has changed since it was accepted; look "
				  "at it with 'bottle trust " MANIFEST "', or name it with -f");
	accept_text("a: 2\n");
	cr_expect_eq(check("a: 2\n", &err), 0);
	cr_expect_eq(check("a: 1\n", &err), -EKEYREJECTED, "the old one still counts");
}

Test(trust, a_path_is_trusted_by_itself)
{
	struct strlist files = { 0 };
	struct err err;

	accept_text("a: 1\n");
	cr_expect_eq(trust_check(state_fd, "/other/bottle.yaml", "a: 1\n", 5, &files, &err),
		     -ENOKEY);
}

Test(trust, the_digests_of_further_files_are_kept_in_their_order)
{
	cleanup_with(strlist_clear) struct strlist kept = { 0 };
	cleanup_with(strlist_clear) struct strlist files = { 0 };
	char digest[SHA256_HEX_BYTES];
	struct err err;

	memset(digest, 'b', SHA256_HEX_BYTES - 1);
	digest[SHA256_HEX_BYTES - 1] = '\0';
	cr_assert_eq(strlist_add(&files, digest), 0);
	digest[0] = '0';
	cr_assert_eq(strlist_add(&files, digest), 0);
	cr_assert_eq(trust_accept(state_fd, MANIFEST, "a: 1\n", 5, &files, &err), 0);
	cr_assert_eq(trust_check(state_fd, MANIFEST, "a: 1\n", 5, &kept, &err), 0);
	cr_assert_eq(kept.len, 2);
	cr_expect_str_eq(kept.items[0], files.items[0]);
	cr_expect_str_eq(kept.items[1], files.items[1]);
}

static void write_record(const char *text)
{
	int fd = openat(state_fd, record_name(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* SHA-256 of "a: 1\n". */
#define DIGEST "37b128c59f1f5097f73f82691cb519f1f568667faab5ced1b4ab979d36837eae"

/* What a bottle wrote that knew no further files counts for a manifest that names none. */
Test(trust, a_record_of_old_counts_and_a_torn_one_does_not)
{
	struct err err;

	cr_assert_eq(mkdirat(state_fd, "trust", 0700), 0);
	write_record(DIGEST "\n" MANIFEST "\n");
	cr_expect_eq(check("a: 1\n", &err), 0);
	write_record(DIGEST "\n" MANIFEST "\n" DIGEST "\n");
	cr_expect_eq(check("a: 1\n", &err), 0);
	write_record(DIGEST "\n" MANIFEST "\n" DIGEST);
	cr_expect_eq(check("a: 1\n", &err), -EBADMSG);
	write_record(DIGEST "\n" MANIFEST "\n" DIGEST "\nabc\n");
	cr_expect_eq(check("a: 1\n", &err), -EBADMSG);
}

Test(trust, record_is_private)
{
	struct stat st;

	umask(0);
	accept_text("a: 1\n");
	cr_assert_eq(fstatat(state_fd, record_name(), &st, AT_SYMLINK_NOFOLLOW), 0);
	cr_expect_eq(st.st_mode, S_IFREG | 0600);
	cr_assert_eq(fstatat(state_fd, "trust", &st, AT_SYMLINK_NOFOLLOW), 0);
	cr_expect_eq(st.st_mode, S_IFDIR | 0700);
}

/* A record somewhere else, pointed at by a symlink where the record should be. */
Test(trust, symlinks_are_not_followed)
{
	struct err err;

	accept_text("a: 1\n");
	cr_assert_eq(renameat(state_fd, record_name(), state_fd, "elsewhere"), 0);
	cr_assert_eq(symlinkat("../elsewhere", state_fd, record_name()), 0);
	cr_expect_eq(check("a: 1\n", &err), -ELOOP);
	accept_text("a: 1\n"); /* replaces the link, not what it points to */
	cr_expect_eq(check("a: 1\n", &err), 0);
}

Test(trust, the_folder_may_be_no_symlink)
{
	struct err err;

	cr_assert_eq(symlinkat("/tmp", state_fd, "trust"), 0);
	cr_expect_eq(check("a: 1\n", &err), -ELOOP);
	cr_expect_eq(trust_accept(state_fd, MANIFEST, "a: 1\n", 5, &no_files, &err), -ELOOP);
}

Test(trust, others_may_not_write_it)
{
	struct err err;

	accept_text("a: 1\n");
	cr_assert_eq(fchmodat(state_fd, record_name(), 0622, 0), 0);
	cr_expect_eq(check("a: 1\n", &err), -EPERM);
	cr_expect(str_starts(err.text, MANIFEST ": its record trust/"), "%s", err.text);
	cr_expect(str_ends(err.text, "is not a file that only you may write; remove it and run "
				     "'bottle trust' again"),
		  "%s", err.text);
}

Test(trust, neither_fifo_nor_folder_nor_torn_record)
{
	struct err err;
	int fd;

	cr_assert_eq(mkdirat(state_fd, "trust", 0700), 0);
	cr_assert_eq(mkfifoat(state_fd, record_name(), 0600), 0);
	cr_expect_eq(check("a: 1\n", &err), -EPERM);
	cr_assert_eq(unlinkat(state_fd, record_name(), 0), 0);
	cr_assert_eq(mkdirat(state_fd, record_name(), 0700), 0);
	cr_expect_eq(check("a: 1\n", &err), -EPERM);
	cr_assert_eq(unlinkat(state_fd, record_name(), AT_REMOVEDIR), 0);
	fd = openat(state_fd, record_name(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(write(fd, "abc\n", 4), 4);
	close(fd);
	cr_expect_eq(check("a: 1\n", &err), -EBADMSG);
}

static const char *said_of(const char *path)
{
	static struct err err;
	struct strlist files = { 0 };

	cr_assert_eq(trust_check(state_fd, path, "x", 1, &files, &err), -ENOKEY);
	return err.text;
}

Test(trust, the_command_that_is_proposed_is_one_word_to_a_shell)
{
	cr_assert_not_null(strstr(said_of("/a/b.yaml"), "with 'bottle trust /a/b.yaml', or"));
	cr_assert_not_null(strstr(said_of("/a $(x)'s/b.yaml"),
				  "with: bottle trust '/a $(x)'\\''s/b.yaml', or"));
	cr_assert_not_null(strstr(said_of("/a\n/b.yaml"), "with 'bottle trust' in its folder, or"));
}
