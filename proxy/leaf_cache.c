/* SPDX-License-Identifier: Apache-2.0
 *
 * Leaves by name, the least recently used going first; see leaf_cache.h. Runs in: the proxy's worker.
 * Holds: the leaves' private key, which is not the CA's.
 *
 * A certificate is 0.5 kB as DER and 5 kB parsed, which takes 0.1 ms: those used last stay parsed.
 *
 *   leaf_get, first time ─▶ asked ──signer's answer──▶ has a certificate ──1024 newer ones──▶ freed
 *                             └──refused──▶ freed, its waiters told
 *
 * At most IN_FLIGHT_MAX questions lie in the socket, so that asking never finds it full and the signer
 * never waits for us while we wait for it; the others stand in `unasked`, in order. The signer sends the
 * leaves' key before the first leaf: where there is a leaf, there is the key.
 */
#include "proxy/leaf_cache.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "proxy/loop.h"
#include "proxy/signer.h"

enum { IN_FLIGHT_MAX = 16, BUCKETS = 2048 };

struct leaf {
	TAILQ_ENTRY(leaf) others; /* in `recent`, `unasked` or `asked` */
	TAILQ_ENTRY(leaf) others_parsed;
	LIST_ENTRY(leaf) bucket;
	TAILQ_HEAD(, leaf_waiter) waiters;
	uint8_t *der; /* NULL: asked for, or to be */
	size_t len;
	X509 *cert; /* NULL, or parsed and in `parsed` */
	char host[];
};

TAILQ_HEAD(leaf_queue, leaf);

static struct leaf_queue recent = TAILQ_HEAD_INITIALIZER(
	recent); /* with certificates; newest first */
static struct leaf_queue unasked = TAILQ_HEAD_INITIALIZER(unasked);
static struct leaf_queue asked = TAILQ_HEAD_INITIALIZER(asked); /* in the order of their answers */
static struct leaf_queue parsed = TAILQ_HEAD_INITIALIZER(parsed); /* newest first */
static LIST_HEAD(, leaf) buckets[BUCKETS];
static size_t recent_count, asked_count, parsed_count;
static EVP_PKEY *leaf_key;
static struct source signer = { .fd = -1 };
static void (*on_signer_lost)(const char *why);

/* FNV-1a. Names are chosen by the client, but no more than LEAVES_MAX are kept. */
static size_t bucket_of(const char *host)
{
	uint32_t hash = 2166136261U;

	for (; *host; host++)
		hash = (hash ^ (uint8_t)*host) * 16777619U;
	return hash % BUCKETS;
}

static struct leaf *find(const char *host)
{
	struct leaf *leaf;

	LIST_FOREACH(leaf, &buckets[bucket_of(host)], bucket)
	if (strcmp(leaf->host, host) == 0)
		return leaf;
	return NULL;
}

static struct leaf *make(const char *host)
{
	size_t size = strlen(host) + 1;
	struct leaf *leaf = calloc(1, sizeof(*leaf) + size);

	if (!leaf)
		return NULL;
	memcpy(leaf->host, host, size);
	TAILQ_INIT(&leaf->waiters);
	LIST_INSERT_HEAD(&buckets[bucket_of(host)], leaf, bucket);
	return leaf;
}

static void drop_parsed(struct leaf *leaf)
{
	if (!leaf->cert)
		return;
	TAILQ_REMOVE(&parsed, leaf, others_parsed);
	parsed_count--;
	X509_free(leaf->cert); /* connections have references of their own */
	leaf->cert = NULL;
}

/* Its certificate, parsed, as the newest of those; NULL: out of memory. */
static X509 *parse(struct leaf *leaf)
{
	const unsigned char *der = leaf->der;
	X509 *cert = leaf->cert;

	if (cert) {
		TAILQ_REMOVE(&parsed, leaf, others_parsed);
	} else {
		if (!(cert = d2i_X509(NULL, &der, (long)leaf->len))) {
			ERR_clear_error();
			return NULL;
		}
		if (parsed_count == LEAVES_PARSED_MAX)
			drop_parsed(TAILQ_LAST(&parsed, leaf_queue));
		parsed_count++;
	}
	TAILQ_INSERT_HEAD(&parsed, leaf, others_parsed);
	return leaf->cert = cert;
}

/* It is in no queue but `parsed` any more, and has no waiter. */
static void leaf_free(struct leaf *leaf)
{
	drop_parsed(leaf);
	LIST_REMOVE(leaf, bucket);
	free(leaf->der);
	free(leaf);
}

/* Each is off the list before it is called: it may do anything, also unawait another. */
static void tell_waiters(struct leaf *leaf, int rc)
{
	struct leaf_waiter *waiter;

	while ((waiter = TAILQ_FIRST(&leaf->waiters))) {
		leaf_unawait(waiter);
		waiter->on_leaf(waiter, rc);
	}
}

/* Nobody finds it any more: who asks for the same name while its waiters are told, asks anew. */
static void refuse(struct leaf *leaf)
{
	LIST_REMOVE(leaf, bucket);
	tell_waiters(leaf, -EIO);
	free(leaf);
}

static void ask_more(void)
{
	struct leaf *leaf;

	while (asked_count < IN_FLIGHT_MAX && (leaf = TAILQ_FIRST(&unasked))) {
		/* A signer that is gone is found out by reading its socket. */
		if (signer_ask(signer.fd, leaf->host) < 0)
			return;
		TAILQ_REMOVE(&unasked, leaf, others);
		TAILQ_INSERT_TAIL(&asked, leaf, others);
		asked_count++;
	}
}

static void refuse_all(struct leaf_queue *queue)
{
	struct leaf *leaf;

	while ((leaf = TAILQ_FIRST(queue))) {
		TAILQ_REMOVE(queue, leaf, others);
		refuse(leaf);
	}
}

static void signer_lost(const char *why)
{
	loop_remove(&signer);
	fd_close(&signer.fd);
	refuse_all(&asked);
	refuse_all(&unasked);
	asked_count = 0;
	if (on_signer_lost)
		on_signer_lost(why);
}

static int take_leaf(struct leaf *leaf, const struct signer_answer *answer)
{
	if (answer->kind != SIGNER_LEAF || !(leaf->der = malloc(answer->len)))
		return -EIO;
	memcpy(leaf->der, answer->bytes, answer->len);
	leaf->len = answer->len;
	if (recent_count == LEAVES_MAX) {
		struct leaf *oldest = TAILQ_LAST(&recent, leaf_queue);

		TAILQ_REMOVE(&recent, oldest, others);
		leaf_free(oldest);
		recent_count--;
	}
	TAILQ_INSERT_HEAD(&recent, leaf, others);
	recent_count++;
	return 0;
}

static int take_answer(const struct signer_answer *answer)
{
	struct leaf *leaf = TAILQ_FIRST(&asked);

	if (answer->kind == SIGNER_KEY && !leaf_key) {
		const unsigned char *der = answer->bytes;

		leaf_key = d2i_AutoPrivateKey(NULL, &der, (long)answer->len);
		return leaf_key ? 0 : -EIO;
	}
	if ((answer->kind != SIGNER_LEAF && answer->kind != SIGNER_REFUSED) || !leaf_key || !leaf ||
	    strcmp(leaf->host, answer->host) != 0)
		return -EPROTO;
	TAILQ_REMOVE(&asked, leaf, others);
	asked_count--;
	if (take_leaf(leaf, answer) < 0)
		refuse(leaf);
	else
		tell_waiters(leaf, 0);
	return 0;
}

static void on_answer(struct source *source, uint32_t events)
{
	struct signer_answer answer;
	struct err why;
	int rc;

	(void)events;
	err_set(&why, EPIPE, "the signer of leaf certificates has ended");
	while ((rc = signer_receive(source->fd, &answer)) == 0 && (rc = take_answer(&answer)) == 0)
		;
	if (rc == -EPROTO && answer.kind == SIGNER_FAILED)
		err_set(&why, EIO, "%.*s", (int)answer.len, (const char *)answer.bytes);
	explicit_bzero(answer.bytes, sizeof(answer.bytes)); /* the key was there */
	if (rc != -EAGAIN)
		signer_lost(why.text);
	else
		ask_more();
}

int leaf_cache_init(int signer_fd, void (*on_lost)(const char *why), struct err *err)
{
	cleanup_fd int owned_fd = signer_fd;
	int rc;

	signer = (struct source){ signer_fd, on_answer };
	rc = loop_add_level(&signer);
	if (rc < 0) {
		signer.fd = -1;
		return err_sys(err, -rc, "the signer's socket");
	}
	on_signer_lost = on_lost;
	take_fd(&owned_fd);
	return 0;
}

static struct leaf *ask(const char *host)
{
	struct leaf *leaf = signer.fd < 0 ? NULL : make(host);

	if (!leaf)
		return NULL;
	TAILQ_INSERT_TAIL(&unasked, leaf, others);
	ask_more();
	return leaf;
}

int leaf_get(const char *host, X509 **ret_leaf, EVP_PKEY **ret_key)
{
	struct leaf *leaf = find(host);
	X509 *cert;

	if (!leaf && !(leaf = ask(host)))
		return -EIO;
	if (!leaf->der)
		return -EAGAIN;
	if (!(cert = parse(leaf)))
		return -EIO;
	TAILQ_REMOVE(&recent, leaf, others);
	TAILQ_INSERT_HEAD(&recent, leaf, others);
	*ret_leaf = cert;
	*ret_key = leaf_key;
	return 0;
}

void leaf_prefetch(const char *host)
{
	/* A failure shows when it is wanted. */
	if (!find(host))
		ask(host);
}

void leaf_await(const char *host, struct leaf_waiter *waiter)
{
	struct leaf *leaf = find(host);

	waiter->leaf = leaf;
	TAILQ_INSERT_TAIL(&leaf->waiters, waiter, others);
}

void leaf_unawait(struct leaf_waiter *waiter)
{
	if (!waiter->leaf)
		return;
	TAILQ_REMOVE(&waiter->leaf->waiters, waiter, others);
	waiter->leaf = NULL;
}

static void free_all(struct leaf_queue *queue)
{
	struct leaf *leaf;

	while ((leaf = TAILQ_FIRST(queue))) {
		TAILQ_REMOVE(queue, leaf, others);
		while (!TAILQ_EMPTY(&leaf->waiters))
			leaf_unawait(TAILQ_FIRST(&leaf->waiters));
		leaf_free(leaf);
	}
}

void leaf_cache_clear(void)
{
	if (signer.fd >= 0)
		loop_remove(&signer);
	fd_close(&signer.fd);
	free_all(&recent);
	free_all(&asked);
	free_all(&unasked);
	recent_count = asked_count = 0;
	EVP_PKEY_free(leaf_key);
	leaf_key = NULL;
}
