/* SPDX-License-Identifier: Apache-2.0
 *
 * Dialling: which way, and the life of a dial; see dial.h. Runs in: the proxy's worker.
 */
#include "proxy/dial.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/dial_parts.h"

static const struct dial_way *way = &dial_by_ourselves;

int dial_init(int gate_fd, bool checks_addresses, struct err *err)
{
	way = gate_fd >= 0 ? &dial_by_gate : &dial_by_ourselves;
	if (gate_fd >= 0)
		return dial_gate_init(gate_fd, err);
	dial_own_init(checks_addresses);
	return 0;
}

struct dial *dial_start(const char *host, uint16_t port, dial_done *done, void *ctx)
{
	const struct dial_result no_memory = { .fd = -1,
					       .failure = DIAL_CONNECT,
					       .detail = "out of memory" };
	struct dial *dial = strlen(host) < HOST_BYTES ? calloc(1, way->size) : NULL;

	if (!dial) {
		done(ctx, &no_memory);
		return NULL;
	}
	dial->way = way;
	dial->done = done;
	dial->ctx = ctx;
	dial->port = port;
	memcpy(dial->host, host, strlen(host));
	way->start(dial);
	return dial;
}

void dial_cancel(struct dial *dial)
{
	dial->way->cancel(dial);
	free(dial);
}

void dial_end(struct dial *dial, const struct dial_result *result)
{
	dial->way->cancel(dial);
	dial->done(dial->ctx, result); /* the detail may lie in the dial */
	free(dial);
}
