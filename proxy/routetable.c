/* SPDX-License-Identifier: Apache-2.0
 *
 * Routes by host; see routetable.h. Runs in: the proxy's worker. Pure. Holds: nothing secret.
 *
 * Open addressing over the distinct hosts, at most half full; the routes of one host are a list in the
 * order of the file. A wildcard `*.example.net` stands under `.example.net`, which no exact host can be.
 * Hosts are hashed from their last byte to the first: one pass over a name gives the hash of each of
 * its suffixes. The keys come from the manifest, so nobody can choose them to collide; names that are only
 * looked up cannot make a chain longer.
 */
#include "proxy/routetable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/message.h"

enum { MIN_SLOTS = 8, MAX_DOTS = HOST_BYTES / 2 };

static const uint32_t NO_ROUTE = UINT32_MAX;

struct slot {
	uint32_t hash;
	uint32_t first; /* number of a route, or NO_ROUTE: free */
};

struct routetable {
	size_t references;
	struct proxy_routes routes; /* in the order of the file */
	struct slot *slots;
	size_t slot_count; /* a power of two */
	uint32_t *next;	   /* for each route the number of the next one of its host, or NO_ROUTE */
};

/* FNV-1a, a step. */
static uint32_t hash_step(uint32_t hash, char c)
{
	return (hash ^ (unsigned char)c) * 16777619u;
}

static const uint32_t HASH_START = 2166136261u;

static uint32_t hash_of(const char *key)
{
	uint32_t hash = HASH_START;

	for (size_t i = strlen(key); i > 0; i--)
		hash = hash_step(hash, key[i - 1]);
	return hash;
}

static const char *key_of(const struct proxy_route *route)
{
	return route->host[0] == '*' ? route->host + 1 : route->host;
}

/* The slot that holds the key, or the free one where it would stand. The hash is folded, since the low
 * bits of FNV depend on the low bits of the text alone. */
static struct slot *slot_of(const struct routetable *table, const char *key, uint32_t hash)
{
	size_t mask = table->slot_count - 1;

	for (size_t i = (hash ^ hash >> 16) & mask;; i = (i + 1) & mask) {
		struct slot *slot = &table->slots[i];
		if (slot->first == NO_ROUTE)
			return slot;
		if (slot->hash == hash && !strcmp(key_of(&table->routes.items[slot->first]), key))
			return slot;
	}
}

/* Goes from the last route to the first, so that each list ends up in the order of the file. */
static void fill(struct routetable *table)
{
	for (size_t i = 0; i < table->slot_count; i++)
		table->slots[i].first = NO_ROUTE;
	for (size_t i = table->routes.count; i-- > 0;) {
		const char *key = key_of(&table->routes.items[i]);
		uint32_t hash = hash_of(key);
		struct slot *slot = slot_of(table, key, hash);
		table->next[i] = slot->first;
		*slot = (struct slot){ hash, (uint32_t)i };
	}
}

/* 0 or -ENOMEM. */
static int make_room(struct routetable *table, size_t count)
{
	table->slot_count = MIN_SLOTS;
	while (table->slot_count < 2 * count)
		table->slot_count *= 2;
	table->slots = calloc(table->slot_count, sizeof(*table->slots));
	table->next = calloc(count + 1, sizeof(*table->next));
	return table->slots && table->next ? 0 : -ENOMEM;
}

static void free_table(struct routetable *table)
{
	routes_clear(&table->routes);
	free(table->slots);
	free(table->next);
	free(table);
}

struct routetable *routetable_new(struct proxy_routes *routes)
{
	struct routetable *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	if (make_room(table, routes->count) < 0) {
		free_table(table);
		return NULL;
	}
	table->references = 1;
	table->routes = *routes;
	*routes = (struct proxy_routes){ 0 };
	fill(table);
	return table;
}

struct routetable *routetable_ref(struct routetable *table)
{
	table->references++;
	return table;
}

void routetable_unref(struct routetable *table)
{
	if (table && --table->references == 0)
		free_table(table);
}

/* The first route of the best match, or NO_ROUTE. */
static uint32_t best_match(const struct routetable *table, const char *host)
{
	struct suffix {
		uint32_t at, hash;
	} suffixes[MAX_DOTS];
	size_t count = 0;
	uint32_t hash = HASH_START;

	for (size_t i = strnlen(host, HOST_BYTES); i > 0; i--) {
		hash = hash_step(hash, host[i - 1]);
		if (host[i - 1] == '.' && count < MAX_DOTS)
			suffixes[count++] = (struct suffix){ (uint32_t)i - 1, hash };
	}
	uint32_t found = slot_of(table, host, hash)->first;
	while (found == NO_ROUTE && count > 0) {
		count--;
		found = slot_of(table, host + suffixes[count].at, suffixes[count].hash)->first;
	}
	return found;
}

static bool has_port(const struct proxy_route *route, uint16_t port)
{
	for (size_t i = 0; i < route->port_count; i++)
		if (route->ports[i] == port)
			return true;
	return false;
}

const struct proxy_route *routetable_find(const struct routetable *table, const char *host,
					  uint16_t port)
{
	for (uint32_t i = best_match(table, host); i != NO_ROUTE; i = table->next[i])
		if (has_port(&table->routes.items[i], port))
			return &table->routes.items[i];
	return NULL;
}

bool routetable_has_host(const struct routetable *table, const char *host)
{
	return best_match(table, host) != NO_ROUTE;
}
