/* SPDX-License-Identifier: Apache-2.0
 * runtime/limits_cgroup.c: where a scope of systemd's could give a cgroup. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "runtime/limits.h"

static char root[] = "/tmp/test_scope.XXXXXX";

static void put(const char *name, const char *text)
{
	cleanup_free char *path = str_printf("%s/%s", root, name);
	FILE *file = fopen(path, "we");

	cr_assert_not_null(file, "%s", path);
	cr_assert(fputs(text, file) >= 0);
	cr_assert_eq(fclose(file), 0);
}

static void set_up(void)
{
	static const char *const folders[] = { "proc", "proc/self", "cg" };

	cr_assert_not_null(mkdtemp(root));
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		cleanup_free char *path = str_printf("%s/%s", root, folders[i]);

		cr_assert_eq(mkdir(path, 0755), 0);
	}
	put("proc/self/mountinfo", "31 22 0:26 / /cg rw,nosuid - cgroup2 cgroup2 rw\n");
	put("cg/cgroup.controllers", "cpu memory pids\n");
}

static void tear_down(void)
{
	cleanup_free char *command = str_printf("rm -rf -- '%s'", root);

	cr_assert_eq(system(command), 0);
}

TestSuite(limits_scope, .init = set_up, .fini = tear_down);

static void make_bus(void)
{
	struct sockaddr_un bus = { .sun_family = AF_UNIX };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(bus.sun_path, sizeof(bus.sun_path), "%s/bus", root);
	cr_assert_eq(bind(fd, (struct sockaddr *)&bus, sizeof(bus)), 0);
}

Test(limits_scope, is_proposed_where_a_manager_and_the_controller_are)
{
	make_bus();
	cr_assert(limits_scope_helps(root, root));
}

Test(limits_scope, is_not_without_a_users_bus)
{
	cr_assert_not(limits_scope_helps(root, root));
	cr_assert_not(limits_scope_helps(root, NULL));
	put("bus", "");
	cr_assert_not(limits_scope_helps(root, root));
}

Test(limits_scope, is_not_where_memory_is_on_v1)
{
	make_bus();
	put("cg/cgroup.controllers", "\n");
	cr_assert_not(limits_scope_helps(root, root));
	put("proc/self/mountinfo", "22 1 0:20 / /proc rw - proc proc rw\n");
	cr_assert_not(limits_scope_helps(root, root));
}

Test(limits_scope, the_warning_names_no_way_that_is_not_there)
{
	const struct limits limits = { .memory_bytes = 64 << 20 };
	cleanup_with(limits_plan_clear) struct limits_plan plan = { 0 };

	unsetenv("XDG_RUNTIME_DIR");
	cr_assert_eq(limits_plan(&limits, NULL, &plan, NULL), 0);
	cr_assert_eq(plan.warnings.len, 1);
	cr_assert_null(strstr(plan.warnings.items[0], "systemd-run"), "%s", plan.warnings.items[0]);
}
