/* SPDX-License-Identifier: Apache-2.0
 *
 * The routes in force, and the signals. SIGHUP reads the routes anew, SIGTERM and SIGINT drain.
 *
 * An exchange keeps a reference (routetable_ref) to the table that it was judged by, since its verdict
 * points into it. A reload puts another in force for those that come later.
 */
#ifndef PROXY_RELOAD_H
#define PROXY_RELOAD_H

#include <stdbool.h>

#include "base/err.h"
#include "proxy/routetable.h"
#include "proxy/settings.h"

enum { RELOAD_DRAIN_MS = 10 * 1000 }; /* what is under way at SIGTERM has that long */

/* Reads settings->routes_path, which is borrowed, also for later reloads. */
int reload_init(const struct settings *settings, struct err *err) MUST_CHECK;

/* Blocks SIGHUP, SIGTERM and SIGINT and takes them by way of the loop. */
int reload_watch_signals(struct err *err) MUST_CHECK;

/* The table in force, borrowed: ends with a later return to the loop, unless a reference is taken. */
struct routetable *routes_now(void);

/* SIGTERM came: nothing new is begun, and a connection closes after the answer under way. */
bool reload_is_draining(void);

/* To be called when client_count() has become 0. */
void reload_clients_gone(void);

#endif
