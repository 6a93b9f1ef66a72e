/* SPDX-License-Identifier: Apache-2.0
 *
 * The real credentials; see tokens.h. Runs in: the proxy's worker, before anything else. Holds: every token.
 *
 * The kernel lays the environment onto the stack at exec, and /proc/PID/environ reads those very bytes
 * for as long as the process lives; unsetenv(3) only takes the pointer away. So the values are copied
 * into a mapping of their own, and overwritten where they lay, whether or not they are then accepted.
 */
#include "proxy/tokens.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char PREFIX[] = "EGRESS_PROXY_TOKEN_";
enum { SLOT_DIGITS = 6 }; /* no route can name a longer one */

/* How long a token's name at the start of `entry` is, or 0: the prefix and a number without leading
 * zeros. `end` follows it. */
static size_t name_len(const char *entry, char end)
{
	const char *digits = entry + sizeof(PREFIX) - 1;

	if (strncmp(entry, PREFIX, sizeof(PREFIX) - 1) != 0)
		return 0;
	size_t count = strspn(digits, "0123456789");
	if (!count || digits[count] != end || (digits[0] == '0' && count > 1))
		return 0;
	return sizeof(PREFIX) - 1 + count;
}

/* The slot of a name of that length; -1 when it is too long. */
static long slot_of(const char *name, size_t len)
{
	if (len > sizeof(PREFIX) - 1 + SLOT_DIGITS)
		return -1;
	return strtol(name + sizeof(PREFIX) - 1, NULL, 10);
}

/* How many bytes all values of the tokens among the entries take. */
static size_t bytes_needed(char **entries)
{
	size_t bytes = 0;

	for (char **entry = entries; entry && *entry; entry++) {
		size_t len = name_len(*entry, '=');
		bytes += len ? strlen(*entry + len + 1) : 0;
	}
	return bytes;
}

static int map_arena(struct tokens *tokens, char **entries, struct err *err)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = (bytes_needed(entries) / page + 1) * page;
	void *arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (arena == MAP_FAILED)
		return err_sys(err, errno, "memory for the tokens");
	/* RLIMIT_MEMLOCK may forbid it; swap then is the host's affair. */
	(void)!mlock(arena, size);
	if (madvise(arena, size, MADV_DONTDUMP) < 0 || madvise(arena, size, MADV_DONTFORK) < 0) {
		int rc = err_sys(err, errno, "madvise on the tokens' memory");
		munmap(arena, size);
		return rc;
	}
	tokens->arena = arena;
	tokens->arena_size = size;
	return 0;
}

/* Where the slot stands, or would stand. */
static size_t position_of(const struct tokens *tokens, unsigned slot)
{
	size_t low = 0, high = tokens->count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (tokens->items[middle].slot < slot)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool has_slot(const struct tokens *tokens, size_t position, unsigned slot)
{
	return position < tokens->count && tokens->items[position].slot == slot;
}

/* Of a variable that stands there twice the first counts, as for getenv(3). */
static int keep(struct tokens *tokens, unsigned slot, const char *value, struct err *err)
{
	size_t at = position_of(tokens, slot), len = strlen(value);

	if (!len || has_slot(tokens, at, slot))
		return 0;
	if (tokens->count == TOKENS_MAX)
		return err_set(err, E2BIG, "more than %d tokens", TOKENS_MAX);
	memcpy(tokens->arena + tokens->used, value, len);
	memmove(&tokens->items[at + 1], &tokens->items[at],
		(tokens->count - at) * sizeof(tokens->items[0]));
	tokens->items[at] = (struct token){ slot, { tokens->arena + tokens->used, len } };
	tokens->used += len;
	tokens->count++;
	return 0;
}

static int check(const char *name, size_t len, const char *value, struct err *err)
{
	if (slot_of(name, len) < 0)
		return err_set(err, EINVAL, "%.*s: no route can name this slot", (int)len, name);
	if (strpbrk(value, "\r\n"))
		return err_set(err, EINVAL, "%.*s holds a CR, LF or NUL", (int)len, name);
	for (; *value; value++)
		if (*value < 0x20 || *value > 0x7e)
			return err_set(err, EINVAL,
				       "%.*s holds a byte that no header field may have", (int)len,
				       name);
	return 0;
}

/* Takes the tokens out of the entries and wipes them there; keeps them as long as `rc` is 0. */
static int take_all(struct tokens *tokens, char **entries, int rc, struct err *err)
{
	char **kept = entries;

	for (char **entry = entries; entry && *entry; entry++) {
		size_t len = name_len(*entry, '=');
		char *value = *entry + len + 1;
		if (!len) {
			*kept++ = *entry;
			continue;
		}
		if (rc == 0)
			rc = check(*entry, len, value, err);
		if (rc == 0)
			rc = keep(tokens, (unsigned)slot_of(*entry, len), value, err);
		explicit_bzero(value, strlen(value));
	}
	if (kept)
		*kept = NULL;
	return rc;
}

static int take_from(char **entries, struct tokens *ret_tokens, struct err *err)
{
	*ret_tokens = (struct tokens){ 0 };
	int rc = take_all(ret_tokens, entries, map_arena(ret_tokens, entries, err), err);

	if (rc < 0)
		tokens_wipe(ret_tokens);
	return rc;
}

int tokens_take(struct tokens *ret_tokens, struct err *err)
{
	return take_from(environ, ret_tokens, err);
}

/* Ends each line with a NUL instead of its LF. */
static int split(char *lines, size_t len, char **ret_entries, struct err *err)
{
	size_t count = 0;

	for (char *line = lines, *end = lines + len; line < end; count++) {
		char *lf = memchr(line, '\n', (size_t)(end - line));

		if (count == TOKENS_MAX)
			return err_set(err, E2BIG, "more than %d tokens", TOKENS_MAX);
		if (!lf || memchr(line, '\0', (size_t)(lf - line)))
			return err_set(err, EINVAL, "line %zu of the tokens has no end, or a NUL",
				       count + 1);
		*lf = '\0';
		if (!name_len(line, '='))
			return err_set(err, EINVAL, "line %zu of the tokens is none", count + 1);
		ret_entries[count] = line;
		line = lf + 1;
	}
	return 0;
}

int tokens_take_lines(char *lines, size_t len, struct tokens *ret_tokens, struct err *err)
{
	char *entries[TOKENS_MAX + 1] = { NULL };
	int rc = split(lines, len, entries, err);

	if (rc == 0)
		rc = take_from(entries, ret_tokens, err);
	explicit_bzero(lines, len);
	return rc;
}

struct span tokens_find(const struct tokens *tokens, const char *env)
{
	size_t len = name_len(env, '\0');
	long slot = len ? slot_of(env, len) : -1;

	if (slot < 0)
		return (struct span){ 0 };
	size_t at = position_of(tokens, (unsigned)slot);
	return has_slot(tokens, at, (unsigned)slot) ? tokens->items[at].value : (struct span){ 0 };
}

void tokens_wipe(struct tokens *tokens)
{
	if (tokens->arena) {
		explicit_bzero(tokens->arena, tokens->arena_size);
		munmap(tokens->arena, tokens->arena_size);
	}
	*tokens = (struct tokens){ 0 };
}
