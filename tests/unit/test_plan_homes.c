/* SPDX-License-Identifier: Apache-2.0
 * runtime/plan_homes.c: the system's trees and what of a home is not the agent's to write. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "runtime/plan_agent.h"

static char base[] = "/tmp/test_homes.XXXXXX";
static char home[64];
static struct err err;

static void make(const char *name)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", home, name);
	cr_assert_eq(mkdir(path, 0755), 0, "%s", path);
}

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(base));
	snprintf(home, sizeof(home), "%s/home", base);
	make("");
	err.text[0] = '\0';
}

static void tear_down(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf -- '%s'", base);
	cr_assert_eq(system(command), 0);
}

TestSuite(plan_homes, .init = set_up, .fini = tear_down);

static int check(const char *name)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", home, name);
	return plan_homes_check(path, "--workdir", home, &err);
}

Test(plan_homes, keys_programs_and_settings_of_a_home_are_refused)
{
	static const char *const made[] = { ".ssh", ".gnupg", ".config",    ".local",
					    "bin",  ".aws",   ".local/bin", ".config/systemd" };

	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
		make(made[i]);
	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
		cr_expect_eq(check(made[i]), -EINVAL, "%s", made[i]);
		cr_expect_not_null(strstr(err.text, "is, contains or lies in"), "%s", err.text);
	}
}

Test(plan_homes, a_project_in_a_home_is_taken)
{
	make("src");
	make("src/bin");
	make("binary");
	cr_expect_eq(check("src"), 0, "%s", err.text);
	cr_expect_eq(check("src/bin"), 0, "%s", err.text);
	cr_expect_eq(check("binary"), 0, "%s", err.text);
	make(".config");
	make(".config/agent");
	cr_expect_eq(check(".config/agent"), 0, "%s", err.text);
	cr_expect_eq(check(".config"), -EINVAL); /* also where there is no .config/systemd yet */
}

Test(plan_homes, where_a_link_leads_is_what_counts)
{
	char link[128], target[128];

	make("dots");
	make("dots/config");
	snprintf(link, sizeof(link), "%s/.config", home);
	snprintf(target, sizeof(target), "%s/dots/config", home);
	cr_assert_eq(symlink(target, link), 0);
	cr_expect_eq(check("dots/config"), -EINVAL);
	cr_expect_eq(check("dots"), -EINVAL);
}

Test(plan_homes, anothers_home_is_refused)
{
	cr_assert_eq(plan_homes_check("/root", "--workdir", home, &err), -EINVAL);
	cr_expect_str_eq(err.text,
			 "--workdir /root: is or contains the home folder /root, and with it keys "
			 "and shell startup files; name the project's own folder");
}

Test(plan_homes, below_the_systems_folders_nothing_is_a_projects)
{
	static const char *const paths[] = { "/etc/ssl", "/usr/local/bin", "/usr/share", "/usr",
					     "/usr/lib/systemd" };

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		cr_expect_eq(plan_homes_check(paths[i], "--workdir", home, &err), -EINVAL);
		cr_expect_not_null(strstr(err.text, "a folder of the system"), "%s", err.text);
	}
}
