/* SPDX-License-Identifier: Apache-2.0
 *
 * The two `docker create` command lines; see docker_create.h. Runs in: launcher, while the plan is made.
 *
 * Nothing in them is secret: a token is named, and its value is put into the CLI's environment when the
 * step is done (or goes in on standard input). A variable of the manifest's is named as well, since its
 * value is nobody's business who lists processes; one that the CLI itself would obey goes in as a line of
 * --env-file on standard input.
 */
#include "runtime/docker_create.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ca/bundle.h"
#include "runtime/docker_cli_env.h"
#include "runtime/plan_agent.h"
#include "runtime/plan_contract.h"

/* TEST-NET-1 (RFC 5737): nobody's, so a question that Docker's resolver hands on goes nowhere. It did hand
 * them on out of an internal network: CVE-2024-29018. */
#define DEAD_RESOLVER "192.0.2.1"

#define PROXY_MEMORY "2g"

enum {
	PROXY_PIDS = 1024,
	DEFAULT_PIDS = 4096,
	SECRET_BYTES = 8 << 20,
	SCRATCH_BYTES = 64 << 20,
	DEFAULT_TMP_PART = 10 /* of the memory, as in limits.c */
};
static const uint64_t default_tmp_max_bytes = UINT64_C(2) << 30;

/* What both containers have: no power, no writable image, no log on disk. */
static const char *const common[] = {
	"--interactive",
	"--cap-drop=ALL",
	"--security-opt=no-new-privileges",
	"--log-driver=none",
	"--ulimit=core=1:1",
	/* 0 would not stop a core that is piped to a handler */ "--restart=no",
};

/* The CLI's own configuration may hold proxies for every container; what is set here, also to nothing,
 * counts instead. */
static const char *const proxy_names[] = { "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY",   "ALL_PROXY",
					   "NO_PROXY",	 "http_proxy",	"https_proxy", "ftp_proxy",
					   "all_proxy",	 "no_proxy" };

static int add_common(const struct docker_plan *d, const char *name, struct strlist *argv)
{
	TRY(strlist_add(argv, "create"));
	TRY(strlist_addf(argv, "--name=%s", name));
	for (size_t i = 0; i < d->labels.len; i++)
		TRY(strlist_addf(argv, "--label=%s", d->labels.items[i]));
	for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
		TRY(strlist_add(argv, common[i]));
	return strlist_addf(argv, "--network=%s", d->internal_network);
}

static const char *value_of(const struct strlist *env, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = env->len; i > 0; i--)
		if (strncmp(env->items[i - 1], name, len) == 0 && env->items[i - 1][len] == '=')
			return env->items[i - 1] + len + 1;
	return NULL;
}

/* Those that `env` has no value for are set to nothing. */
static int add_missing_proxies(const struct strlist *env, struct strlist *argv)
{
	for (size_t i = 0; i < sizeof(proxy_names) / sizeof(proxy_names[0]); i++)
		if (!value_of(env, proxy_names[i]))
			TRY(strlist_addf(argv, "--env=%s=", proxy_names[i]));
	return 0;
}

/* --mount takes comma-separated values (RFC 4180): a field with a comma or quote in it is quoted. */
static void put_field(struct buf *buf, const char *key, const char *value)
{
	bool quoted = strpbrk(value, ",\"\n") != NULL;

	buf_puts(buf, quoted ? ",\"" : ",");
	buf_printf(buf, "%s=", key);
	for (; *value; value++) {
		if (*value == '"')
			buf_puts(buf, "\"");
		buf_append(buf, value, 1);
	}
	buf_puts(buf, quoted ? "\"" : "");
}

static int add_bind(struct strlist *argv, const char *source, const char *target, bool writable)
{
	struct buf text = { 0 };
	int rc;

	buf_puts(&text, "--mount=type=bind");
	put_field(&text, "source", source);
	put_field(&text, "target", target);
	buf_puts(&text, writable ? "" : ",readonly");
	rc = text.failed ? -ENOMEM : strlist_add(argv, text.data);
	buf_clear(&text);
	return rc;
}

/* An empty folder over it. Not by --tmpfs, which takes the path to end at its first colon. */
static int add_empty(struct strlist *argv, const char *target)
{
	struct buf text = { 0 };
	int rc;

	buf_puts(&text, "--mount=type=tmpfs");
	put_field(&text, "target", target);
	buf_puts(&text, ",ro,tmpfs-size=4096,tmpfs-mode=0555");
	rc = text.failed ? -ENOMEM : strlist_add(argv, text.data);
	buf_clear(&text);
	return rc;
}

static int add_own_bind(struct strlist *argv, const struct docker_plan *d, const char *name,
			const char *target)
{
	char *source = str_printf("%s/%s", d->folder, name);
	int rc = source ? add_bind(argv, source, target, false) : -ENOMEM;

	free(source);
	return rc;
}

/* ---- the proxy ---- */

/* Where an image of ours lays its secrets, and where it may write. */
static const struct {
	const char *path;
	size_t bytes;
} proxy_tmpfs[] = {
	{ "/etc/egress-proxy", SECRET_BYTES },
	{ PLAN_CONTRACT_HOME "/.mitmproxy", SECRET_BYTES },
	{ "/run/egress-proxy", SECRET_BYTES },
	{ "/tmp", SCRATCH_BYTES },
};

static int add_proxy_places(const struct docker_plan *d, struct strlist *argv)
{
	const struct docker_image *image = &d->proxy_image;
	char buf[48];
	const char *owner = docker_engine_tmpfs_owner(&d->engine, image->uid, image->gid, buf);

	if (!image->by_stdin) /* `docker cp` does not write into a container that is read-only */
		return strlist_addf(argv, "--tmpfs=/tmp:nosuid,nodev,size=%d,mode=1777",
				    SCRATCH_BYTES);
	TRY(strlist_add(argv, "--read-only"));
	for (size_t i = 0; i < sizeof(proxy_tmpfs) / sizeof(proxy_tmpfs[0]); i++)
		TRY(strlist_addf(argv, "--tmpfs=%s:noexec,nosuid,nodev,size=%zu,mode=0700,%s",
				 proxy_tmpfs[i].path, proxy_tmpfs[i].bytes, owner));
	return 0;
}

/* In place of the gate: the proxy's own table of names, and the leave to dial what is private. */
static int add_addresses(const struct manifest *m, struct strlist *argv)
{
	struct buf private_hosts = { 0 };
	int rc = 0;

	for (size_t i = 0; i < m->route_count && rc == 0; i++) {
		const struct route *r = &m->routes[i];

		if (r->address)
			rc = strlist_addf(argv, "--add-host=%s:%s", r->host, r->address);
		if (r->address || r->allow_private)
			buf_printf(&private_hosts, "%s%s", private_hosts.len ? "," : "", r->host);
	}
	if (rc == 0 && private_hosts.len)
		rc = strlist_addf(argv, "--env=EGRESS_PROXY_ALLOW_PRIVATE=%s", private_hosts.data);
	rc = private_hosts.failed ? -ENOMEM : rc;
	buf_clear(&private_hosts);
	return rc;
}

static int add_proxy_env(const struct plan *plan, struct strlist *argv)
{
	const struct docker_image *image = &plan->docker.proxy_image;
	struct strlist upstream = { 0 };
	int rc = plan_contract_upstream_env(plan, &upstream);

	for (size_t i = 0; i < upstream.len && rc == 0; i++)
		rc = strlist_addf(argv, "--env=%s", upstream.items[i]);
	if (rc == 0)
		rc = add_missing_proxies(&upstream, argv);
	strlist_clear(&upstream);
	TRY(rc);
	TRY(strlist_addf(argv, "--env=EGRESS_PROXY_PORT=%u", plan->manifest.proxy_port));
	TRY(strlist_add(argv, "--env=EGRESS_PROXY_LISTEN_HOST=link"));
	TRY(strlist_add(argv, "--env=EGRESS_PROXY_AUDIT_FD=1"));
	if (image->knows_ready)
		TRY(strlist_add(argv, "--env=EGRESS_PROXY_READY_FD=1"));
	if (plan->extra_ca.len)
		TRY(strlist_add(argv, "--env=EGRESS_PROXY_EXTRA_CA=" PLAN_CONTRACT_EXTRA_CA));
	if (image->by_stdin)
		return strlist_add(argv, "--env=EGRESS_PROXY_SECRETS=stdin");
	for (size_t i = 0; i < plan->token_refs.len; i++)
		TRY(strlist_addf(argv, "--env=EGRESS_PROXY_TOKEN_%zu", i));
	return 0;
}

int docker_create_proxy(struct plan *plan)
{
	struct docker_plan *d = &plan->docker;
	struct strlist *argv = &d->proxy_create;

	TRY(add_common(d, d->proxy_name, argv));
	TRY(strlist_add(argv, "--network-alias=egress-proxy"));
	TRY(strlist_add(argv, "--hostname=egress-proxy"));
	TRY(strlist_addf(argv, "--pids-limit=%d", PROXY_PIDS));
	TRY(strlist_add(argv, "--memory=" PROXY_MEMORY));
	TRY(strlist_add(argv, "--memory-swap=" PROXY_MEMORY)); /* none: it holds the key */
	/* Of another image the group is Docker's to find. */
	if (d->proxy_image.by_stdin && (d->proxy_image.is_ours || d->proxy_image.has_gid))
		TRY(strlist_addf(argv, "--user=%u:%u", (unsigned)d->proxy_image.uid,
				 (unsigned)d->proxy_image.gid));
	TRY(add_proxy_places(d, argv));
	TRY(add_addresses(&plan->manifest, argv));
	if (d->proxy_image.wants_host_store && ca_host_bundle_path())
		TRY(add_own_bind(argv, d, DOCKER_FILE_STORE, PLAN_CONTRACT_STORE));
	return add_proxy_env(plan, argv);
}

/* ---- the agent ---- */

static uint64_t tmp_bytes(const struct plan *plan)
{
	long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
	uint64_t part = (uint64_t)pages * (uint64_t)page_bytes / DEFAULT_TMP_PART;

	if (plan->manifest.limits.tmp_bytes)
		return plan->manifest.limits.tmp_bytes;
	return pages > 0 && page_bytes > 0 && part < default_tmp_max_bytes ? part
									   : default_tmp_max_bytes;
}

static int add_limits(const struct plan *plan, struct strlist *argv)
{
	const struct limits *limits = &plan->manifest.limits;

	TRY(strlist_addf(argv, "--pids-limit=%" PRIu64,
			 limits->pids ? limits->pids : DEFAULT_PIDS));
	if (limits->memory_bytes) {
		TRY(strlist_addf(argv, "--memory=%" PRIu64, limits->memory_bytes));
		TRY(strlist_addf(argv, "--memory-swap=%" PRIu64, limits->memory_bytes));
	}
	if (limits->cpu_milli)
		TRY(strlist_addf(argv, "--cpus=%" PRIu64 ".%03" PRIu64, limits->cpu_milli / 1000,
				 limits->cpu_milli % 1000));
	if (limits->open_files)
		TRY(strlist_addf(argv, "--ulimit=nofile=%" PRIu64 ":%" PRIu64, limits->open_files,
				 limits->open_files));
	return strlist_addf(argv, "--shm-size=%" PRIu64, tmp_bytes(plan));
}

static int add_agent_scratch(const struct plan *plan, struct strlist *argv)
{
	const struct {
		const char *path;
		unsigned mode;
	} places[] = {
		{ "/tmp", 01777 }, { "/var/tmp", 01777 }, { "/run", 0755 }, { plan->home, 0700 }
	};
	char buf[48];
	const char *owner = docker_engine_tmpfs_owner(&plan->docker.engine, plan->host.uid,
						      plan->host.gid, buf);

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		TRY(strlist_addf(argv, "--tmpfs=%s:exec,nosuid,nodev,size=%" PRIu64 ",mode=%04o,%s",
				 places[i].path, tmp_bytes(plan), places[i].mode, owner));
	return 0;
}

static int add_mask(const struct docker_plan *d, const char *path, struct strlist *argv)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return 0;
	if (S_ISDIR(st.st_mode))
		return add_empty(argv, path);
	return add_own_bind(argv, d, DOCKER_FILE_MASK, path);
}

/* The same folders as the namespaces backend's agent has: what it may write, what in there is kept from
 * it, what is masked. Docker lays a folder before what lies in it. */
static int add_agent_files(const struct plan *plan, struct strlist *argv)
{
	const struct mount_list *list = &plan->agent.mounts;

	for (size_t i = 0; i < list->len; i++) {
		const struct mount_op *op = &list->ops[i];

		if (op->kind == MOUNT_BIND || op->kind == MOUNT_ALIAS)
			TRY(add_bind(argv, op->source, op->at, op->flags & MOUNT_WRITABLE));
		else if (op->kind == MOUNT_MASK)
			TRY(add_mask(&plan->docker, op->at, argv));
	}
	return 0;
}

/* Over the distributions' own bundles as well, for tools that read no variable. */
static int add_agent_trust(const struct docker_plan *d, struct strlist *argv)
{
	static const char *const bundles[] = { PLAN_CONTRACT_STORE,
					       "/etc/pki/tls/certs/ca-bundle.crt" };

	TRY(add_own_bind(argv, d, DOCKER_FILE_AGENT, "/run/bottle"));
	for (size_t i = 0; i < sizeof(bundles) / sizeof(bundles[0]); i++)
		TRY(add_own_bind(argv, d, DOCKER_FILE_BUNDLE, bundles[i]));
	return 0;
}

static bool is_the_callers(const struct plan *plan, const char *item, size_t name_len)
{
	const struct agent_config *agent = &plan->manifest.agent;

	for (size_t i = 0; i < agent->pass_env.len; i++)
		if (strlen(agent->pass_env.items[i]) == name_len &&
		    strncmp(agent->pass_env.items[i], item, name_len) == 0)
			return true;
	for (size_t i = 0; i < agent->env.len; i++)
		if (strncmp(agent->env.items[i], item, name_len + 1) == 0)
			return true;
	return false;
}

/* What bottle itself sets is no secret. The agent's PATH and SHELL are the image's. */
static int add_agent_env(struct plan *plan, struct strlist *argv)
{
	const struct strlist *env = &plan->agent.env;
	struct docker_plan *d = &plan->docker;

	for (size_t i = 0; i < env->len; i++) {
		const char *item = env->items[i];
		size_t len = strcspn(item, "=");
		bool callers = is_the_callers(plan, item, len);
		enum docker_cli_env_way way = callers ? docker_cli_env_way(item, len)
						      : DOCKER_CLI_ENV_ARGV;

		if (!callers && (str_starts(item, "PATH=") || str_starts(item, "SHELL=")))
			continue;
		if (way == DOCKER_CLI_ENV_ARGV)
			TRY(strlist_addf(argv, "--env=%s", item));
		else if (way == DOCKER_CLI_ENV_NAME)
			TRY(strlist_addf(argv, "--env=%.*s", (int)len, item));
		if (way == DOCKER_CLI_ENV_NAME)
			TRY(strlist_add(&d->agent_env, item));
		else if (way == DOCKER_CLI_ENV_FILE)
			TRY(strlist_addf(&d->agent_env_lines, "%s\n", item));
	}
	if (d->agent_env_lines.len)
		TRY(strlist_add(argv, "--env-file=/dev/stdin"));
	return add_missing_proxies(env, argv);
}

/* ---- what cannot be said ---- */

/* What a line of --env-file cannot be, or NULL. */
static const char *unfit_line(const char *item)
{
	enum { LINE_MAX_BYTES = 64 * 1024 - 1 }; /* of Go's bufio.Scanner */

	if (strpbrk(item, "\r\n"))
		return "has a line break in its value";
	return strlen(item) > LINE_MAX_BYTES ? "has more than 64 KiB" : NULL;
}

static int check_env(const struct plan *plan, struct err *err)
{
	const struct strlist *env = &plan->agent.env;

	for (size_t i = 0; i < env->len; i++) {
		const char *item = env->items[i];
		size_t len = strcspn(item, "=");

		if (is_the_callers(plan, item, len) && unfit_line(item) &&
		    docker_cli_env_way(item, len) == DOCKER_CLI_ENV_FILE)
			return err_set(
				err, EINVAL,
				"the agent's variable %.*s %s: with --backend docker that is not "
				"possible for one that "
				"Docker's CLI reads too; take it out of env and pass_env, or "
				"give it another name",
				(int)len, item, unfit_line(item));
	}
	return 0;
}

int docker_create_check(const struct plan *plan, struct err *err)
{
	char shown[256];

	if (strchr(plan->home, ':'))
		return err_set(err, EINVAL,
			       "HOME: %s has a colon in it, where Docker takes the path of a tmpfs "
			       "mount to end, and the agent's home is one; with --backend docker "
			       "set HOME to a folder without a colon",
			       str_escape(shown, sizeof(shown), plan->home, strlen(plan->home)));
	return check_env(plan, err);
}

int docker_create_agent(struct plan *plan)
{
	struct docker_plan *d = &plan->docker;
	struct strlist *argv = &d->agent_create;

	TRY(add_common(d, d->agent_name, argv));
	TRY(strlist_add(argv, "--read-only"));
	TRY(strlist_add(argv, "--init")); /* as pid 1 it would not die of a signal */
	if (d->is_tty)
		TRY(strlist_add(argv, "--tty"));
	TRY(strlist_addf(argv, "--hostname=%s", plan->hostname));
	TRY(strlist_add(argv, "--dns=" DEAD_RESOLVER));
	TRY(strlist_add(argv, "--dns-search=."));
	/* as netns.c sets it: docs/decisions/upload-window.md */
	TRY(strlist_add(argv, "--sysctl=net.ipv4.tcp_wmem=4096 1048576 4194304"));
	TRY(strlist_addf(argv, "--user=%u:%u", (unsigned)plan->host.uid, (unsigned)plan->host.gid));
	if (d->engine.is_rootless) /* else that number would be a subordinate id on the host */
		TRY(strlist_add(argv, "--userns=keep-id"));
	TRY(strlist_addf(argv, "--workdir=%s", plan->work_folder));
	TRY(add_limits(plan, argv));
	TRY(add_agent_scratch(plan, argv));
	TRY(add_agent_files(plan, argv));
	TRY(add_agent_trust(d, argv));
	TRY(add_agent_env(plan, argv));
	return plan->agent.argv.len
		       ? strlist_addf(argv, "--entrypoint=%s", plan->agent.argv.items[0])
		       : 0;
}
