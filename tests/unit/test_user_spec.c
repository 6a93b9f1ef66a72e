/* SPDX-License-Identifier: Apache-2.0
 * USER of an image: what it says without passwd and group, which of the two is read for what it does not
 * say, and what comes of that. The words themselves are those of test_rootfs_config.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rootfs/user_spec.h"

Test(user_spec, what_it_says_in_numbers)
{
	static const struct {
		const char *user;
		struct user_spec spec;
	} cases[] = {
		{ "", { true, true, 0, 0 } },
		{ "1000", { true, false, 1000, 0 } },
		{ "1000:", { true, false, 1000, 0 } },
		{ "1000:1234", { true, true, 1000, 1234 } },
		{ "1000:web", { true, false, 1000, 0 } },
		{ "mitm", { false, false, 0, 0 } },
		{ "mitm:web", { false, false, 0, 0 } },
		{ "mitm:1234", { false, true, 0, 1234 } },
		{ ":web", { true, false, 0, 0 } },
		{ "2147483648", { false, false, 0, 0 } },
		{ "-1:-1", { false, false, 0, 0 } },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct user_spec *want = &cases[i].spec;
		struct user_spec got;

		user_spec_parse(cases[i].user, &got);
		cr_assert(got.has_uid == want->has_uid && got.has_gid == want->has_gid &&
				  got.uid == want->uid && got.gid == want->gid,
			  "'%s': %d %u, %d %u", cases[i].user, got.has_uid, got.uid, got.has_gid,
			  got.gid);
	}
}

/* An image's files; what was asked for is noted in `asked`. */
struct world {
	char *asked;
	size_t size;
};

static int read_file(const void *of, const char *path, struct buf *ret_text, struct err *err)
{
	const struct world *world = of;
	size_t len = strlen(world->asked);

	(void)err;
	snprintf(world->asked + len, world->size - len, "%s ", path);
	buf_puts(ret_text, strcmp(path, "etc/passwd") == 0
				   ? "root:x:0:0::/:\nmitm:x:1000:1001::/:\n1234:x:5:5::/:\n"
				   : "web:x:33:\n1234:x:6:\n");
	return 0;
}

Test(user_spec, each_file_is_read_for_what_is_not_said)
{
	static const struct {
		const char *user, *asked;
		uint32_t uid, gid;
	} cases[] = {
		{ "", "", 0, 0 },
		{ "mitm", "etc/passwd ", 1000, 1001 },
		{ "1000", "etc/passwd ", 1000, 1001 },
		{ "4711", "etc/passwd ", 4711, 0 },
		{ "1234:1234", "etc/passwd ", 1234, 1234 }, /* ids, not the entries' names */
		{ "1000:web", "etc/passwd etc/group ", 1000, 33 },
		{ "mitm:web", "etc/passwd etc/group ", 1000, 33 },
		{ "mitm:1234", "etc/passwd ", 1000, 1234 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char asked[64] = "";
		const struct world world = { asked, sizeof(asked) };
		const struct user_spec_files files = { read_file, &world };
		uint32_t uid = 99, gid = 99;
		struct err err = { "" };

		cr_assert_eq(user_spec_resolve(cases[i].user, &files, &uid, &gid, &err), 0,
			     "'%s': %s", cases[i].user, err.text);
		cr_assert(uid == cases[i].uid && gid == cases[i].gid, "'%s' became %u:%u",
			  cases[i].user, uid, gid);
		cr_assert_str_eq(asked, cases[i].asked);
	}
}

Test(user_spec, a_name_that_is_in_neither_is_named)
{
	char asked[64] = "";
	const struct world world = { asked, sizeof(asked) };
	const struct user_spec_files files = { read_file, &world };
	uint32_t uid, gid;
	struct err err;

	cr_assert_eq(user_spec_resolve("nobody", &files, &uid, &gid, &err), -ENOENT);
	cr_assert_not_null(strstr(err.text, "user 'nobody' is not in the image's /etc/passwd"));
	cr_assert_eq(user_spec_resolve("1000:staff", &files, &uid, &gid, &err), -ENOENT);
	cr_assert_not_null(strstr(err.text, "group 'staff' is not in the image's /etc/group"));
}
