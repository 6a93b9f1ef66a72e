/* SPDX-License-Identifier: Apache-2.0
 *
 * Names and ports: the one form in which hosts are compared, dialled and written. What does not have
 * exactly one reading is refused: `127.1`, `0x7f.0.0.1`, `example.com.`, user information, a zone id,
 * raw non-ASCII. rootfs/mitmproxy/egress_proxy/authority.py is the same in Python.
 */
#ifndef PROXY_AUTHORITY_H
#define PROXY_AUTHORITY_H

#include "base/err.h"
#include "proxy/message.h"

enum { AUTHORITY_BYTES = HOST_BYTES + sizeof("[]:65535") };

/* Parses `host`, `host:port`, `[v6]` or `[v6]:port` (RFC 3986, 3.2, without user information); port 0
 * when none is there. 0 or -EINVAL; *ret is set only on success, and on failure *ret_problem is a static
 * sentence that says what was wrong. */
int authority_parse_or_say(struct span raw, struct authority *ret,
			   const char **ret_problem) MUST_CHECK;

/* The canonical form of one host, a v6 literal with or without brackets. 0 or -EINVAL. */
int authority_canonical_host(struct span text, char out[static HOST_BYTES]) MUST_CHECK;

/* Writes what stands in Host and :authority: the port only where it is not the scheme's own, an IPv6
 * literal in brackets. Returns the length; out[AUTHORITY_BYTES] always suffices, and a smaller `size`
 * cuts the text as snprintf(3) does. */
size_t authority_render(const struct authority *authority, bool is_https, char *out, size_t size);

#endif
