/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker's leaves: a certificate for each of the last names, asked of the signer when it is first
 * wanted. Nothing here blocks: who finds no leaf waits, and several may wait for one.
 */
#ifndef PROXY_LEAF_CACHE_H
#define PROXY_LEAF_CACHE_H

#include <openssl/types.h>
#include <sys/queue.h>

#include "base/err.h"

enum { LEAVES_MAX = 1024, LEAVES_PARSED_MAX = 128 };

struct leaf;

struct leaf_waiter { /* embedded in its owner; zero-initialise */
	/* 0: leaf_get has it; -EIO: refused, or the signer is gone. */
	void (*on_leaf)(struct leaf_waiter *waiter, int rc);
	struct leaf *leaf; /* NULL: does not wait */
	TAILQ_ENTRY(leaf_waiter) others;
};

/* Takes the signer's socket over and adds it to the loop. `on_lost` is called once, when the signer is
 * gone and no leaf will be made any more: `why` is a sentence. */
int leaf_cache_init(int signer_fd, void (*on_lost)(const char *why), struct err *err) MUST_CHECK;

/* 0: *ret_leaf and *ret_key, borrowed until the next call. -EAGAIN: asked for; -EIO: the signer is
 * gone, or out of memory. */
int leaf_get(const char *host, X509 **ret_leaf, EVP_PKEY **ret_key) MUST_CHECK;

/* Asks for it ahead, if it is not there. */
void leaf_prefetch(const char *host);

/* Right after leaf_get(host) said -EAGAIN: `on_leaf` is called once, from the loop. */
void leaf_await(const char *host, struct leaf_waiter *waiter);
void leaf_unawait(struct leaf_waiter *waiter);

/* Frees all and closes the socket; nobody is called. */
void leaf_cache_clear(void);

#endif
