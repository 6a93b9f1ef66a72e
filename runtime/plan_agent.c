/* SPDX-License-Identifier: Apache-2.0
 *
 * The agent's part of the plan: which of the host's files it sees, how, and with what environment.
 * Runs in: launcher, before anything has changed.
 *
 * The agent is an attacker also between runs: it may have left symlinks, sockets and hooks in its
 * work folder. So the folder is bound without following a symlink, sockets in it are masked, and the
 * files that the caller's own tools execute unasked are read-only.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ca/bundle.h"
#include "runtime/plan.h"
#include "runtime/plan_agent.h"

static int add(struct plan *plan, struct mount_op op)
{
	return mount_list_add(&plan->agent.mounts, op);
}

static int add_at(struct plan *plan, enum mount_kind kind, unsigned flags, const char *at,
		  const char *source)
{
	return add(plan, (struct mount_op){ .kind = kind,
					    .flags = flags,
					    .at = (char *)(uintptr_t)at, /* copied */
					    .source = (char *)(uintptr_t)source });
}

/* --- the system ------------------------------------------------------------------------------ */

/* Top-level names are symlinks into /usr on a merged host, folders elsewhere: shown as they are. */
static int system_folders(struct plan *plan)
{
	static const char *const folders[] = { "/usr",	 "/bin",    "/sbin", "/lib", "/lib32",
					       "/lib64", "/libx32", "/etc",  "/opt", "/nix/store" };
	char target[PATH_MAX];

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		ssize_t len = readlink(folders[i], target, sizeof(target) - 1);

		if (len > 0) {
			target[len] = '\0';
			TRY(add_at(plan, MOUNT_SYMLINK, 0, folders[i], target));
		} else if (access(folders[i], F_OK) == 0) {
			TRY(add_at(plan, MOUNT_BIND, MOUNT_MAKE, folders[i], folders[i]));
		}
	}
	return 0;
}

static int devices(struct plan *plan)
{
	static const char *const nodes[] = { "/dev/null",   "/dev/zero",    "/dev/full",
					     "/dev/random", "/dev/urandom", "/dev/tty" };
	static const char *const links[][2] = { { "/dev/ptmx", "pts/ptmx" },
						{ "/dev/fd", "/proc/self/fd" },
						{ "/dev/stdin", "/proc/self/fd/0" },
						{ "/dev/stdout", "/proc/self/fd/1" },
						{ "/dev/stderr", "/proc/self/fd/2" } };

	TRY(add(plan, (struct mount_op){ .kind = MOUNT_TMPFS,
					 .flags = MOUNT_MAKE | MOUNT_NOEXEC,
					 .at = "/dev",
					 .mode = 0755,
					 .bytes = 65536 }));
	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		TRY(add_at(plan, MOUNT_BIND, MOUNT_DEVICE | MOUNT_MAKE, nodes[i], nodes[i]));
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		TRY(add_at(plan, MOUNT_SYMLINK, 0, links[i][0], links[i][1]));
	TRY(add_at(plan, MOUNT_DEVPTS, MOUNT_MAKE, "/dev/pts", NULL));
	return add(plan, (struct mount_op){ .kind = MOUNT_TMPFS,
					    .flags = MOUNT_MAKE,
					    .at = "/dev/shm",
					    .mode = 01777,
					    .bytes = plan->limits.limits.tmp_bytes });
}

static int proc(struct plan *plan)
{
	static const char *const masks[] = { "/proc/keys",	  "/proc/key-users",
					     "/proc/kcore",	  "/proc/timer_list",
					     "/proc/sched_debug", "/proc/latency_stats",
					     "/proc/acpi",	  "/proc/scsi" };
	static const char *const fixed[] = { "/proc/sys", "/proc/sysrq-trigger", "/proc/irq",
					     "/proc/bus", "/proc/fs" };

	TRY(add_at(plan, MOUNT_PROC, MOUNT_MAKE, "/proc", NULL));
	for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++)
		TRY(add_at(plan, MOUNT_MASK, MOUNT_OPTIONAL, masks[i], NULL));
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		TRY(add_at(plan, MOUNT_ALIAS, MOUNT_OPTIONAL, fixed[i], fixed[i]));
	return 0;
}

static int scratch(struct plan *plan)
{
	const struct {
		const char *at;
		mode_t mode;
	} places[] = { { "/tmp", 01777 },
		       { "/run", 0755 },
		       { "/var", 0755 },
		       { "/var/tmp", 01777 },
		       { plan->home, 0700 } };

	_Static_assert(sizeof(places) / sizeof(places[0]) + 1 == PLAN_AGENT_SCRATCH,
		       "plan_open_files_simplest counts them");
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		TRY(add(plan, (struct mount_op){ .kind = MOUNT_TMPFS,
						 .flags = MOUNT_MAKE,
						 .at = (char *)(uintptr_t)places[i].at,
						 .mode = places[i].mode,
						 .bytes = plan->limits.limits.tmp_bytes }));
		TRY(strlist_add(&plan->agent.writable, places[i].at));
	}
	return strlist_add(&plan->agent.writable, "/dev");
}

static int own_files(struct plan *plan)
{
	static const char quiet[] =
		"# No resolver inside: names are resolved by http://egress-proxy\n"
		"nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
	const char *bundle = ca_host_bundle_path();
	char proxy[INET_ADDRSTRLEN];
	cleanup_free char *hosts = NULL;

	inet_ntop(AF_INET, &plan->link.egress_addr, proxy, sizeof(proxy));
	hosts = str_printf("127.0.0.1 localhost\n::1 localhost\n%s egress-proxy\n", proxy);
	if (!hosts)
		return -ENOMEM;
	TRY(add_at(plan, MOUNT_TEXT, MOUNT_MAKE, "/etc/hosts", hosts));
	TRY(add_at(plan, MOUNT_TEXT, MOUNT_MAKE, "/etc/resolv.conf", quiet));
	TRY(add(plan, (struct mount_op){ .kind = MOUNT_HANDED,
					 .flags = MOUNT_MAKE,
					 .at = PLAN_AGENT_CA,
					 .content = PLAN_CA_CERT }));
	TRY(add(plan, (struct mount_op){ .kind = MOUNT_HANDED,
					 .flags = MOUNT_MAKE,
					 .at = PLAN_AGENT_BUNDLE,
					 .content = PLAN_CA_BUNDLE }));
	TRY(add(plan, (struct mount_op){ .kind = MOUNT_HANDED,
					 .flags = MOUNT_MAKE,
					 .at = PLAN_AGENT_TRUSTSTORE,
					 .content = PLAN_TRUSTSTORE }));
	/* Over the distribution's own bundle as well, for tools that read no variable; it is a symlink on
	 * Fedora, Arch and NixOS, and under /var on openSUSE: resolved in the finished root. */
	return bundle ? add_at(plan, MOUNT_ALIAS, MOUNT_MAKE, bundle, PLAN_AGENT_BUNDLE) : 0;
}

int plan_agent(struct plan *plan, const struct run_options *options, const struct plan_dirs *dirs,
	       struct err *err)
{
	TRY(plan_agent_home(plan, err));
	for (size_t i = 0; i < plan->manifest.agent.command.len; i++)
		if (strlist_add(&plan->agent.argv, plan->manifest.agent.command.items[i]) < 0)
			return err_sys(err, ENOMEM, "plan the agent");
	if (add(plan, (struct mount_op){ .kind = MOUNT_ROOT_TMPFS, .bytes = 16 * 1024 * 1024 }) <
		    0 ||
	    system_folders(plan) < 0 || devices(plan) < 0 || proc(plan) < 0 || scratch(plan) < 0)
		return err_sys(err, ENOMEM, "plan the agent's files");
	TRY(plan_agent_binds(plan, options->workdir, dirs, err));
	/* After the binds, so that none of them lies over what bottle writes or masks. */
	if (own_files(plan) < 0)
		return err_sys(err, ENOMEM, "plan the agent's files");
	TRY(plan_closed(plan, err));
	plan->agent.workdir = strdup(plan->work_folder);
	if (!plan->agent.workdir || plan_agent_env(plan) < 0 ||
	    add_at(plan, MOUNT_ROOT_READ_ONLY, 0, "/", NULL) < 0)
		return err_sys(err, ENOMEM, "plan the agent");
	return 0;
}
