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
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ca/bundle.h"
#include "runtime/plan.h"
#include "runtime/plan_agent.h"

#define RUN_CA	       "/run/bottle/ca.pem"
#define RUN_BUNDLE     "/run/bottle/ca-bundle.pem"
#define RUN_TRUSTSTORE "/run/bottle/truststore.p12"

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

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		TRY(add(plan, (struct mount_op){ .kind = MOUNT_TMPFS,
						 .flags = MOUNT_MAKE,
						 .at = (char *)(uintptr_t)places[i].at,
						 .mode = places[i].mode,
						 .bytes = plan->limits.limits.tmp_bytes }));
		TRY(strlist_add(&plan->agent.writable, places[i].at));
	}
	TRY(strlist_add(&plan->agent.writable, "/dev"));
	return strlist_add(&plan->agent.writable, "/proc");
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
					 .at = RUN_CA,
					 .content = PLAN_CA_CERT }));
	TRY(add(plan, (struct mount_op){ .kind = MOUNT_HANDED,
					 .flags = MOUNT_MAKE,
					 .at = RUN_BUNDLE,
					 .content = PLAN_CA_BUNDLE }));
	TRY(add(plan, (struct mount_op){ .kind = MOUNT_HANDED,
					 .flags = MOUNT_MAKE,
					 .at = RUN_TRUSTSTORE,
					 .content = PLAN_TRUSTSTORE }));
	/* Over the distribution's own bundle as well, for tools that read no variable; it is a symlink on
	 * Fedora, Arch and NixOS, and under /var on openSUSE: resolved in the finished root. */
	return bundle ? add_at(plan, MOUNT_ALIAS, MOUNT_MAKE, bundle, RUN_BUNDLE) : 0;
}

/* What the caller may read as root it must not read inside: a single map of uid 0 is still uid 0. */
static int root_secrets(struct plan *plan)
{
	static const char *const masks[] = { "/etc/shadow",   "/etc/shadow-",	 "/etc/gshadow",
					     "/etc/gshadow-", "/etc/sudoers",	 "/etc/sudoers.d",
					     "/etc/ssh",      "/etc/ssl/private" };

	if (plan->host.uid != 0)
		return 0;
	for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++)
		TRY(add_at(plan, MOUNT_MASK, MOUNT_OPTIONAL | MOUNT_GUARD, masks[i], NULL));
	return plan_warn(plan, "started as root: the agent is uid 0 without capabilities and reads "
			       "what root's files allow it to in the folders shown to it; better "
			       "start bottle as an ordinary user");
}

/* --- environment ------------------------------------------------------------------------------ */

static const char *find_env(const struct strlist *env, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < env->len; i++)
		if (strncmp(env->items[i], name, len) == 0 && env->items[i][len] == '=')
			return env->items[i] + len + 1;
	return NULL;
}

static int set_env(struct strlist *env, const char *name, const char *value)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < env->len; i++) {
		if (strncmp(env->items[i], name, len) == 0 && env->items[i][len] == '=') {
			char *replaced = str_printf("%s=%s", name, value);

			if (!replaced)
				return -ENOMEM;
			free(env->items[i]);
			env->items[i] = replaced;
			return 0;
		}
	}
	return strlist_addf(env, "%s=%s", name, value);
}

static int pass_env(struct strlist *env, const char *name)
{
	const char *value = getenv(name);

	return value ? set_env(env, name, value) : 0;
}

/* Java's only way to a trust store stays; of two options of one kind the later counts. */
static int add_java_options(struct strlist *env, const char *value)
{
	const char *ours = find_env(env, "JAVA_TOOL_OPTIONS");
	cleanup_free char *both = str_printf("%s %s", ours ? ours : "", value);

	return both ? set_env(env, "JAVA_TOOL_OPTIONS", both) : -ENOMEM;
}

static int proxy_and_trust_env(struct plan *plan, struct strlist *env)
{
	static const char *const proxy_names[] = { "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
						   "http_proxy", "https_proxy", "all_proxy" };
	static const char *const ca_names[] = { "NODE_EXTRA_CA_CERTS", "DENO_CERT" };
	static const char *const bundle_names[] = {
		"SSL_CERT_FILE",     "CURL_CA_BUNDLE",	  "REQUESTS_CA_BUNDLE",
		"PIP_CERT",	     "GIT_SSL_CAINFO",	  "AWS_CA_BUNDLE",
		"CARGO_HTTP_CAINFO", "NIX_SSL_CERT_FILE", "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
	};
	unsigned port = plan->manifest.proxy_port;

	for (size_t i = 0; i < sizeof(proxy_names) / sizeof(proxy_names[0]); i++)
		TRY(strlist_addf(env, "%s=http://egress-proxy:%u", proxy_names[i], port));
	TRY(strlist_add(env, "NO_PROXY=localhost,127.0.0.1,::1"));
	TRY(strlist_add(env, "no_proxy=localhost,127.0.0.1,::1"));
	TRY(strlist_add(env, "NODE_USE_ENV_PROXY=1"));
	for (size_t i = 0; i < sizeof(ca_names) / sizeof(ca_names[0]); i++)
		TRY(set_env(env, ca_names[i], RUN_CA));
	for (size_t i = 0; i < sizeof(bundle_names) / sizeof(bundle_names[0]); i++)
		TRY(set_env(env, bundle_names[i], RUN_BUNDLE));
	return strlist_addf(env,
			    "JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore=" RUN_TRUSTSTORE
			    " -Djavax.net.ssl.trustStoreType=PKCS12"
			    " -Djavax.net.ssl.trustStorePassword=changeit"
			    " -Dhttp.proxyHost=egress-proxy -Dhttp.proxyPort=%u"
			    " -Dhttps.proxyHost=egress-proxy -Dhttps.proxyPort=%u"
			    " -Dhttp.nonProxyHosts=localhost|127.*|[::1]",
			    port, port);
}

/* The caller's environment is an allowlist: what is not here or in pass_env stays outside. */
static int environment(struct plan *plan)
{
	static const char *const passed[] = { "PATH",	  "TERM",     "LANG",	 "LC_ALL",
					      "LC_CTYPE", "LANGUAGE", "TZ",	 "COLORTERM",
					      "NO_COLOR", "USER",     "LOGNAME", "SHELL" };
	struct agent_config *agent = &plan->manifest.agent;
	struct strlist *env = &plan->agent.env;

	TRY(set_env(env, "PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"));
	for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
		TRY(pass_env(env, passed[i]));
	TRY(set_env(env, "HOME", plan->home));
	TRY(set_env(env, "PWD", plan->work_folder));
	TRY(proxy_and_trust_env(plan, env));
	for (size_t i = 0; i < agent->pass_env.len; i++)
		TRY(pass_env(env, agent->pass_env.items[i]));
	for (size_t i = 0; i < agent->env.len; i++) {
		const char *equals = strchr(agent->env.items[i], '=');
		cleanup_free char *name = strndup(agent->env.items[i],
						  (size_t)(equals - agent->env.items[i]));

		if (!name)
			return -ENOMEM;
		TRY(strcmp(name, "JAVA_TOOL_OPTIONS") == 0 ? add_java_options(env, equals + 1)
							   : set_env(env, name, equals + 1));
	}
	return 0;
}

/* Homes of the system's own users: a tmpfs there would hide what is shown. */
static bool is_systems(const char *path)
{
	static const char *const folders[] = { "/usr", "/bin", "/sbin", "/lib", "/etc",
					       "/opt", "/nix", "/proc", "/sys", "/dev" };

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		if (plan_path_is_below(path, folders[i]))
			return true;
	return strcmp(path, "/") == 0 || strcmp(path, "/run") == 0 ||
	       plan_path_is_below(path, "/run/bottle");
}

/* Canonical, as the work folder is: inside there is no link from the one to the other. */
static int find_home(struct plan *plan, struct err *err)
{
	const char *home = getenv("HOME");
	const struct passwd *pw = home && home[0] == '/' ? NULL : getpwuid(plan->host.uid);
	char real[PATH_MAX];

	if (pw)
		home = pw->pw_dir;
	if (!home || home[0] != '/' || plan_path_resolve(home, NULL, NULL, real) < 0 ||
	    is_systems(real))
		snprintf(real, sizeof(real), "/home/agent");
	plan->home = strdup(real);
	return plan->home ? 0 : err_sys(err, ENOMEM, "plan the agent");
}

int plan_agent(struct plan *plan, const struct run_options *options, const struct plan_dirs *dirs,
	       struct err *err)
{
	TRY(find_home(plan, err));
	for (size_t i = 0; i < plan->manifest.agent.command.len; i++)
		if (strlist_add(&plan->agent.argv, plan->manifest.agent.command.items[i]) < 0)
			return err_sys(err, ENOMEM, "plan the agent");
	if (add(plan, (struct mount_op){ .kind = MOUNT_ROOT_TMPFS, .bytes = 16 * 1024 * 1024 }) <
		    0 ||
	    system_folders(plan) < 0 || devices(plan) < 0 || proc(plan) < 0 || scratch(plan) < 0)
		return err_sys(err, ENOMEM, "plan the agent's files");
	TRY(plan_agent_binds(plan, options->workdir, dirs, err));
	/* After the binds, so that none of them lies over what bottle writes or masks. */
	if (own_files(plan) < 0 || root_secrets(plan) < 0)
		return err_sys(err, ENOMEM, "plan the agent's files");
	plan->agent.workdir = strdup(plan->work_folder);
	if (!plan->agent.workdir || environment(plan) < 0 ||
	    add_at(plan, MOUNT_ROOT_READ_ONLY, 0, "/", NULL) < 0)
		return err_sys(err, ENOMEM, "plan the agent");
	return 0;
}
