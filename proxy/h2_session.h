/* SPDX-License-Identifier: Apache-2.0
 *
 * nghttp2 behind h2_link.h: its options and callbacks, and the making of frames. Inside h2_*.c only.
 */
#ifndef PROXY_H2_SESSION_H
#define PROXY_H2_SESSION_H

#include "proxy/h2_link.h"

/* Makes link->session and submits SETTINGS. 0 or -ENOMEM. */
int h2_session_open(struct h2_link *link) MUST_CHECK;

/* Serialises what waits: the number of bytes, at *ret_bytes until the next call for any link. 0: nothing;
 * -EPROTO or -ENOMEM. */
ssize_t h2_session_produce(struct h2_link *link, const uint8_t **ret_bytes) MUST_CHECK;

/* Overwrites what was made, where it may hold a credential. */
void h2_session_wipe(struct h2_link *link);

#endif
