/* SPDX-License-Identifier: Apache-2.0
 * How many routes a manifest may have, and how many different ports they may name. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "config/manifest.h"

/* Routes with `count` ports from 1000 on, sixty to a route, and what the check says. */
static int check_ports(unsigned count, const char *before, struct err *err)
{
	cleanup_with(manifest_clear) struct manifest m;
	cleanup_with(buf_clear) struct buf text = { 0 };

	buf_printf(&text, "egress:\n%s  routes:\n", before);
	for (unsigned i = 0; i < count; i++)
		if (i % 60 == 0)
			buf_printf(&text, "%s  - {host: h%u.example, ports: [%u", i ? "]}\n" : "",
				   i / 60, 1000 + i);
		else
			buf_printf(&text, ", %u", 1000 + i);
	buf_puts(&text, "]}\n  - {host: more.example, ports: [1000, 1001]}\n");
	err->text[0] = '\0';
	manifest_init(&m);
	cr_assert_eq(manifest_parse(&m, "bottle.yaml", "/work", text.data, text.len, err), 0, "%s",
		     err->text);
	return manifest_check(&m, err);
}

Test(manifest_ports, as_many_as_fit_and_no_more)
{
	struct err err;

	cr_expect_eq(check_ports(127, "", &err), 0, "%s", err.text);
	cr_expect_eq(check_ports(128, "", &err), -EINVAL);
	cr_expect_str_eq(err.text,
			 "bottle.yaml:5:5: egress.routes[2]: with port 1127 the routes name more "
			 "than 127 different ports, which is all that one bottle can have");
}

Test(manifest_ports, an_upstream_proxy_takes_the_place_of_all)
{
	struct err err;

	cr_expect_eq(check_ports(256,
				 "  upstream_proxy: {url: 'http://p.example:3128', ca: none}\n",
				 &err),
		     0, "%s", err.text);
}

Test(manifest_ports, as_many_routes_as_the_documents_say)
{
	cleanup_with(manifest_clear) struct manifest m;
	cleanup_with(buf_clear) struct buf text = { 0 }, docs = { 0 }, man = { 0 };
	struct err err;

	buf_puts(&text, "egress:\n  routes:\n");
	for (unsigned i = 0; i < 1025; i++)
		buf_printf(&text, "  - host: h%u.example\n", i);
	manifest_init(&m);
	cr_expect_lt(manifest_parse(&m, "bottle.yaml", "/work", text.data, text.len, &err), 0);
	cr_expect_str_eq(err.text,
			 "bottle.yaml:3:3: egress.routes: has 1025 entries, more than 1024");
	cr_assert_eq(file_read(AT_FDCWD, "docs/manifest.md", 1 << 20, &docs, &err), 0);
	cr_assert_eq(file_read(AT_FDCWD, "man/bottle.yaml.5.scd", 1 << 20, &man, &err), 0);
	cr_expect_not_null(strstr(docs.data, "at most 1024 routes"));
	cr_expect_not_null(strstr(man.data, "at most 1024 routes"));
}
