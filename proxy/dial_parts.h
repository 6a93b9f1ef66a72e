/* SPDX-License-Identifier: Apache-2.0
 *
 * What the ways of dialling share; see dial.h. Private to proxy/dial*.c.
 */
#ifndef PROXY_DIAL_PARTS_H
#define PROXY_DIAL_PARTS_H

#include <netdb.h>

#include "base/address.h"
#include "proxy/dial.h"

/* First member of each way's own object. */
struct dial {
	const struct dial_way *way;
	dial_done *done;
	void *ctx;
	char host[HOST_BYTES];
	uint16_t port;
};

struct dial_way {
	size_t size; /* of the object, which comes zeroed with the members above set */
	/* Never calls `done`: what fails at once is told by a task. */
	void (*start)(struct dial *dial);
	void (*cancel)(struct dial *dial); /* undoes everything; the object is freed after it */
};

extern const struct dial_way dial_by_gate, dial_by_ourselves;

int dial_gate_init(int gate_fd, struct err *err) MUST_CHECK;
void dial_own_init(bool checks_addresses);

/* Undoes, tells, frees. */
void dial_end(struct dial *dial, const struct dial_result *result);

enum { LOOKUP_ANSWERS_MAX = 8 };

/* What /etc/hosts says, of both families; 0 when the name is not there. */
size_t lookup_in_file(const char *name, struct address ips[static LOOKUP_ANSWERS_MAX]);

/* One question to the name servers: the addresses of one family (AF_INET, AF_INET6). */
struct lookup;

/* `problem`: static, NULL when there are addresses. */
typedef void lookup_done(void *ctx, int family, const struct address *ips, size_t count,
			 const char *problem);

/* NULL when `done` was called already. `ctx` and `done` are not touched after lookup_forget. */
struct lookup *lookup_start(const char *name, int family, lookup_done *done, void *ctx);
void lookup_forget(struct lookup *lookup); /* NULL is allowed */

#endif
