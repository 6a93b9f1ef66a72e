/* SPDX-License-Identifier: Apache-2.0
 *
 * A connected socket to (name, port). Three ways, chosen at start:
 *   gate fd   asked of the gate, which resolves and dials on the host and hands the descriptor over
 *   relay     the gate's resolver and listeners: an ordinary lookup and connect, addresses unchecked
 *             here since the gate checks them
 *   own       where there is no gate (Docker): c-ares, the rules of base/address.h, Happy Eyeballs
 */
#ifndef PROXY_DIAL_H
#define PROXY_DIAL_H

#include <stdint.h>

#include "base/err.h"
#include "proxy/message.h"

struct dial; /* one under way */

enum dial_failure { DIAL_DNS, DIAL_CONNECT, DIAL_REFUSED };

struct dial_result {
	int fd; /* owned by the receiver, connected, non-blocking; -1: failed */
	enum dial_failure failure;
	const char *detail; /* static or borrowed until the callback returns */
	uint32_t lookup_us, connect_us;
};

typedef void dial_done(void *ctx, const struct dial_result *result);

/* `gate_fd` ≥ 0: the gate's SOCK_SEQPACKET. Else `checks_addresses` says own or relay. */
int dial_init(int gate_fd, bool checks_addresses, struct err *err) MUST_CHECK;

/* Calls `done` once, later or before it returns. NULL when it was called already. */
struct dial *dial_start(const char *host, uint16_t port, dial_done *done, void *ctx);
void dial_cancel(struct dial *dial);

#endif
