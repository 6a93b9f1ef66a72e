/* SPDX-License-Identifier: Apache-2.0
 *
 * The plan of one run: everything that will be done, decided once, from the manifest, the options and
 * what the host can do. Making it changes nothing (only the image store is given the native proxy's
 * image, where it has not got it yet); `--dry-run` prints it; nothing decides during the
 * carrying out. It names token variables, and holds no value of any.
 */
#ifndef RUNTIME_PLAN_H
#define RUNTIME_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "ca/mint.h"
#include "config/manifest.h"
#include "netns/gate.h"
#include "netns/netns.h"
#include "rootfs/image.h"
#include "runtime/docker_plan.h"
#include "runtime/guard_mark.h"
#include "runtime/host.h"
#include "runtime/idmap.h"
#include "runtime/limits.h"
#include "runtime/mounts.h"
#include "runtime/options.h"
#include "runtime/state.h"

/* What the launcher writes into the files that a reaper hands it (mount_op.content). */
enum plan_content {
	PLAN_CA_SECRET,	  /* CA certificate and key, one PEM (proxy) */
	PLAN_ROUTES,	  /* routes.yaml (proxy) */
	PLAN_UPSTREAM_CA, /* the upstream proxy's CA (proxy) */
	PLAN_EXTRA_CA,	  /* further roots for upstreams (proxy) */
	PLAN_CA_CERT,	  /* CA certificate alone (agent) */
	PLAN_CA_BUNDLE,	  /* host's store + CA (agent) */
	PLAN_TRUSTSTORE,  /* PKCS#12 for Java (agent) */
};

/* One of the two programs of a bottle: what it is started with, and in what. */
struct plan_role {
	struct strlist argv;
	struct strlist
		env; /* without the proxy's tokens, which the launcher sends at the last moment */
	char *workdir;
	struct mount_list mounts;
	struct strlist writable; /* paths inside that it may write (for Landlock) */
	struct idmap_role id;
};

/* The numbers that the proxy's descriptors have, after its standard ones; -1: not given. The listener
 * must be 3 (sd_listen_fds(3)). */
struct proxy_fds {
	int listen;
	int audit;
	int ready;
	int gate;
};

struct backend;

struct plan {
	const struct backend *backend;
	struct manifest manifest;
	bool found_manifest; /* it counted without -f */

	size_t read_only_options, read_write_options; /* of agent's paths in it the last so many */
	char *name;
	char run_id[STATE_RUN_ID_SIZE];
	struct host_facts host;
	enum idmap_mode idmap;	 /* IDMAP_SINGLE or IDMAP_SUBID */
	bool waits_for_launcher; /* init, before its first step: for its id maps or its cgroup */
	struct host_subids subids;
	struct limits_plan limits;
	enum ca_key_type ca_key;

	struct image image;
	struct proxy_fds proxy_fds;
	struct plan_role proxy;
	struct plan_role agent;
	char *hostname;

	struct netns_link link;
	struct gate_target *targets; /* borrow from the manifest */
	size_t target_count;
	uint16_t *ports; /* distinct ports of the targets, ascending: one listener each */
	size_t port_count;

	struct strlist token_refs; /* slot i is EGRESS_PROXY_TOKEN_<i> */
	struct buf routes_yaml;
	struct buf extra_ca;	/* PEM text */
	struct buf upstream_ca; /* PEM text */

	char *home;			/* the agent's, a fresh tmpfs */
	char *work_folder;		/* host path, bound at the same place */
	struct strlist guarded;		/* read-only paths in folders that the agent writes */
	struct guard_mark *guard_marks; /* what each of them was */
	struct strlist absent; /* what would be guarded but is missing: looked for at the end */
	struct strlist masked; /* unix sockets and FIFOs hidden from the agent */
	struct strlist warnings;
	mode_t umask; /* the caller's, and so the proxy's and the agent's */
	bool fail_on_denied, timings, quiet, no_stdin;

	struct docker_plan docker; /* the Docker backend's */
};

/* Where bottle keeps things: absolute paths. */
struct plan_dirs {
	const char *data;
	const char *state;
	const char *runtime;
};

/* Makes the plan. Takes the manifest over (also on failure). Only looks: reads files and folders. */
int plan_make(struct plan *plan, const struct backend *backend, struct manifest *manifest,
	      const struct run_options *options, const struct plan_dirs *dirs,
	      struct err *err) MUST_CHECK;
void plan_clear(struct plan *plan);

/* For the backends' parts: the bottle's name, and the agent's host name. After the work folder. */
int plan_choose_name(struct plan *plan, const struct run_options *options,
		     struct err *err) MUST_CHECK;

/* Its parts: plan_proxy.c (image, targets, routes) and plan_agent.c (files, environment). */
int plan_proxy(struct plan *plan, const struct run_options *options, const struct plan_dirs *dirs,
	       struct err *err) MUST_CHECK;
int plan_agent(struct plan *plan, const struct run_options *options, const struct plan_dirs *dirs,
	       struct err *err) MUST_CHECK;

/* plan_guard.c: which of plan->absent are there now, or hidden by what the agent made above them. */
int plan_guard_find_made(const struct plan *plan, struct strlist *ret_made) MUST_CHECK;

/* plan_guard.c: which of plan->guarded are not what they were. An ordinary edit of the caller's leaves the
 * file the same; where `a_guard_was_lost` any change of it counts. */
int plan_guard_find_changed(const struct plan *plan, bool a_guard_was_lost,
			    struct strlist *ret_changed) MUST_CHECK;

/* Prints it for a person, or as one JSON object. */
int plan_print(const struct plan *plan, bool as_json, FILE *out) MUST_CHECK;

/* Where a token variable is named: "bottle.yaml:12:5", for messages. Borrowed. */
const char *plan_token_where(const struct plan *plan, const char *token_ref);

/* Appends a warning that run.c prints (printf-like). */
int plan_warn(struct plan *plan, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_CHECK;

#endif
