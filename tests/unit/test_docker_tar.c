/* SPDX-License-Identifier: Apache-2.0
 * The archive that carries the secrets: what tar(1) makes of it, and that it is sent whole in any pieces. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "runtime/docker_tar.h"

static const struct docker_tar_owner owner = { 1000, 1001, 0400 };

static void add(struct docker_tar *tar, const char *name, const char *text)
{
	const struct docker_tar_part part = { text, strlen(text), NULL };

	cr_assert_eq(docker_tar_add(tar, name, &owner, &part, 1), 0);
}

/* All of it, as a descriptor that takes only so much at a time would get it. */
static void collect(const struct docker_tar *tar, struct buf *ret)
{
	size_t sent = 0;
	int fds[2], rc = 0;

	cr_assert_eq(fd_pipe(fds), 0);
	cr_assert_eq(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	cr_assert_eq(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
	fcntl(fds[1], F_SETPIPE_SZ, 4096);
	while (rc == 0) {
		char bytes[333];
		ssize_t n;

		rc = docker_tar_send(tar, &sent, fds[1]);
		cr_assert_geq(rc, 0);
		while ((n = read(fds[0], bytes, sizeof(bytes))) > 0)
			buf_append(ret, bytes, (size_t)n);
	}
	cr_assert_eq(ret->len, sent);
	close(fds[0]);
	close(fds[1]);
}

Test(docker_tar, tar_lists_what_was_put_in)
{
	cleanup_with(docker_tar_clear) struct docker_tar tar = { 0 };
	cleanup_with(buf_clear) struct buf bytes = { 0 };
	char path[] = "/tmp/test_docker_tar.XXXXXX", command[128], line[256];
	int fd = mkstemp(path);
	FILE *list;

	cr_assert_eq(docker_tar_add(&tar, "home/x/", &owner, NULL, 0), 0);
	add(&tar, "etc/egress-proxy/routes.yaml", "routes: []\n");
	add(&tar, "empty", "");
	cr_assert_eq(docker_tar_end(&tar), 0);
	collect(&tar, &bytes);
	cr_assert_eq(bytes.len % 512, 0);
	cr_assert_eq(fd_write_all(fd, bytes.data, bytes.len), 0);
	close(fd);
	snprintf(command, sizeof(command),
		 "tar --numeric-owner -tvf %s | awk '{ print $1, $2, $3 }'", path);
	list = popen(command, "r");
	cr_assert_not_null(fgets(line, sizeof(line), list));
	cr_assert_str_eq(line, "dr-------- 1000/1001 0\n");
	cr_assert_not_null(fgets(line, sizeof(line), list));
	cr_assert_str_eq(line, "-r-------- 1000/1001 11\n");
	cr_assert_not_null(fgets(line, sizeof(line), list));
	cr_assert_null(fgets(line, sizeof(line), list));
	cr_assert_eq(pclose(list), 0);
	unlink(path);
}

Test(docker_tar, pieces_are_one_file)
{
	cleanup_with(docker_tar_clear) struct docker_tar tar = { 0 };
	cleanup_with(buf_clear) struct buf bytes = { 0 };
	const struct docker_tar_part pieces[] = { { "NAME=", 5, NULL },
						  { "value", 5, NULL },
						  { "\n", 1, NULL } };
	struct docker_tar_owner found;
	const char *content;
	size_t len;

	cr_assert_eq(docker_tar_add(&tar, "tokens", &owner, pieces, 3), 0);
	cr_assert_eq(docker_tar_end(&tar), 0);
	collect(&tar, &bytes);
	cr_assert_eq(bytes.len, 4 * 512);
	cr_assert_eq(docker_tar_first(bytes.data, bytes.len, &found, &content, &len), 0);
	cr_assert_eq(len, 11);
	cr_assert_eq(memcmp(content, "NAME=value\n", len), 0);
	cr_assert_eq(found.uid, 1000);
	cr_assert_eq(found.gid, 1001);
	cr_assert_eq(found.mode, 0400);
}

Test(docker_tar, much_is_sent_whole)
{
	cleanup_with(docker_tar_clear) struct docker_tar tar = { 0 };
	cleanup_with(buf_clear) struct buf bytes = { 0 };
	cleanup_free char *text = malloc(300001);
	struct docker_tar_owner found;
	const char *content;
	size_t len;

	for (size_t i = 0; i < 300000; i++)
		text[i] = (char)('a' + i % 23);
	text[300000] = '\0';
	add(&tar, "large", text);
	cr_assert_eq(docker_tar_end(&tar), 0);
	collect(&tar, &bytes);
	cr_assert_eq(docker_tar_first(bytes.data, bytes.len, &found, &content, &len), 0);
	cr_assert_eq(len, 300000);
	cr_assert_eq(memcmp(content, text, len), 0);
}

Test(docker_tar, a_folder_is_no_file_and_a_file_no_folder)
{
	cleanup_with(docker_tar_clear) struct docker_tar tar = { 0 };
	cleanup_with(buf_clear) struct buf bytes = { 0 };
	const struct docker_tar_owner sticky = { 0, 0, 01777 };
	struct docker_tar_owner found;
	const char *content;
	size_t len;

	cr_assert_eq(docker_tar_add(&tar, "home/x/", &sticky, NULL, 0), 0);
	add(&tar, "home/x/file", "text");
	collect(&tar, &bytes);
	cr_assert_eq(docker_tar_first(bytes.data, bytes.len, &found, &content, &len), -EBADMSG);
	cr_assert_eq(docker_tar_first_folder(bytes.data, bytes.len, &found), 0);
	cr_assert_eq(found.uid, 0);
	cr_assert_eq(found.mode, 01777);
	cr_assert_eq(docker_tar_first_folder(bytes.data + 512, bytes.len - 512, &found), -EBADMSG);
	cr_assert_eq(docker_tar_first_folder(bytes.data, 511, &found), -EBADMSG);
}

Test(docker_tar, what_does_not_fit_is_refused)
{
	cleanup_with(docker_tar_clear) struct docker_tar tar = { 0 };
	const struct docker_tar_owner far = { 1U << 21, 0, 0400 };
	char name[102];

	memset(name, 'n', 101);
	name[101] = '\0';
	cr_assert_eq(docker_tar_add(&tar, name, &owner, NULL, 0), -ERANGE);
	cr_assert_eq(docker_tar_add(&tar, "x", &far, NULL, 0), -ERANGE);
	cr_assert_eq(tar.count, 0);
}

Test(docker_tar, a_damaged_archive_is_none)
{
	cleanup_with(docker_tar_clear) struct docker_tar tar = { 0 };
	cleanup_with(buf_clear) struct buf bytes = { 0 };
	struct docker_tar_owner found;
	const char *content;
	size_t len;

	add(&tar, "x", "text");
	collect(&tar, &bytes);
	cr_assert_eq(docker_tar_first(bytes.data, 511, &found, &content, &len), -EBADMSG);
	cr_assert_eq(docker_tar_first(bytes.data, 515, &found, &content, &len), -EBADMSG);
	bytes.data[100] ^= 1;
	cr_assert_eq(docker_tar_first(bytes.data, bytes.len, &found, &content, &len), -EBADMSG);
}
