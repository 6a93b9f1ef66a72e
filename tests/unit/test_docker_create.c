/* SPDX-License-Identifier: Apache-2.0
 * The agent's `docker create`: a path that one of Docker's little languages would misread, and a value that
 * is not to stand in it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "runtime/docker_create.h"
#include "runtime/plan_agent.h"

static char folder[] = "/tmp/test_docker_create.XXXXXX";
static char odd[64];

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(folder));
	snprintf(odd, sizeof(odd), "%s/a:b,c", folder);
	cr_assert_eq(mkdir(odd, 0755), 0);
}

static void tear_down(void)
{
	rmdir(odd);
	rmdir(folder);
}

TestSuite(docker_create, .init = set_up, .fini = tear_down);

static void free_plan(struct plan **plan)
{
	docker_plan_clear(*plan); /* which is the backend's, and there is none */
	plan_clear(*plan);
	free(*plan);
}

static struct plan *make_plan(const char *home)
{
	struct plan *plan = calloc(1, sizeof(*plan));

	cr_assert_not_null(plan);
	plan->home = strdup(home);
	plan->docker.agent_name = strdup("bottle-agent-it");
	plan->docker.internal_network = strdup("bottle-internal-it");
	plan->docker.folder = strdup("/run/it");
	plan->hostname = strdup("it");
	plan->work_folder = strdup("/work");
	return plan;
}

Test(docker_create, a_folder_is_masked_whatever_its_name)
{
	cleanup_with(free_plan) struct plan *plan = make_plan("/home/agent");
	cleanup_free char *want = str_printf("--mount=type=tmpfs,\"target=%s\",ro,"
					     "tmpfs-size=4096,tmpfs-mode=0555",
					     odd);
	struct mount_op op = { .kind = MOUNT_MASK, .at = odd };

	cr_assert_eq(mount_list_add(&plan->agent.mounts, op), 0);
	cr_assert_eq(docker_create_agent(plan), 0);
	cr_assert(strlist_has(&plan->docker.agent_create, want), "%s", want);
}

Test(docker_create, a_home_with_a_colon_is_refused)
{
	cleanup_with(free_plan) struct plan *plan = make_plan(odd);
	struct err err = { "" };

	cr_assert_eq(docker_create_check(plan, &err), -EINVAL);
	cr_assert_not_null(strstr(err.text, "HOME: "));
	cr_assert_not_null(strstr(err.text, "a:b,c has a colon in it"));
}

Test(docker_create, no_value_of_the_callers_is_in_it)
{
	static const char *const items[] = { "DOCKER_HOST=secret-1", "XDG_KEY=secret-2",
					     "API_KEY=secret\n3" };
	cleanup_with(free_plan) struct plan *plan = make_plan("/home/agent");
	struct docker_plan *d = &plan->docker;
	struct err err = { "" };

	for (size_t i = 0; i < 3; i++) {
		cr_assert_eq(strlist_add(&plan->agent.env, items[i]), 0);
		cr_assert_eq(strlist_add(&plan->manifest.agent.env, items[i]), 0);
	}
	cr_assert_eq(docker_create_check(plan, &err), 0, "%s", err.text);
	cr_assert_eq(docker_create_agent(plan), 0);
	for (size_t i = 0; i < d->agent_create.len; i++)
		cr_assert_null(strstr(d->agent_create.items[i], "secret"));
	cr_assert(strlist_has(&d->agent_create, "--env-file=/dev/stdin"));
	cr_assert(strlist_has(&d->agent_create, "--env=API_KEY"));
	cr_assert(strlist_has(&d->agent_env, "API_KEY=secret\n3"));
	cr_assert(strlist_has(&d->agent_env_lines, "DOCKER_HOST=secret-1\n"));
	cr_assert(strlist_has(&d->agent_env_lines, "XDG_KEY=secret-2\n"));
}

Test(docker_create, a_line_holds_no_line_break)
{
	cleanup_with(free_plan) struct plan *plan = make_plan("/home/agent");
	struct err err = { "" };

	cr_assert_eq(strlist_add(&plan->agent.env, "XDG_KEY=two\nlines"), 0);
	cr_assert_eq(docker_create_check(plan, &err), 0); /* bottle's own would go by argv */
	cr_assert_eq(strlist_add(&plan->manifest.agent.pass_env, "XDG_KEY"), 0);
	cr_assert_eq(docker_create_check(plan, &err), -EINVAL);
	cr_assert_not_null(strstr(err.text, "XDG_KEY has a line break"));
	cr_assert_null(strstr(err.text, "two"));
}

Test(docker_create, a_line_holds_no_more_than_the_cli_reads)
{
	static char item[64 * 1024 + 1] = "XDG_KEY=";
	cleanup_with(free_plan) struct plan *plan = make_plan("/home/agent");
	struct err err = { "" };

	memset(item + 8, 'x', sizeof(item) - 10); /* 65,535 bytes */
	cr_assert_eq(strlist_add(&plan->agent.env, item), 0);
	cr_assert_eq(strlist_add(&plan->manifest.agent.pass_env, "XDG_KEY"), 0);
	cr_assert_eq(docker_create_check(plan, &err), 0, "%s", err.text);
	strlist_clear(&plan->agent.env);
	item[sizeof(item) - 2] = 'x';
	cr_assert_eq(strlist_add(&plan->agent.env, item), 0);
	cr_assert_eq(docker_create_check(plan, &err), -EINVAL);
	cr_assert_not_null(strstr(err.text, "XDG_KEY has more than 64 KiB"));
}
