/* SPDX-License-Identifier: Apache-2.0
 *
 * The pool; see pool.h. Runs in: the proxy's worker.
 *
 * Every connection that is opening, idle or shared (HTTP/2) stands in a hash table by its key; an HTTP/1
 * connection that is at work does not. Of the idle ones there is also a list, the longest idle first: it
 * is what is closed when there are too many. While a connection that may turn out to be HTTP/2 is opening,
 * other requests for the same key wait for it rather than open their own.
 */
#include "proxy/pool.h"

#include <string.h>

#include "proxy/exchange.h"
#include "proxy/upstream.h"

enum { BUCKETS = 512 };

static struct upstream_conn *buckets[BUCKETS];
static struct upstream_conn idle = { .lru_next = &idle, .lru_prev = &idle };
static size_t idle_count;
static unsigned generation; /* moved on by pool_drain */

/* FNV-1a. The names are those of routes, so nobody can choose them to collide. */
void pool_hash(struct upstream_key *key)
{
	uint32_t hash = 2166136261u;

	for (const char *at = key->place.host; *at; at++)
		hash = (hash ^ (uint8_t)*at) * 16777619u;
	hash = (hash ^ key->place.port) * 16777619u;
	key->hash = hash ^ hash >> 16;
}

static void make_key(const struct exchange *exchange, struct upstream_key *key)
{
	const struct request *request = &exchange->request;

	key->place.port = exchange->verdict.place.port;
	memcpy(key->place.host, exchange->verdict.place.host, sizeof(key->place.host));
	key->is_https = request->is_https;
	key->wants_h2 = request->is_https && request->is_http2;
	key->is_through = exchange->is_through;
	key->route = exchange->verdict.route;
	pool_hash(key);
}

static bool is_same(const struct upstream_key *a, const struct upstream_key *b)
{
	return a->hash == b->hash && a->place.port == b->place.port && a->route == b->route &&
	       a->is_https == b->is_https && a->wants_h2 == b->wants_h2 &&
	       a->is_through == b->is_through && !strcmp(a->place.host, b->place.host);
}

static void list(struct upstream_conn *conn)
{
	struct upstream_conn **bucket = &buckets[conn->key.hash % BUCKETS];

	if (conn->hash_link)
		return;
	conn->hash_next = *bucket;
	if (*bucket)
		(*bucket)->hash_link = &conn->hash_next;
	conn->hash_link = bucket;
	*bucket = conn;
}

static void unlist(struct upstream_conn *conn)
{
	if (!conn->hash_link)
		return;
	*conn->hash_link = conn->hash_next;
	if (conn->hash_next)
		conn->hash_next->hash_link = conn->hash_link;
	conn->hash_link = NULL;
	conn->hash_next = NULL;
}

static void wake(struct upstream_conn *conn)
{
	if (!conn->is_idle)
		return;
	conn->is_idle = false;
	conn->lru_next->lru_prev = conn->lru_prev;
	conn->lru_prev->lru_next = conn->lru_next;
	idle_count--;
}

static void put_to_rest(struct upstream_conn *conn)
{
	if (conn->is_idle)
		return;
	conn->is_idle = true;
	conn->lru_next = &idle;
	conn->lru_prev = idle.lru_prev;
	idle.lru_prev->lru_next = conn;
	idle.lru_prev = conn;
	if (++idle_count > POOL_IDLE_MAX)
		upstream_close(idle.lru_next);
}

void pool_forget(struct upstream_conn *conn)
{
	unlist(conn);
	wake(conn);
}

/* Gives the exchange to a connection that has room for it. */
static void give(struct upstream_conn *conn, struct exchange *exchange)
{
	wake(conn);
	if (*conn->request_id)
		memcpy(exchange->request_id, conn->request_id, sizeof(conn->request_id));
	exchange->sent_us = clock_us();
	conn->ops->take(conn, exchange);
	if (!conn->is_closed && !conn->ops->has_room(conn))
		unlist(conn);
}

static void wait_for(struct upstream_conn *conn, struct exchange *exchange)
{
	exchange->wish.conn = conn;
	exchange->wish.next = conn->waiting;
	conn->waiting = exchange;
}

static bool is_opening(const struct upstream_conn *conn)
{
	return conn->waiting && !conn->is_opened;
}

/* One that can serve at once, or else one that is being opened and may serve several. */
static struct upstream_conn *find(const struct upstream_key *key, const struct pool_request *wish)
{
	struct upstream_conn *opening = NULL;

	for (struct upstream_conn *conn = buckets[key->hash % BUCKETS]; conn;
	     conn = conn->hash_next) {
		if (!is_same(&conn->key, key))
			continue;
		if (conn->is_opened && !wish->wants_fresh && conn->ops->has_room(conn))
			return conn;
		if (is_opening(conn) && key->wants_h2 && !wish->is_alone)
			opening = conn;
	}
	return opening;
}

void pool_acquire(struct exchange *exchange)
{
	struct upstream_key key;
	struct upstream_conn *conn;

	make_key(exchange, &key);
	conn = find(&key, &exchange->wish);
	if (conn && conn->is_opened) {
		give(conn, exchange);
		return;
	}
	if (!conn) {
		conn = upstream_new(&key);
		if (!conn) {
			exchange_upstream_failed(exchange, 502, "upstream_error", "out of memory");
			return;
		}
		conn->generation = generation;
		list(conn);
		wait_for(conn, exchange);
		upstream_open(conn);
		return;
	}
	wait_for(conn, exchange);
}

void pool_cancel(struct exchange *exchange)
{
	struct upstream_conn *conn = exchange->wish.conn;
	struct exchange **link;

	if (!conn)
		return;
	exchange->wish.conn = NULL;
	for (link = &conn->waiting; *link != exchange;)
		link = &(*link)->wish.next;
	*link = exchange->wish.next;
	if (!conn->waiting)
		upstream_close(conn);
}

static struct exchange *next_waiting(struct upstream_conn *conn)
{
	struct exchange *exchange = conn->waiting;

	if (!exchange)
		return NULL;
	conn->waiting = exchange->wish.next;
	exchange->wish.conn = NULL;
	exchange->wish.next = NULL;
	return exchange;
}

static void note_opening(const struct upstream_conn *conn, struct exchange *exchange)
{
	exchange->record.phases.dial = conn->phases.dial;
	exchange->record.phases.connect = conn->phases.connect;
	exchange->record.phases.tls = conn->phases.tls;
	if (*conn->request_id)
		memcpy(exchange->request_id, conn->request_id, sizeof(conn->request_id));
}

void pool_opened(struct upstream_conn *conn)
{
	struct exchange *exchange = next_waiting(conn);

	conn->is_opened = true;
	if (exchange)
		note_opening(conn, exchange);
	/* A take may close the connection; what waits then looks for another. */
	for (; exchange; exchange = next_waiting(conn)) {
		if (!conn->is_closed && conn->ops->has_room(conn)) {
			give(conn, exchange);
		} else {
			exchange->wish.is_alone = true;
			pool_acquire(exchange);
		}
	}
}

void pool_failed(struct upstream_conn *conn, unsigned status, const char *reason,
		 const char *detail)
{
	struct exchange *exchange;

	pool_forget(conn);
	while ((exchange = next_waiting(conn))) {
		note_opening(conn, exchange);
		exchange_upstream_failed(exchange, status, reason, detail);
	}
	upstream_close(conn);
}

void pool_release(struct upstream_conn *conn, bool is_empty)
{
	if (is_empty && conn->generation != generation) {
		upstream_close(conn);
		return;
	}
	list(conn);
	if (is_empty)
		put_to_rest(conn);
}

bool pool_is_stale(const struct upstream_conn *conn)
{
	return conn->generation != generation;
}

void pool_drain(void)
{
	generation++;
	while (idle.lru_next != &idle)
		upstream_close(idle.lru_next);
	for (size_t i = 0; i < BUCKETS; i++)
		while (buckets[i])
			unlist(buckets[i]);
}
