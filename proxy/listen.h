/* SPDX-License-Identifier: Apache-2.0
 *
 * The listening socket: handed over bound and listening (LISTEN_FDS), or made here. Accepted sockets go to
 * client_accept.
 */
#ifndef PROXY_LISTEN_H
#define PROXY_LISTEN_H

#include "base/err.h"
#include "proxy/settings.h"

int listen_start(const struct settings *settings, struct err *err) MUST_CHECK;

/* Closes it: who still waits in the backlog is refused. */
void listen_stop(void);

#endif
