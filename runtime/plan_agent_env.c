/* SPDX-License-Identifier: Apache-2.0
 * The agent's environment and home, in every backend; see plan_agent.h. Runs in: launcher, before anything
 * has changed. */
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "runtime/plan_agent.h"

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
		TRY(set_env(env, ca_names[i], PLAN_AGENT_CA));
	for (size_t i = 0; i < sizeof(bundle_names) / sizeof(bundle_names[0]); i++)
		TRY(set_env(env, bundle_names[i], PLAN_AGENT_BUNDLE));
	return strlist_addf(env,
			    "JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore=" PLAN_AGENT_TRUSTSTORE
			    " -Djavax.net.ssl.trustStoreType=PKCS12"
			    " -Djavax.net.ssl.trustStorePassword=changeit"
			    " -Dhttp.proxyHost=egress-proxy -Dhttp.proxyPort=%u"
			    " -Dhttps.proxyHost=egress-proxy -Dhttps.proxyPort=%u"
			    " -Dhttp.nonProxyHosts=localhost|127.*|[::1]",
			    port, port);
}

/* The caller's environment is an allowlist: what is not here or in pass_env stays outside. */
int plan_agent_env(struct plan *plan)
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
int plan_agent_home(struct plan *plan, struct err *err)
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
