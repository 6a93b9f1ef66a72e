/* SPDX-License-Identifier: Apache-2.0
 * The Docker backend; see backend.h. Runs in: the launcher and the subcommands. */
#include "base/cleanup.h"
#include "runtime/backend.h"
#include "runtime/docker_run.h"

/* A daemon answers. */
static int check(struct err *err)
{
	cleanup_with(docker_engine_clear) struct docker_engine engine = { 0 };

	return docker_engine_ask(&engine, err);
}

const struct backend backend_docker = {
	.name = "docker",
	.check = check,
	.plan = docker_plan_make,
	.plan_clear = docker_plan_clear,
	.run = docker_run_plan,
	.clean = docker_clean,
};
