/* SPDX-License-Identifier: Apache-2.0
 * config/yaml.c, where a whole manifest is not needed. What is bad stands in data/config/bad_manifests.txt. */
#include "config/yaml.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/cleanup.h"

static void read_good(struct yaml_value *root, const char *text)
{
	struct err err;

	cr_assert_eq(yaml_value_read(root, "x.yaml", text, strlen(text), &err), 0, "%s", err.text);
}

Test(yaml, a_byte_order_mark_is_no_column)
{
	cleanup_with(yaml_value_clear) struct yaml_value root = { 0 };

	read_good(&root, "\xef\xbb\xbfname: a\nidmap: auto\n");
	cr_assert_eq(root.count, 2);
	cr_expect(root.items[0].key_line == 1 && root.items[0].key_column == 1);
	cr_expect(root.items[0].line == 1 && root.items[0].column == 7);
	cr_expect(root.items[1].key_line == 2 && root.items[1].key_column == 1);
}

Test(yaml, lines_may_end_with_crlf)
{
	cleanup_with(yaml_value_clear) struct yaml_value root = { 0 };

	read_good(&root, "# a\r\nname: a\r\nidmap: auto\r\n");
	cr_assert_eq(root.count, 2);
	cr_expect_str_eq(root.items[0].text, "a");
}
