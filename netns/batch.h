/* SPDX-License-Identifier: Apache-2.0
 *
 * rtnetlink requests that travel together: one sendmsg(2) carries them all, the kernel does them in
 * order before it returns, and their acknowledgements are read at once. A round trip for each would
 * cost more than the work. A request that fails does not stop those after it; the first failure is
 * what batch_commit reports. Runs in: init (requests that change), agent (the proof that they fail).
 */
#ifndef NETNS_BATCH_H
#define NETNS_BATCH_H

#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { BATCH_REQUESTS = 8, BATCH_BYTES = 2048, BATCH_LOOPBACK_INDEX = 1 };

/* Open with batch_open, close with batch_clear. Reusable after each commit. */
struct batch {
	struct nl_sock *sock;
	uint8_t bytes[BATCH_BYTES];
	size_t len;
	struct {
		uint32_t seq;
		const char *what; /* "address of bottle0": for the sentence; not copied */
	} requests[BATCH_REQUESTS];
	size_t count;
	bool failed; /* a request did not fit or there was no memory: seen by commit */
};

/* The socket belongs to the network namespace that the caller is in now, for good. */
int batch_open(struct batch *batch, struct err *err) MUST_CHECK;
void batch_clear(struct batch *batch);

/* A new request with its fixed header (`header` of `header_len` bytes), to be filled with nla_put_*
 * and handed to batch_add. NULL when out of memory; batch_add takes NULL. */
struct nl_msg *batch_request(int type, int flags, const void *header, size_t header_len);

/* Takes the request. `unfilled` is what the nla_put calls returned, or-ed together. */
void batch_add(struct batch *batch, const char *what, struct nl_msg *msg, int unfilled);

/* Sends what was added; the answers are the caller's to read, from the socket. */
int batch_send(struct batch *batch, struct err *err) MUST_CHECK;

/* Sends what was added and waits for all answers. -errno of the first request that failed. */
int batch_commit(struct batch *batch, struct err *err) MUST_CHECK;

#endif
