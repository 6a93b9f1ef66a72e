/* SPDX-License-Identifier: Apache-2.0
 *
 * The resolver helpers: getaddrinfo(3) blocks and runs other people's code (NSS modules), so it runs
 * in processes of its own. The gate cannot fork once it is confined; a zygote, forked and confined
 * before, forks helpers for it on demand.
 */
#ifndef NETNS_GATE_HELPER_H
#define NETNS_GATE_HELPER_H

#include <stdint.h>

#include "base/err.h"
#include "netns/gate_policy.h"

enum { GATE_ANSWER_MAX = 16 };

/* One helper's answer, sent as it is. */
struct gate_answer {
	int32_t gai_code; /* 0 or getaddrinfo's EAI_… */
	uint32_t count;
	struct address ips[GATE_ANSWER_MAX]; /* in RFC 6724's order, no duplicates */
};

/* What the zygote says once, when it is confined (or is not). */
struct gate_zygote_hello {
	int32_t code;
	struct err err;
};

/* Forks the zygote. *ret_fd is a SOCK_SEQPACKET to it: it first sends a gate_zygote_hello; then each
 * byte that is sent to it is answered by one byte with a descriptor, a SOCK_SEQPACKET to a new
 * helper, or without one when that failed. A helper takes a name (NUL-terminated) a message and
 * answers each with a gate_answer. It ends when its socket closes, when it was idle for a while, or,
 * killed by its own alarm clock, when a lookup took longer than timeout_s. All die with the gate. */
int gate_zygote_start(int (*confine)(struct err *err), unsigned timeout_s, int *ret_fd,
		      struct err *err) MUST_CHECK;

#endif
