/* SPDX-License-Identifier: Apache-2.0
 *
 * Parts of the manifest that only config/ handles.
 */
#ifndef CONFIG_MANIFEST_PARTS_H
#define CONFIG_MANIFEST_PARTS_H

#include "config/manifest.h"

void manifest_route_clear(struct route *route);

/* Moves the route to the end of the list and leaves an empty one; -ENOMEM leaves it where it
 * was. */
int manifest_take_route(struct manifest *m, struct route *route) MUST_CHECK;

/* Gives a route its one port; 0 stands for 443. */
int manifest_default_port(struct route *route, uint16_t port) MUST_CHECK;

#endif
