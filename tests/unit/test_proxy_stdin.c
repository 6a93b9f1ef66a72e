/* SPDX-License-Identifier: Apache-2.0
 * The archive of secrets: what is taken, what is refused, and where its files come to lie. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "proxy/stdin_archive.h"
#include "proxy/stdin_secrets.h"

#define ROUTES	 "etc/egress-proxy/routes.yaml"
#define CA	 "home/mitmproxy/.mitmproxy/mitmproxy-ca.pem"
#define UPSTREAM "home/mitmproxy/.mitmproxy/pipelock-ca.pem"
#define TOKENS	 "run/egress-proxy/tokens"

enum { BLOCK = 512 };

/* A member as an attacker, or a mistake, would make it; '0' is a regular file. */
struct member {
	const char *name, *text;
	char type;
};

static void set_checksum(char *header)
{
	unsigned sum = 0;

	memset(header + 148, ' ', 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)header[i];
	snprintf(header + 148, 8, "%06o", sum);
}

static void add(struct buf *tar, struct member member)
{
	static const char zeros[BLOCK];
	char header[BLOCK] = { 0 };
	size_t len = strlen(member.text);

	snprintf(header, 100, "%s", member.name);
	memcpy(header + 100,
	       "0000400\0"
	       "0001750\0"
	       "0001750",
	       23);
	snprintf(header + 124, 12, "%011o", (unsigned)len);
	memcpy(header + 136, "00000000000", 11);
	header[156] = member.type;
	memcpy(header + 257,
	       "ustar\0"
	       "00",
	       8);
	set_checksum(header);
	buf_append(tar, header, BLOCK);
	buf_append(tar, member.text, len);
	buf_append(tar, zeros, (BLOCK - len % BLOCK) % BLOCK);
}

static void add_end(struct buf *tar)
{
	static const char zeros[2 * BLOCK];

	buf_append(tar, zeros, sizeof(zeros));
}

static struct buf good_archive(void)
{
	struct buf tar = { 0 };

	add(&tar, (struct member){ ROUTES, "version: 1\n", '0' });
	add(&tar, (struct member){ CA, "-----BEGIN", '0' });
	add(&tar, (struct member){ TOKENS, "EGRESS_PROXY_TOKEN_0=one\nEGRESS_PROXY_TOKEN_2=three\n",
				   '0' });
	add_end(&tar);
	return tar;
}

Test(proxy_stdin, an_archive_in_pieces_is_read_to_its_end_and_no_further)
{
	struct buf tar = good_archive();
	struct stdin_archive archive = { 0 };
	struct err err = { "" };
	size_t len = 0;
	ssize_t more;

	while ((more = stdin_archive_read(&archive, tar.data, len, &err)) > 0) {
		len += (size_t)more;
		cr_assert_leq(len, tar.len);
	}
	cr_assert_eq(more, 0, "%s", err.text);
	cr_expect_eq(len, tar.len);
	cr_expect_eq(archive.files[STDIN_CA].len, 10);
	cr_expect(!memcmp(archive.files[STDIN_CA].at, "-----BEGIN", 10));
	cr_expect(archive.has[STDIN_TOKENS] && !archive.has[STDIN_EXTRA_CA]);
	buf_clear(&tar);
}

static void expect_refused(struct buf *tar, const char *sentence)
{
	struct stdin_archive archive = { 0 };
	struct err err = { "" };

	cr_expect_eq(stdin_archive_read(&archive, tar->data, tar->len, &err), -EINVAL, "%s",
		     sentence);
	cr_expect_str_eq(err.text, sentence);
	buf_clear(tar);
}

static void expect_members_refused(const struct member *members, const char *sentence)
{
	struct buf tar = { 0 };

	for (; members->name; members++)
		add(&tar, *members);
	add_end(&tar);
	expect_refused(&tar, sentence);
}

#define MEMBERS(...) ((const struct member[]){ __VA_ARGS__, { NULL, NULL, 0 } })

Test(proxy_stdin, what_is_not_on_the_list_is_refused)
{
	expect_members_refused(MEMBERS({ ROUTES, "", '0' }, { "etc/passwd", "", '0' }),
			       "'etc/passwd' is none of the files that may come");
	expect_members_refused(MEMBERS({ "/" ROUTES, "", '0' }),
			       "'/" ROUTES "' is none of the files that may come");
	expect_members_refused(MEMBERS({ "./" ROUTES, "", '0' }),
			       "'./" ROUTES "' is none of the files that may come");
	expect_members_refused(MEMBERS({ ROUTES, "", '2' }), "'" ROUTES "' is no regular file");
	expect_members_refused(MEMBERS({ ROUTES, "", '5' }), "'" ROUTES "' is no regular file");
	expect_members_refused(MEMBERS({ CA, "", '0' }, { ROUTES, "", '0' }),
			       "'" ROUTES "' comes twice, or not in its turn");
	expect_members_refused(MEMBERS({ ROUTES, "", '0' }, { CA, "", '0' }, { CA, "", '0' }),
			       "'" CA "' comes twice, or not in its turn");
	expect_members_refused(MEMBERS({ CA, "", '0' }), "'" ROUTES "' is missing");
	expect_members_refused(MEMBERS({ ROUTES, "", '0' }, { UPSTREAM, "", '0' }),
			       "'" CA "' is missing");
}

/* One byte of a good archive's first header changed, and its checksum made anew or not. */
static void expect_byte_refused(size_t at, char byte, bool has_sum, const char *sentence)
{
	struct buf tar = good_archive();

	tar.data[at] = byte;
	if (has_sum)
		set_checksum(tar.data);
	expect_refused(&tar, sentence);
}

Test(proxy_stdin, a_header_that_is_none_is_refused)
{
	expect_byte_refused(0, 'E', false, "a header's checksum is wrong");
	expect_byte_refused(148, 'x', false, "a header's checksum is wrong");
	expect_byte_refused(257, 'U', true, "a block is no header of a POSIX ustar archive");
	expect_byte_refused(262, ' ', true, "a block is no header of a POSIX ustar archive");
	expect_byte_refused(345, 'a', true, "a name is too long");
	expect_byte_refused(124, '9', true, "the size of '" ROUTES "' is no number");
	expect_byte_refused(124, '-', true, "the size of '" ROUTES "' is no number");
	expect_byte_refused(124, (char)0x80, true, "the size of '" ROUTES "' is no number");
	expect_byte_refused(126, '1', true, "more than 4194304 bytes");
}

Test(proxy_stdin, something_after_the_first_end_block_is_refused)
{
	struct buf tar = good_archive();

	tar.data[tar.len - 1] = 'x';
	expect_refused(&tar, "something follows the archive's first end block");
}

/* ---- files ---- */

/* A root with the folders of the contract. */
static int make_root(char *path)
{
	static const char *const folders[] = { "etc", "etc/egress-proxy", "home", "home/mitmproxy",
					       "home/mitmproxy/.mitmproxy" };
	int fd;

	cr_assert_not_null(mkdtemp(path));
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		cr_assert_eq(mkdirat(fd, folders[i], 0700), 0);
	return fd;
}

static void remove_root(const char *path, int fd)
{
	static const char *const all[] = {
		ROUTES,		  CA,	 "etc/egress-proxy", "etc", "home/mitmproxy/.mitmproxy",
		"home/mitmproxy", "home"
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (unlinkat(fd, all[i], 0) < 0)
			unlinkat(fd, all[i], AT_REMOVEDIR);
	close(fd);
	cr_expect_eq(rmdir(path), 0);
}

/* What a pipe that stays open, or is closed, brings. */
static int take(const struct buf *bytes, bool stays_open, int root_fd, struct tokens *tokens,
		struct err *err)
{
	int fds[2], rc;

	cr_assert_eq(fd_pipe(fds), 0);
	cr_assert_eq(fd_write_all(fds[1], bytes->data, bytes->len), 0);
	if (!stays_open)
		close(fds[1]);
	rc = stdin_secrets_take(fds[0], root_fd, tokens, err);
	close(fds[0]);
	if (stays_open)
		close(fds[1]);
	return rc;
}

Test(proxy_stdin, the_files_lie_where_only_the_proxy_reads_them)
{
	char path[] = "/dev/shm/bottle-test-XXXXXX";
	int root_fd = make_root(path);
	struct buf tar = good_archive(), text = { 0 };
	struct tokens tokens;
	struct err err = { "" };
	struct stat st;

	umask(0);
	cr_assert_eq(take(&tar, true, root_fd, &tokens, &err), 0, "%s", err.text);
	cr_assert_eq(fstatat(root_fd, CA, &st, AT_SYMLINK_NOFOLLOW), 0);
	cr_expect_eq(st.st_mode, S_IFREG | 0400);
	cr_expect_eq(st.st_uid, geteuid());
	cr_assert_eq(file_read(root_fd, ROUTES, 100, &text, &err), 0);
	cr_expect_str_eq(text.data, "version: 1\n");
	cr_expect_eq(tokens.count, 2);
	cr_expect_eq(tokens_find(&tokens, "EGRESS_PROXY_TOKEN_2").len, 5);
	tokens_wipe(&tokens);

	cr_expect_eq(take(&tar, true, root_fd, &tokens, &err), -EEXIST);
	cr_expect_str_eq(err.text, "secrets on standard input: /" ROUTES ": File exists");
	buf_clear(&tar);
	buf_clear(&text);
	remove_root(path, root_fd);
}

Test(proxy_stdin, a_short_archive_lays_nothing)
{
	char path[] = "/dev/shm/bottle-test-XXXXXX";
	int root_fd = make_root(path);
	struct buf tar = good_archive();
	struct tokens tokens;
	struct err err = { "" };

	tar.len -= BLOCK;
	cr_expect_eq(take(&tar, false, root_fd, &tokens, &err), -EINVAL);
	cr_expect_str_eq(err.text, "secrets on standard input: the archive ends too early");
	cr_expect_eq(faccessat(root_fd, ROUTES, F_OK, 0), -1);
	buf_clear(&tar);
	remove_root(path, root_fd);
}

Test(proxy_stdin, a_folder_on_a_disk_is_refused)
{
	int root_fd = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char path[] = "/var/tmp/bottle-test-XXXXXX";
	struct buf tar = good_archive();
	struct tokens tokens;
	struct err err = { "" };
	struct statfs fs;

	cr_expect_eq(take(&tar, true, root_fd, &tokens, &err), -ENOENT);
	close(root_fd);
	root_fd = make_root(path);
	if (fstatfs(root_fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC)
		cr_skip_test("/var/tmp is a tmpfs here");
	cr_expect_eq(take(&tar, true, root_fd, &tokens, &err), -EINVAL);
	cr_expect_str_eq(
		err.text,
		"secrets on standard input: /etc/egress-proxy is no tmpfs: mount one there");
	cr_expect_eq(faccessat(root_fd, ROUTES, F_OK, 0), -1);
	buf_clear(&tar);
	remove_root(path, root_fd);
}

/* ---- tokens ---- */

static void expect_lines_refused(const char *text, const char *sentence)
{
	char lines[128];
	struct tokens tokens = { 0 };
	struct err err = { "" };

	snprintf(lines, sizeof(lines), "%s", text);
	cr_expect_eq(tokens_take_lines(lines, strlen(text), &tokens, &err), -EINVAL, "%s", text);
	cr_expect_str_eq(err.text, sentence);
	cr_expect_eq(tokens.count, 0);
	for (size_t i = 0; i < strlen(text); i++)
		cr_expect_eq(lines[i], '\0');
}

Test(proxy_stdin, lines_that_are_no_tokens_are_refused_and_wiped)
{
	expect_lines_refused("EGRESS_PROXY_TOKEN_0=a\nPATH=/bin\n", "line 2 of the tokens is none");
	expect_lines_refused("EGRESS_PROXY_TOKEN_0=a\n\n", "line 2 of the tokens is none");
	expect_lines_refused("EGRESS_PROXY_TOKEN_0=a", "line 1 of the tokens has no end, or a NUL");
	expect_lines_refused("EGRESS_PROXY_TOKEN_0=a\rb\n",
			     "EGRESS_PROXY_TOKEN_0 holds a CR, LF or NUL");
}

Test(proxy_stdin, what_is_asked_for_is_understood_or_refused)
{
	struct err err = { "" };
	bool wanted = true;

	unsetenv("EGRESS_PROXY_SECRETS");
	cr_expect(stdin_secrets_wanted(&wanted, &err) == 0 && !wanted);
	setenv("EGRESS_PROXY_SECRETS", "stdin", 1);
	cr_expect(stdin_secrets_wanted(&wanted, &err) == 0 && wanted);
	setenv("EGRESS_PROXY_SECRETS", "file", 1);
	cr_expect_eq(stdin_secrets_wanted(&wanted, &err), -EINVAL);
}
