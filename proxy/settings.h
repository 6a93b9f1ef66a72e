/* SPDX-License-Identifier: Apache-2.0
 *
 * The environment, read once: the image's contract as values (rootfs/mitmproxy/egress_proxy/settings.py
 * is the same in Python) and what only this proxy knows: LISTEN_FDS and the gate's socket.
 */
#ifndef PROXY_SETTINGS_H
#define PROXY_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "proxy/message.h"
#include "proxy/tokens.h"

/* The proxy that stands between this one and the network: HTTPS_PROXY, HTTP_PROXY. */
struct parent_proxy {
	bool is_https;
	struct authority place;
	const char *ca;		  /* PEM, or NULL */
	const char *token_env;	  /* slot of its token, or NULL */
	const char *token_scheme; /* "Basic", "Bearer", "token" */
	struct strlist no_proxy;  /* canonical names, or "*" */
};

struct settings {
	const char *routes_path;
	const char *ca_path;
	const char *trust_store;
	struct strlist extra_ca;
	const char *listen_host; /* or NULL: every address */
	uint16_t port;
	int listen_fd; /* handed over (LISTEN_FDS), or -1 */
	int audit_fd;
	int ready_fd;	  /* or -1 */
	int gate_fd;	  /* or -1 */
	bool gate_relays; /* EGRESS_PROXY_GATE=relay: addresses are the gate's to judge */
	struct strlist allow_private; /* hosts that `own` dialling reaches at any address */
	bool has_upstream;
	struct parent_proxy upstream;
};

/* Reads the environment, from which the tokens were taken before. Strings point into it. */
int settings_read(const struct tokens *tokens, struct settings *ret_settings,
		  struct err *err) MUST_CHECK;
void settings_clear(struct settings *settings);

/* Those of this process, set by main; for the parts that need them at run time. */
extern const struct settings *proxy_settings;
extern const struct tokens *proxy_tokens;

/* Whether `host` is reached through the upstream proxy. */
bool settings_goes_upstream(const struct settings *settings, const char *host);

#endif
