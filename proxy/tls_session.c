/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions with servers, by whom they are with and for whom; see tls_parts.h. Runs in: the proxy's
 * worker. Holds: the sessions' keys, wiped when they go.
 *
 * The newest of each key, the least recently used of SESSIONS_MAX going first. One is given out until a
 * newer one comes, so that connections opened together all resume: RFC 8446, C.4 advises against it for
 * the client's privacy towards who watches the network, which a proxy with one address has not to lose.
 *
 * Kept is the DER without the server's certificate, 0.4 kB: an SSL_SESSION refers to the whole chain, and
 * a resumed handshake looks at none of it (the result of its verification is a field of its own).
 */
#include <openssl/asn1.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "proxy/loop.h"
#include "proxy/tls_parts.h"

enum {
	SESSIONS_MAX = 1024,
	BUCKETS = 1024,
	MAX_AGE_US = 2 * 3600 * 1000000LL, /* resumed, a certificate is not verified again */
	PEER_TAG = 3, /* [3] of SSL_SESSION_ASN1, ssl/ssl_asn1.c: the server's certificate */
	HEADER_MAX_BYTES = 6,
};

struct entry {
	TAILQ_ENTRY(entry) recent;
	LIST_ENTRY(entry) bucket;
	struct tls_session_key key;
	uint8_t *der;
	size_t len;
	uint64_t since_us;
};

static TAILQ_HEAD(queue, entry) recent = TAILQ_HEAD_INITIALIZER(recent);
static LIST_HEAD(, entry) buckets[BUCKETS];
static size_t count;

void tls_session_key_set(struct tls_session_key *key, const char *host, uint16_t port,
			 const void *partition, bool is_through_upstream)
{
	*key = (struct tls_session_key){
		.port = port,
		.partition = partition,
		.is_through_upstream = is_through_upstream,
	};
	memccpy(key->host, host, '\0', sizeof(key->host) - 1);
}

static size_t bucket_of(const struct tls_session_key *key)
{
	uint32_t hash = 2166136261U ^ key->port; /* FNV-1a */

	for (const char *at = key->host; *at; at++)
		hash = (hash ^ (uint8_t)*at) * 16777619U;
	return hash % BUCKETS;
}

static bool is_same(const struct tls_session_key *a, const struct tls_session_key *b)
{
	return a->port == b->port && a->partition == b->partition &&
	       a->is_through_upstream == b->is_through_upstream && strcmp(a->host, b->host) == 0;
}

static struct entry *find(const struct tls_session_key *key)
{
	struct entry *entry;

	LIST_FOREACH(entry, &buckets[bucket_of(key)], bucket)
	if (is_same(&entry->key, key))
		return entry;
	return NULL;
}

static void forget(struct entry *entry)
{
	TAILQ_REMOVE(&recent, entry, recent);
	LIST_REMOVE(entry, bucket);
	OPENSSL_clear_free(entry->der, entry->len);
	free(entry);
	count--;
}

/* Copies the elements of der[len], a SEQUENCE, but the certificate. Returns their length; 0: malformed. */
static size_t copy_elements(const uint8_t *der, size_t len, uint8_t *out)
{
	const unsigned char *at = der, *end;
	long size = 0;
	int tag, class;
	size_t copied = 0;

	if (ASN1_get_object(&at, &size, &tag, &class, (long)len) & 0x80)
		return 0;
	for (end = at + size; at < end;) {
		const unsigned char *start = at;

		if (ASN1_get_object(&at, &size, &tag, &class, end - at) & 0x80)
			return 0;
		at += size;
		if (class == V_ASN1_CONTEXT_SPECIFIC && tag == PEER_TAG)
			continue;
		memcpy(out + copied, start, (size_t)(at - start));
		copied += (size_t)(at - start);
	}
	return copied;
}

/* The session's DER without the certificate, to be freed with OPENSSL_clear_free, or NULL. */
static uint8_t *serialise(SSL_SESSION *session, size_t *ret_len)
{
	unsigned char *whole = NULL, *slim = NULL;
	int whole_len = i2d_SSL_SESSION(session, &whole);
	uint8_t *elements = whole_len > 0 ? OPENSSL_malloc((size_t)whole_len) : NULL;
	size_t len = elements ? copy_elements(whole, (size_t)whole_len, elements) : 0;

	if (len && (slim = OPENSSL_malloc(len + HEADER_MAX_BYTES))) {
		unsigned char *at = slim;

		ASN1_put_object(&at, 1, (int)len, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
		memcpy(at, elements, len);
		*ret_len = (size_t)(at - slim) + len;
	}
	OPENSSL_clear_free(elements, whole_len > 0 ? (size_t)whole_len : 0);
	OPENSSL_clear_free(whole, whole_len > 0 ? (size_t)whole_len : 0);
	return slim;
}

void tls_session_put(const struct tls_session_key *key, SSL_SESSION *session)
{
	struct entry *entry = find(key);
	size_t len = 0;
	uint8_t *der;

	if (entry)
		forget(entry);
	der = serialise(session, &len);
	entry = der ? calloc(1, sizeof(*entry)) : NULL;
	if (!entry) {
		OPENSSL_clear_free(der, len);
		return;
	}
	*entry = (struct entry){ .key = *key, .der = der, .len = len, .since_us = clock_us() };
	if (count == SESSIONS_MAX)
		forget(TAILQ_LAST(&recent, queue));
	TAILQ_INSERT_HEAD(&recent, entry, recent);
	LIST_INSERT_HEAD(&buckets[bucket_of(key)], entry, bucket);
	count++;
}

SSL_SESSION *tls_session_get(const struct tls_session_key *key)
{
	struct entry *entry = find(key);
	const unsigned char *der;

	if (!entry)
		return NULL;
	if (clock_us() - entry->since_us > MAX_AGE_US) {
		forget(entry);
		return NULL;
	}
	TAILQ_REMOVE(&recent, entry, recent);
	TAILQ_INSERT_HEAD(&recent, entry, recent);
	der = entry->der;
	SSL_SESSION *session = d2i_SSL_SESSION(NULL, &der, (long)entry->len);
	if (!session)
		ERR_clear_error();
	return session;
}

void tls_session_drop(const struct tls_session_key *key)
{
	struct entry *entry = find(key);

	if (entry)
		forget(entry);
}

void tls_session_clear(void)
{
	while (!TAILQ_EMPTY(&recent))
		forget(TAILQ_FIRST(&recent));
}
