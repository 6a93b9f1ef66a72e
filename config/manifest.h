/* SPDX-License-Identifier: Apache-2.0
 *
 * The manifest (bottle.yaml, --allow, --auth) as values. Strict: what is not known is an error with
 * file:line:column and the key's path. Holds no token's value, only the names of variables.
 */
#ifndef CONFIG_MANIFEST_H
#define CONFIG_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum auth_kind {
	AUTH_NONE,   /* no `auth` */
	AUTH_SCHEME, /* Authorization: <scheme> <token> */
	AUTH_HEADER, /* <header>: <token> */
};

struct auth {
	enum auth_kind kind;
	char *scheme;	 /* AUTH_SCHEME: "Bearer", "token" or "Basic" */
	char *header;	 /* AUTH_HEADER: lower-case field name */
	char *token_ref; /* name of the caller's environment variable */
};

struct route {
	char *host; /* exact name, "*.suffix" or IP literal; lower case, A-labels, no final dot */
	bool is_literal; /* host is an IPv4 or IPv6 literal (no brackets) */
	uint16_t *ports;
	size_t port_count;	       /* ≥ 1 */
	struct strlist path_allowlist; /* empty: every path */
	struct strlist methods;	       /* upper case; empty: every method */
	struct auth auth;
	bool git_push;
	char *address;	       /* IP literal dialled in place of DNS, or NULL */
	uint16_t address_port; /* 0: the requested port */
	bool allow_private;
	char *where; /* "bottle.yaml:12:5" or "--allow …", for messages */
};

struct upstream_proxy {
	char *url;  /* as written, without userinfo; NULL: no upstream proxy */
	char *host; /* name or IP literal */
	uint16_t port;
	char *ca_path; /* NULL with `ca: none` */
	struct auth auth;
	char *where; /* as in struct route; NULL without upstream proxy */
};

struct agent_config {
	struct strlist command;
	char *workdir;		   /* NULL: the current directory */
	struct strlist env;	   /* "NAME=value" */
	struct strlist pass_env;   /* names */
	struct strlist read_only;  /* absolute host paths */
	struct strlist read_write; /* absolute host paths */
	char *hostname;		   /* NULL: the bottle's name */
	char *image;		   /* Docker backend only */
};

enum idmap_mode { IDMAP_AUTO, IDMAP_SINGLE, IDMAP_SUBID };

struct limits {
	uint64_t memory_bytes; /* 0: no limit or, for pids and tmp_bytes, the plan's default */
	uint64_t pids;
	uint64_t cpu_milli; /* thousandths of a core */
	uint64_t open_files;
	uint64_t tmp_bytes; /* size of each tmpfs */
};

struct manifest {
	char *path; /* the file it came from, or NULL */
	char *name; /* NULL: the plan makes one */
	struct agent_config agent;
	struct route *routes;
	size_t route_count;
	struct upstream_proxy upstream;
	struct strlist extra_ca; /* paths of PEM files */
	/* Of a found manifest: the SHA-256 with which each manifest_ca_path() was accepted. */
	struct strlist accepted_ca;
	char *proxy_image;	   /* NULL: the default */
	uint16_t proxy_port;	   /* default 9099 */
	uint32_t start_timeout_ms; /* default 10 000 */
	enum idmap_mode idmap;
	struct limits limits;
};

/* Names that bottle sets in the agent's environment itself (proxy and CA), NULL-terminated: neither
 * agent.env nor agent.pass_env may have them. JAVA_TOOL_OPTIONS is not among them: there a value of
 * the manifest and bottle's own are both wanted. */
extern const char *const manifest_reserved_env[];

/* Fills the defaults. */
void manifest_init(struct manifest *m);
void manifest_clear(struct manifest *m);

/* The CA files that it names: those of egress.extra_ca, then that of egress.upstream_proxy. NULL from
 * manifest_ca_count() on; borrowed. */
size_t manifest_ca_count(const struct manifest *m);
const char *manifest_ca_path(const struct manifest *m, size_t index);

/* Parses `len` bytes of YAML on top of an initialised manifest; `name` stands in messages and
 * becomes m->path. Paths are taken relative to `base_dir` (absolute) where they are not absolute;
 * ~/ is $HOME. A manifest that failed to parse may only be cleared. Parse at most once. */
int manifest_parse(struct manifest *m, const char *name, const char *base_dir, const char *text,
		   size_t len, struct err *err) MUST_CHECK;

/* --allow host[:port][/path] (port 443, an IPv6 literal in brackets): adds a route or, where host
 * and port have one already, its path to that one; without a path, every path is allowed then. */
int manifest_add_allow(struct manifest *m, const char *spec, struct err *err) MUST_CHECK;

/* --auth host=SCHEME:ENV_NAME, or host=header-name:ENV_NAME: gives that host's routes an auth. Add
 * every --allow first. */
int manifest_add_auth(struct manifest *m, const char *spec, struct err *err) MUST_CHECK;

/* BOTTLE_EGRESS_PROXY_IMAGE and BOTTLE_EGRESS_PROXY_PORT as they were found in the environment;
 * NULL or empty: not set. */
int manifest_apply_overrides(struct manifest *m, const char *image, const char *port,
			     struct err *err) MUST_CHECK;

/* What only the whole can show: no routes, a host and port on two routes, a port that is
 * proxy.port, a token variable that is also given to the agent. Last step before the plan, which
 * reads the CA files. */
int manifest_check(const struct manifest *m, struct err *err) MUST_CHECK;

#endif
