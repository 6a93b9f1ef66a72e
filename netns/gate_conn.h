/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection of the proxy's: accepted → which (name, port) → dialled → relayed. What the gate's
 * loop and its connections share lives here too.
 */
#ifndef NETNS_GATE_CONN_H
#define NETNS_GATE_CONN_H

#include "netns/gate_audit.h"
#include "netns/gate_dial.h"
#include "netns/gate_handout.h"
#include "netns/gate_names.h"
#include "netns/gate_policy.h"
#include "netns/gate_relay.h"

enum { GATE_LISTENERS_MAX = 127 };

struct gate_conn;
struct gate;

struct gate_listener {
	struct gate_source source;
	struct gate *gate;
	int fd;
};

/* The gate's whole state. One, on gate_run's stack. */
struct gate {
	struct gate_loop loop;
	struct gate_policy policy;
	struct gate_names names;
	struct gate_audit audit;
	struct gate_groups groups;
	struct gate_resolver *resolver;
	struct gate_dialer dialer;
	struct gate_pipes pipes;

	struct gate_source control;
	int control_fd;
	bool has_sockets; /* the first control message came */

	struct gate_handouts handouts;

	struct gate_source dns;
	int dns_fd;

	struct gate_listener listeners[GATE_LISTENERS_MAX];
	size_t listener_count;
	TAILQ_HEAD(, gate_conn) conns;
	size_t conn_count;
	size_t conn_max;	  /* by RLIMIT_NOFILE; past it nothing is accepted */
	bool is_accepting;	  /* the listeners are in the loop */
	struct gate_timer resume; /* out of descriptors or of accepts: try again */
	unsigned accepts;	  /* left in this second's bucket */
	uint64_t refilled_ms;
};

/* Sets conn_max and the dialer's bound from the number of descriptors that may be open. */
void gate_conn_limits(struct gate *gate, size_t descriptors);

/* Takes the listener (non-blocking). */
int gate_conn_listen(struct gate *gate, int listener_fd) MUST_CHECK;

void gate_conn_close_all(struct gate *gate);

/* Shared with gate_handout: the bounds, the dial and the log of a connection, however the proxy asks. */

/* One accept out of this second's; false: none is left. */
bool gate_conn_take(struct gate *gate);

/* A place for one more connection of a routed host; NULL: busy. Each reserve needs a release. */
struct gate_group *gate_conn_reserve(struct gate *gate, const char *routed_host);
void gate_conn_release(struct gate *gate, struct gate_group *group);

/* What to dial for `host`, which borrows all that is passed in. `named` is room for the route's `address`. */
int gate_conn_request(const struct gate_target *target, const char *host, uint16_t port,
		      const struct address *literal, struct gate_group *group,
		      struct address *named, struct gate_dial_request *ret_request) MUST_CHECK;

/* The audit line of a dial that failed. */
void gate_conn_log(struct gate *gate, const char *host, uint16_t port,
		   const struct gate_dial_result *result);

#endif
