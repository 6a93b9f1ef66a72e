/* SPDX-License-Identifier: Apache-2.0
 *
 * A table of routes that is searched by host. Precedence: the exact name, then the longest `*.suffix`,
 * never its apex; a name's own route comes before any wildcard, also where only the wildcard has the port.
 *
 * Counted references, since a reload puts a new table in force while requests still hold routes of the
 * old one: whoever keeps a `struct proxy_route *` keeps a reference to its table. One thread.
 */
#ifndef PROXY_ROUTETABLE_H
#define PROXY_ROUTETABLE_H

#include "config/routes.h"

struct routetable;

/* Takes the contents of *routes, which is empty afterwards. Returns a table with one reference, or NULL
 * when out of memory (then *routes is as it was). */
struct routetable *routetable_new(struct proxy_routes *routes);

struct routetable *routetable_ref(struct routetable *table); /* returns `table` */
void routetable_unref(struct routetable *table); /* frees it with the last one; NULL is allowed */

/* `host`: canonical. The route of the pair, or NULL. */
const struct proxy_route *routetable_find(const struct routetable *table, const char *host,
					  uint16_t port);

/* Whether some route names the host, with whatever port. */
bool routetable_has_host(const struct routetable *table, const char *host);

#endif
