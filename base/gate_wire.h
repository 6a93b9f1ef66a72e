/* SPDX-License-Identifier: Apache-2.0
 *
 * What a proxy that knows the gate and the gate say to each other, over a SOCK_SEQPACKET pair: one
 * message asks for a connection to a routed (name, port), one answers it. Both sides are on one machine
 * and of one build, so numbers are in host order. Each side checks what it receives like foreign input:
 * the length first, then every field.
 *
 *   proxy → gate   struct gate_ask, cut after the host (which has no NUL)
 *   proxy → gate   struct gate_ask with port 0 and no host: that dial is no longer wanted
 *   gate → proxy   struct gate_reply, cut after the detail; the connected socket, non-blocking, comes as
 *                  SCM_RIGHTS when and only when rc is 0
 *
 * Answers come in any order. A cancelled dial may still be answered, since the two may cross: the proxy
 * closes what it no longer wants. An id is not used again before its answer or its cancellation.
 */
#ifndef BASE_GATE_WIRE_H
#define BASE_GATE_WIRE_H

#include <stddef.h>
#include <stdint.h>

enum { GATE_WIRE_HOST_MAX = 255, GATE_WIRE_DETAIL_MAX = 200 };

struct gate_ask {
	uint32_t id;
	uint16_t port;		       /* 0: cancel */
	char host[GATE_WIRE_HOST_MAX]; /* 1 to 255 bytes; none with port 0 */
};

enum gate_stage {
	GATE_STAGE_OK,
	GATE_STAGE_DNS,	    /* the name has no address, or the lookup failed */
	GATE_STAGE_CONNECT, /* no address could be connected to in time */
	GATE_STAGE_REFUSED, /* (name, port) is on no route, or its addresses may not be dialled */
	GATE_STAGES,
};

struct gate_reply {
	uint32_t id;
	int32_t rc; /* 0 or -errno */
	uint32_t lookup_us, connect_us;
	uint8_t stage; /* enum gate_stage; 0 when and only when rc is 0 */
	char detail
		[GATE_WIRE_DETAIL_MAX]; /* for people, printable ASCII, without NUL; may be empty */
};

/* What a message has besides its text. */
#define GATE_ASK_HEAD	offsetof(struct gate_ask, host)
#define GATE_REPLY_HEAD offsetof(struct gate_reply, detail)

_Static_assert(offsetof(struct gate_ask, host) == 6, "no padding inside");
_Static_assert(offsetof(struct gate_reply, detail) == 17, "no padding inside");

#endif
