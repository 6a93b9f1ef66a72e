/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate: the only process of a bottle that stands in the host's network. It serves sockets that
 * were made inside the egress namespace: a resolver that knows the routed names only and answers
 * with synthetic addresses (198.18.0.0/15), and listeners whose accepted connections it relays to
 * the name behind the address, if that (name, port) is on a route.
 *
 * Holds: the pairs below, its sockets, relayed bytes. Never has: tokens, the CA key, a writable file.
 */
#ifndef NETNS_GATE_H
#define NETNS_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct gate_target {
	const char *host; /* exact name, "*.suffix" or IP literal; lower case */
	uint16_t port;
	bool allow_private;
	const char *address; /* IP literal to dial in place of resolving, or NULL */
	uint16_t address_port; /* 0: same port */
};

/* Gives up power; each returns 0 or -errno and proves its loss. Supplied by runtime/, which owns
 * seccomp and Landlock; NULL in unit tests. */
struct gate_confine {
	int (*gate)(struct err *err);     /* the loop: no file opens, no exec, no fork */
	int (*resolver)(struct err *err); /* a getaddrinfo helper: reads what NSS needs */
};

struct gate_config {
	const struct gate_target *targets; /* borrowed for the whole run */
	size_t target_count;
	int control_fd; /* SOCK_SEQPACKET to the launcher: first message carries [dns, listener…];
	                 * EOF ends the gate */
	int audit_fd;   /* JSON lines, one write(2) each */
	const char *run_id;
	struct gate_confine confine;
};

/* Serves until the control socket closes. Returns 0 then, -errno when it cannot start or go on. The
 * launcher forks it before any key exists; it forks its own pool of resolver helpers, confines them
 * and itself, and only then reads the first control message. */
int gate_run(const struct gate_config *config, struct err *err) MUST_CHECK;

#endif
