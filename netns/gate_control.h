/* SPDX-License-Identifier: Apache-2.0
 *
 * The messages of the control socket. The targets do not pass over it: the gate is forked with them.
 */
#ifndef NETNS_GATE_CONTROL_H
#define NETNS_GATE_CONTROL_H

#include <stdint.h>

#include "base/err.h"
#include "netns/gate.h"

enum gate_message_kind {
	GATE_MESSAGE_SOCKETS = 's', /* descriptors: dns, listener… */
};

struct gate_message {
	uint8_t kind;
};

struct gate_control_reply {
	int32_t code;
	struct err err;
};

#endif
