/* SPDX-License-Identifier: Apache-2.0
 *
 * The opening handshake of a WebSocket (RFC 6455, 4), as far as a proxy must know it.
 */
#ifndef PROXY_WEBSOCKET_H
#define PROXY_WEBSOCKET_H

#include "proxy/message.h"

/* Whether the answer's one Sec-WebSocket-Accept is right for the request's Sec-WebSocket-Key. */
bool websocket_is_accepted(const struct fields *request, const struct fields *response);

#endif
