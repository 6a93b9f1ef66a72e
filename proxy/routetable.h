/* SPDX-License-Identifier: Apache-2.0
 *
 * A table of routes that is searched by host. Precedence: the exact name, then the longest `*.suffix`,
 * never its apex; a name's own route comes before any wildcard, also where only the wildcard has the port.
 * Does not change once it is made.
 */
#ifndef PROXY_ROUTETABLE_H
#define PROXY_ROUTETABLE_H

#include "config/routes.h"

struct routetable {
	struct proxy_routes routes; /* owned, in the order of the file */
	struct routetable_slot *slots;
	size_t slot_count; /* a power of two */
	uint32_t *next;	   /* for each route the number of the next one of its host, or NO_ROUTE */
};

/* Takes the contents of *routes, which is empty afterwards. 0, or -ENOMEM and *routes is as it was. */
int routetable_init(struct routetable *ret_table, struct proxy_routes *routes) MUST_CHECK;
void routetable_clear(struct routetable *table);

/* `host`: canonical. The route of the pair, or NULL. */
const struct proxy_route *routetable_find(const struct routetable *table, const char *host,
					  uint16_t port);

/* Whether some route names the host, with whatever port. */
bool routetable_has_host(const struct routetable *table, const char *host);

#endif
