/* SPDX-License-Identifier: Apache-2.0
 * runtime/plan_closed.c: what others may not read below a folder. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "runtime/plan_agent.h"

static char base[] = "/tmp/test_closed.XXXXXX";

static void make(const char *name, mode_t mode)
{
	char path[128];
	size_t len = strlen(name);

	snprintf(path, sizeof(path), "%s/%s", base, name);
	if (name[len - 1] == '/')
		cr_assert_eq(mkdir(path, 0700), 0);
	else
		close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	cr_assert_eq(chmod(path, mode), 0);
}

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(base));
}

static void tear_down(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf -- '%s'", base);
	cr_assert_eq(system(command), 0);
}

TestSuite(plan_closed, .init = set_up, .fini = tear_down);

static bool has(const struct strlist *list, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", base, name);
	return strlist_has(list, path);
}

Test(plan_closed, files_and_folders_that_others_may_not_read)
{
	cleanup_with(strlist_clear) struct strlist closed = { 0 };
	struct err err = { "" };

	make("open", 0644);
	make("key", 0640);
	make("docker/", 0755);
	make("docker/key.json", 0600);
	make("docker/open", 0604);
	make("private/", 0711);
	make("private/inside", 0600);
	make("unsearchable/", 0754);
	cr_assert_eq(plan_closed_walk(base, &closed, &err), 0, "%s", err.text);
	cr_expect(has(&closed, "key"));
	cr_expect(has(&closed, "docker/key.json"));
	cr_expect(has(&closed, "private"));
	cr_expect(has(&closed, "unsearchable"));
	cr_expect_eq(closed.len, 4);
}

Test(plan_closed, a_link_is_left_alone)
{
	cleanup_with(strlist_clear) struct strlist closed = { 0 };
	struct err err = { "" };
	char path[128];

	make("key", 0600);
	snprintf(path, sizeof(path), "%s/link", base);
	cr_assert_eq(symlink("key", path), 0);
	cr_assert_eq(plan_closed_walk(base, &closed, &err), 0, "%s", err.text);
	cr_expect_eq(closed.len, 1);
}

Test(plan_closed, what_is_too_deep_to_be_searched_refuses)
{
	cleanup_with(strlist_clear) struct strlist closed = { 0 };
	struct err err = { "" };
	char path[256] = "";

	for (int i = 0; i < 40; i++) {
		strcat(path, "d/");
		make(path, 0755);
	}
	make(strcat(path, "key"), 0600);
	cr_expect_eq(plan_closed_walk(base, &closed, &err), -E2BIG);
	cr_expect_not_null(strstr(err.text, "too much to be searched"), "%s", err.text);
}
