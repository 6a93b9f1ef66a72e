/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client is told when the proxy itself answers: JSON, and what to do about it (docs/audit.md,
 * "What the client is told"). rootfs/mitmproxy/egress_proxy/answer.py writes the same bytes.
 */
#ifndef PROXY_ANSWER_H
#define PROXY_ANSWER_H

#include "base/str.h"
#include "proxy/message.h"

/* Appends the body, one line of ASCII. `reason` is a word of docs/audit.md; `place` may be NULL or without
 * a host, `path.at` NULL (then null is written), `rule` NULL. `detail` and `path` may hold any bytes,
 * which are read as Latin-1. */
void answer_body(struct buf *out, unsigned status, const char *reason, const char *detail,
		 const struct authority *place, struct span path, const char *rule);

#endif
