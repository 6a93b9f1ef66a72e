/* SPDX-License-Identifier: Apache-2.0
 * An image's configuration and its USER: what is read, what is refused. */
#include <errno.h>

#include "rootfs/image_config.h"
#include "rootfs/image_user.h"
#include "tests/unit/test_rootfs_util.h"

#define DIFF_IDS                                                  \
	"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" \
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"]}"

static int parse(struct image_config *config, const char *text, struct err *err)
{
	return image_config_parse(config, text, strlen(text), err);
}

Test(rootfs_config, reads_what_a_run_needs)
{
	cleanup_with(image_config_clear) struct image_config config = { 0 };
	struct err err = { 0 };
	int rc = parse(
		&config,
		"{\"os\":\"linux\",\"architecture\":\"amd64\",\"history\":[1],\"config\":{"
		"\"Entrypoint\":[\"/entry\",\"-x\"],\"Cmd\":[\"a b\"],\"Env\":[\"A=1\",\"B=\"],"
		"\"User\":\"1000:1000\",\"WorkingDir\":\"srv/x\","
		"\"Labels\":{\"bottle.ready-fd\":\"1\",\"empty\":\"\"}}," DIFF_IDS "}",
		&err);

	cr_assert_eq(rc, 0, "%s", err.text);
	cr_assert_eq(config.argv.len, 3);
	cr_assert_str_eq(config.argv.items[0], "/entry");
	cr_assert_str_eq(config.argv.items[2], "a b");
	cr_assert(strlist_has(&config.env, "B="));
	cr_assert(strlist_has(&config.labels, "bottle.ready-fd=1"));
	cr_assert_str_eq(config.user, "1000:1000");
	cr_assert_str_eq(config.workdir, "/srv/x");
	cr_assert_str_eq(config.os, "linux");
	cr_assert_eq(config.diff_ids.len, 1);
	cr_assert_eq(strlen(config.diff_ids.items[0]), 64);
}

Test(rootfs_config, what_is_absent_has_its_default)
{
	cleanup_with(image_config_clear) struct image_config config = { 0 };
	struct err err = { 0 };
	int rc = parse(
		&config,
		"{\"config\":{\"Cmd\":[\"x\"],\"Entrypoint\":null,\"Env\":null,\"Labels\":null,"
		"\"User\":null}," DIFF_IDS "}",
		&err);

	cr_assert_eq(rc, 0, "%s", err.text);
	cr_assert_str_eq(config.user, "");
	cr_assert_str_eq(config.workdir, "/");
	cr_assert_str_eq(config.os, "");
	cr_assert_eq(config.env.len, 0);
	cr_assert_eq(config.labels.len, 0);
}

static void must_refuse(const char *text, const char *words)
{
	cleanup_with(image_config_clear) struct image_config config = { 0 };
	struct err err = { 0 };

	cr_assert_lt(parse(&config, text, &err), 0, "taken: %s", text);
	cr_assert_not_null(strstr(err.text, words), "'%s' has no '%s'", err.text, words);
	cr_assert_eq(config.argv.len, 0, "a failed parse left values behind");
}

Test(rootfs_config, refuses_what_it_cannot_run)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{ "", "not valid JSON" },
		{ "nonsense", "not valid JSON" },
		{ "[]", "not a JSON object" },
		{ "{\"os\":\"linux\",\"os\":\"linux\"}", "duplicate" },
		{ "{\"os\":1}", "os: not a string" },
		{ "{\"os\":\"a\\u0000b\"}", "not valid JSON" },
		{ "{\"os\":\"\xff\"}", "not valid JSON" },
		{ "{}", "diff_ids" },
		{ "{\"rootfs\":{\"diff_ids\":[\"md5:1\"]}}", "diff_ids[0]" },
		{ "{\"rootfs\":{\"diff_ids\":[7]}}", "diff_ids[0]" },
		{ "{" DIFF_IDS "}", "no program" },
		{ "{\"config\":7," DIFF_IDS "}", "config: not an object" },
		{ "{\"config\":{\"Entrypoint\":[]}," DIFF_IDS "}", "no program" },
		{ "{\"config\":{\"Entrypoint\":[\"\"]}," DIFF_IDS "}", "no program" },
		{ "{\"config\":{\"Entrypoint\":\"sh\"}," DIFF_IDS "}", "Entrypoint: not a list" },
		{ "{\"config\":{\"Cmd\":[1]}," DIFF_IDS "}", "Cmd[0]: not a string" },
		{ "{\"config\":{\"Cmd\":[\"x\"],\"Env\":[\"A\"]}," DIFF_IDS "}", "Env[0]" },
		{ "{\"config\":{\"Cmd\":[\"x\"],\"Env\":[\"=A\"]}," DIFF_IDS "}", "Env[0]" },
		{ "{\"config\":{\"Cmd\":[\"x\"],\"Labels\":{\"a\":1}}," DIFF_IDS "}", "Labels" },
		{ "{\"config\":{\"Cmd\":[\"x\"],\"Labels\":{\"a=b\":\"1\"}}," DIFF_IDS "}",
		  "Labels" },
		{ "{\"config\":{\"Cmd\":[\"x\"],\"Labels\":[]}," DIFF_IDS "}", "Labels" },
		{ "{\"config\":{\"Cmd\":[\"x\"],\"User\":7}," DIFF_IDS "}", "User: not a string" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		must_refuse(cases[i].text, cases[i].words);
}

Test(rootfs_config, refuses_what_is_too_much)
{
	cleanup_with(buf_clear) struct buf text = { 0 };

	for (int i = 0; i < 100 * 1000; i++)
		buf_puts(&text, "[");
	must_refuse(text.data, "not valid JSON");
	buf_clear(&text);
	buf_puts(&text, "{" DIFF_IDS ",\"config\":{\"Cmd\":[\"x\"");
	for (int i = 0; i < IMAGE_CONFIG_LIST_MAX; i++)
		buf_puts(&text, ",\"x\"");
	buf_puts(&text, "]}}");
	must_refuse(text.data, "more than");
	buf_clear(&text);
	buf_puts(&text, "{" DIFF_IDS ",\"config\":{\"Cmd\":[\"");
	for (int i = 0; i <= IMAGE_CONFIG_TEXT_MAX_BYTES; i++)
		buf_puts(&text, "x");
	buf_puts(&text, "\"]}}");
	must_refuse(text.data, "too long");
	buf_clear(&text);
	buf_puts(&text, "{" DIFF_IDS ",\"config\":{\"Cmd\":[\"x\"],\"User\":\"");
	for (int i = 0; i <= IMAGE_CONFIG_USER_MAX_BYTES; i++)
		buf_puts(&text, "u");
	buf_puts(&text, "\"}}");
	must_refuse(text.data, "User");
}

static void make_passwd(struct world *world)
{
	cleanup_with(buf_clear) struct buf tar = { 0 };

	tar_file(&tar, "etc/passwd",
		 "root:x:0:0:root:/root:/bin/sh\n\n# comment\n:x:5:5::/:\nbroken\nhalf:x:7\n"
		 "badid:x:7x:8::/:\nmitm:x:1000:1001::/home:/bin/sh\nmitm:x:2:2::/:\n"
		 "big:x:2147483648:1::/:\nneg:x:-1:1::/:\nlast:x:1005:1006::/:");
	tar_file(&tar, "etc/group", "root:x:0:\nweb:x:33:mitm\nbad:x:z:\n");
	world_must_unpack(world, &tar);
}

Test(rootfs_user, names_and_numbers)
{
	static const struct {
		const char *user;
		uint32_t uid, gid;
	} cases[] = {
		{ "", 0, 0 },
		{ "root", 0, 0 },
		{ "mitm", 1000, 1001 },
		{ "1000", 1000, 1001 }, /* its passwd entry's group */
		{ "4711", 4711, 0 },
		{ "4711:4712", 4711, 4712 },
		{ "mitm:web", 1000, 33 },
		{ "mitm:5", 1000, 5 },
		{ "1000:web", 1000, 33 },
		{ "last", 1005, 1006 },
		{ "mitm:", 1000, 1001 },
		{ ":web", 0, 33 },
		{ "2147483647", 2147483647, 0 },
	};
	struct world world = world_make();

	make_passwd(&world);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t uid = 99, gid = 99;
		struct err err = { 0 };

		cr_assert_eq(
			image_user_resolve(world.target.root_fd, cases[i].user, &uid, &gid, &err),
			0, "'%s': %s", cases[i].user, err.text);
		cr_assert(uid == cases[i].uid && gid == cases[i].gid, "'%s' became %u:%u",
			  cases[i].user, uid, gid);
	}
	world_end(&world);
}

Test(rootfs_user, what_is_not_there_is_an_error)
{
	static const char *const users[] = { "nobody",
					     "half",
					     "badid",
					     "big",
					     "neg",
					     "mitm:bad",
					     "mitm:nogroup",
					     "-1",
					     "mitm:x:y",
					     "2147483648",
					     "99999999999999999999",
					     "mit" };
	struct world world = world_make();

	make_passwd(&world);
	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		uint32_t uid = 99, gid = 99;
		struct err err = { 0 };

		cr_assert_lt(image_user_resolve(world.target.root_fd, users[i], &uid, &gid, &err),
			     0, "'%s' became %u:%u", users[i], uid, gid);
		cr_assert_not_null(strstr(err.text, "USER"), "%s", err.text);
		cr_assert(uid == 99 && gid == 99);
	}
	world_end(&world);
}

/* The host has a root entry in passwd; the image's link to it must find nothing. */
Test(rootfs_user, a_passwd_outside_is_not_read)
{
	static const char *const targets[] = { "../../../../../../../etc/passwd", "/etc/passwd" };

	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		struct world world = world_make();
		cleanup_with(buf_clear) struct buf tar = { 0 };
		struct err err = { 0 };
		uint32_t uid, gid;

		tar_symlink(&tar, "etc/passwd", targets[i]);
		world_must_unpack(&world, &tar);
		cr_assert_eq(image_user_resolve(world.target.root_fd, "root", &uid, &gid, &err),
			     -ENOENT, "%s", err.text);
		world_end(&world);
	}
}

Test(rootfs_user, odd_databases)
{
	struct world world = world_make();
	cleanup_with(buf_clear) struct buf tar = { 0 };
	cleanup_with(buf_clear) struct buf big = { 0 };
	struct err err = { 0 };
	uint32_t uid, gid;

	cr_assert_eq(image_user_resolve(world.target.root_fd, "7:7", &uid, &gid, &err), 0);
	tar_dir(&tar, "etc/passwd", 0755);
	world_must_unpack(&world, &tar);
	cr_assert_lt(image_user_resolve(world.target.root_fd, "x", &uid, &gid, &err), 0);
	cr_assert_not_null(strstr(err.text, "not a regular file"), "%s", err.text);
	for (int i = 0; i < 150 * 1000; i++)
		buf_puts(&big, "u:x:1:1\n");
	tar_data(&tar, '0', "etc/passwd", big.data, big.len, 0644);
	world_must_unpack(&world, &tar);
	cr_assert_eq(image_user_resolve(world.target.root_fd, "v", &uid, &gid, &err), -EFBIG);
	world_end(&world);
}
