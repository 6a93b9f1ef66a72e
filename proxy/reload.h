/* SPDX-License-Identifier: Apache-2.0
 *
 * The routes in force, and the signals. SIGHUP reads the routes anew, SIGTERM and SIGINT drain.
 *
 * A table is counted: an exchange holds the one that it was judged by, since its verdict points into it
 * and connections are pooled by route. A reload replaces the table for those that come later; the old
 * one goes when the last holder lets go.
 */
#ifndef PROXY_RELOAD_H
#define PROXY_RELOAD_H

#include "base/err.h"
#include "config/routes.h"
#include "proxy/settings.h"

struct route_table {
	struct proxy_routes routes;
	size_t holders;
};

/* Reads settings->routes_path (borrowed, also for later reloads). */
int reload_init(const struct settings *settings, struct err *err) MUST_CHECK;

/* Blocks SIGHUP, SIGTERM and SIGINT, and takes them from the loop. */
int reload_watch_signals(struct err *err) MUST_CHECK;

/* The table in force, borrowed: valid until the caller returns to the loop, unless held. */
struct route_table *routes_now(void);
/* Returns the same table, held. */
struct route_table *routes_hold(struct route_table *table);
/* NULL is allowed. */
void routes_release(struct route_table *table);

/* SIGTERM came: nothing new is begun, a connection is closed after the answer under way. */
bool reload_is_draining(void);

#endif
