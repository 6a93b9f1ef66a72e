/* SPDX-License-Identifier: Apache-2.0
 *
 * The messages of the control socket and the table of targets as bytes (in a memfd: a table may be
 * larger than a message). Pure but for the descriptors that are passed in.
 */
#ifndef NETNS_GATE_CONTROL_H
#define NETNS_GATE_CONTROL_H

#include "base/str.h"
#include "netns/gate.h"
#include "netns/gate_policy.h"

enum gate_message_kind {
	GATE_MESSAGE_SOCKETS = 's', /* descriptors: dns, listener… */
	GATE_MESSAGE_TARGETS = 't', /* descriptors: memfd, listener… */
};

struct gate_message {
	uint8_t kind;
};

struct gate_control_reply {
	int32_t code;
	struct err err;
};

/* One line a target: "<host> <port> <allow_private 0|1> <address or -> <address port>\n". */
int gate_targets_render(const struct gate_target *targets, size_t count, struct buf *ret_text,
			struct err *err) MUST_CHECK;
int gate_targets_parse(const char *text, size_t len, struct gate_policy *ret_policy,
		       struct err *err) MUST_CHECK;

/* Reads a memfd of the launcher's from its start. */
int gate_targets_read(int memfd, struct gate_policy *ret_policy, struct err *err) MUST_CHECK;

#endif
