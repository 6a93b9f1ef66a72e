/* SPDX-License-Identifier: Apache-2.0
 *
 * The plan's part of the namespaces backend: what this host can do, how ids are mapped, and what holds the
 * limits. Runs in: launcher, before anything has changed.
 */
#include "runtime/plan_namespaces.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/plan_agent.h"

static int choose_idmap(struct plan *plan, struct err *err)
{
	plan->idmap = plan->manifest.idmap;
	if (plan->idmap == IDMAP_AUTO)
		plan->idmap = image_has_label(&plan->image, "bottle.idmap", "subid") ? IDMAP_SUBID
										     : IDMAP_SINGLE;
	if (plan->idmap == IDMAP_SUBID)
		TRY(host_find_subids(plan->host.uid, &plan->subids, err));
	if (plan->idmap == IDMAP_SINGLE && plan->host.group_count)
		TRY(plan_warn(plan,
			      "the %d supplementary groups of this user stay with the agent (a "
			      "single id map cannot drop them); files that only a group may read "
			      "are readable inside where they are bound",
			      plan->host.group_count));
	plan->proxy.id = (struct idmap_role){
		.inside_uid = plan->image.uid,
		.inside_gid = plan->image.gid,
		.outer_uid = plan->idmap == IDMAP_SUBID ? 1 : 0,
		.outer_gid = plan->idmap == IDMAP_SUBID ? 1 : 0,
	};
	plan->agent.id = (struct idmap_role){
		.inside_uid = plan->host.uid,
		.inside_gid = plan->host.gid,
	};
	return 0;
}

rlim_t plan_open_files(size_t ports, size_t writable)
{
	enum { OWN = 128 }; /* 60 were enough */

	return OWN + ports + writable;
}

rlim_t plan_open_files_simplest(void)
{
	return plan_open_files(1, PLAN_AGENT_SCRATCH + 1);
}

static int check_open_files(const struct plan *plan, struct err *err)
{
	rlim_t least = plan_open_files(plan->port_count, plan->agent.writable.len);
	struct rlimit own;

	if (getrlimit(RLIMIT_NOFILE, &own) < 0)
		return err_sys(err, errno, "read the limit RLIMIT_NOFILE");
	if (own.rlim_max >= least)
		return 0;
	return err_set(
		err, EMFILE,
		"the limit of open files (RLIMIT_NOFILE, `ulimit -Hn`) is %llu; this run needs "
		"at least %llu",
		(unsigned long long)own.rlim_max, (unsigned long long)least);
}

int plan_namespaces(struct plan *plan, const struct run_options *options,
		    const struct plan_dirs *dirs, struct err *err)
{
	if (plan->manifest.agent.image)
		TRY(plan_warn(plan,
			      "%s %s: counts with Docker alone (--backend docker); the command's "
			      "programs are this host's",
			      options->agent_image ? "--agent-image" : "agent.image",
			      plan->manifest.agent.image));
	plan->link = netns_link_default();
	TRY(host_probe(&plan->host, err));
	TRY(plan_proxy(plan, options, dirs, err));
	TRY(choose_idmap(plan, err));
	TRY(limits_plan(&plan->manifest.limits, &plan->host.cgroup, &plan->limits, err));
	for (size_t i = 0; i < plan->limits.warnings.len; i++)
		TRY(plan_warn(plan, "%s", plan->limits.warnings.items[i]));
	plan->waits_for_launcher = plan->idmap == IDMAP_SUBID || plan->limits.by_cgroup;
	TRY(plan_agent(plan, options, dirs, err));
	TRY(check_open_files(plan, err));
	return plan_choose_name(plan, options, err);
}

void plan_namespaces_clear(struct plan *plan)
{
	image_clear(&plan->image);
}
