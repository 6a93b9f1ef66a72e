/* SPDX-License-Identifier: Apache-2.0
 * Calls of a CLI: what it is given, what is made of how it ends, and that none lasts for ever. The CLI is a
 * shell script. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "runtime/docker_cli.h"
#include "tests/lib/stand_in_cli.h"

TestSuite(docker_cli, .fini = stand_in_cli_clear, .timeout = 30);

static int call_for(int timeout_ms, const char *const *env, struct buf *out, struct err *err)
{
	cleanup_with(strlist_clear) struct strlist argv = { 0 };

	cr_assert_eq(strlist_add(&argv, "network"), 0);
	cr_assert_eq(strlist_add(&argv, "create"), 0);
	return docker_call(&(struct docker_call){ .step = "internal network",
						  .argv = &argv,
						  .env = env,
						  .timeout_ms = timeout_ms,
						  .ends_on_signal = true,
						  .ret_out = out },
			   err);
}

Test(docker_cli, what_it_prints_is_handed_back)
{
	cleanup_with(buf_clear) struct buf out = { 0 };
	struct err err;

	stand_in_cli("echo \"$1 $2\"; echo noise >&2");
	cr_assert_eq(call_for(0, NULL, &out, &err), 0, "%s", err.text);
	cr_assert_str_eq(out.data, "network create\n");
}

Test(docker_cli, a_failure_has_the_step_the_status_and_what_was_said)
{
	struct err err;

	stand_in_cli("echo 'Error: no \033[31mway' >&2; exit 7");
	cr_assert_eq(call_for(0, NULL, NULL, &err), -EREMOTEIO);
	cr_assert_not_null(strstr(err.text, "internal network: "));
	cr_assert_not_null(strstr(err.text, "network create: status 7: Error: no \\x1b[31mway"),
			   "%s", err.text);
}

Test(docker_cli, a_call_without_an_answer_ends)
{
	int64_t begun = clock_now_ms();
	struct err err;

	stand_in_cli("sleep 25");
	cr_assert_eq(call_for(300, NULL, NULL, &err), -ETIMEDOUT);
	cr_assert_lt(clock_now_ms() - begun, 10000);
}

/* A plugin that it left in the background keeps its output open. */
Test(docker_cli, the_end_is_that_of_the_process)
{
	cleanup_with(buf_clear) struct buf out = { 0 };
	int64_t begun = clock_now_ms();
	struct err err;

	stand_in_cli("sleep 25 & echo $!");
	cr_assert_eq(call_for(0, NULL, &out, &err), 0);
	cr_assert_lt(clock_now_ms() - begun, 10000);
	cr_assert_eq(kill((pid_t)strtol(out.data, NULL, 10), SIGKILL), 0, "it still ran");
}

Test(docker_cli, a_program_that_is_missing_is_named)
{
	struct err err;

	setenv("BOTTLE_DOCKER", "no-such-docker", 1);
	cr_assert_eq(call_for(0, NULL, NULL, &err), -ENOENT);
	cr_assert_not_null(strstr(err.text, "'no-such-docker' is not installed"));
}

Test(docker_cli, it_has_of_the_environment_what_it_needs_and_what_it_is_given)
{
	static const char *const env[] = { "EGRESS_PROXY_TOKEN_0=value", NULL };
	cleanup_with(buf_clear) struct buf out = { 0 };
	struct err err;

	setenv("GITHUB_TOKEN", "secret", 1);
	setenv("DOCKER_HOST", "unix:///x", 1);
	stand_in_cli("env");
	cr_assert_eq(call_for(0, env, &out, &err), 0, "%s", err.text);
	cr_assert_not_null(strstr(out.data, "DOCKER_HOST=unix:///x\n"));
	cr_assert_not_null(strstr(out.data, "EGRESS_PROXY_TOKEN_0=value\n"));
	cr_assert_null(strstr(out.data, "secret"));
}

Test(docker_cli, it_gets_the_archive_on_its_standard_input)
{
	cleanup_with(strlist_clear) struct strlist argv = { 0 };
	cleanup_with(docker_tar_clear) struct docker_tar tar = { 0 };
	cleanup_with(buf_clear) struct buf out = { 0 };
	const struct docker_tar_owner owner = { 0, 0, 0400 };
	const struct docker_tar_part part = { "text", 4, NULL };
	struct err err;

	stand_in_cli("wc -c");
	cr_assert_eq(docker_tar_add(&tar, "x", &owner, &part, 1), 0);
	cr_assert_eq(docker_tar_end(&tar), 0);
	cr_assert_eq(strlist_add(&argv, "cp"), 0);
	cr_assert_eq(docker_call(&(struct docker_call){ .step = "secrets",
							.argv = &argv,
							.input = &tar,
							.ret_out = &out },
				 &err),
		     0);
	cr_assert_str_eq(out.data, "2048\n");
}

Test(docker_cli, one_that_reads_nothing_is_no_signal_for_us)
{
	cleanup_with(strlist_clear) struct strlist argv = { 0 };
	cleanup_with(docker_tar_clear) struct docker_tar tar = { 0 };
	const struct docker_tar_owner owner = { 0, 0, 0400 };
	cleanup_free char *much = calloc(1, 1 << 20);
	const struct docker_tar_part part = { much, 1 << 20, NULL };
	struct err err;

	stand_in_cli("exec <&-; exit 3");
	cr_assert_eq(docker_tar_add(&tar, "x", &owner, &part, 1), 0);
	cr_assert_eq(strlist_add(&argv, "cp"), 0);
	cr_assert_eq(
		docker_call(
			&(struct docker_call){ .step = "secrets", .argv = &argv, .input = &tar },
			&err),
		-EREMOTEIO);
}

Test(docker_cli, a_warning_of_a_call_that_succeeded_is_kept)
{
	cleanup_with(strlist_clear) struct strlist argv = { 0 };
	cleanup_with(strlist_clear) struct strlist warnings = { 0 };
	struct err err;

	stand_in_cli("echo 'WARNING: no swap limit' >&2; echo other >&2");
	cr_assert_eq(strlist_add(&argv, "create"), 0);
	cr_assert_eq(docker_call(&(struct docker_call){ .step = "agent",
							.argv = &argv,
							.warnings = &warnings },
				 &err),
		     0);
	cr_assert_eq(warnings.len, 1);
	cr_assert_str_eq(warnings.items[0], "agent: WARNING: no swap limit");
}

Test(docker_cli, a_signal_ends_a_call_that_may_be_ended)
{
	struct err err;

	stand_in_cli("kill -TERM $PPID; sleep 25");
	cr_assert_eq(call_for(0, NULL, NULL, &err), -EINTR);
	cr_assert_eq(docker_cli_signalled(), SIGTERM);
	cr_assert_eq(docker_cli_signalled(), 0);
}
