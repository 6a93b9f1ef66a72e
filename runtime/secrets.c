/* SPDX-License-Identifier: Apache-2.0
 *
 * The one mapping of tokens and key; see secrets.h. Runs in: the launcher.
 *
 *   | no access | records and free room, read-write | no access |
 *
 * The records stand in the mapping themselves, one after the other: a header, the name, the value,
 * both NUL-terminated. Room from secrets_alloc is a record without a name.
 *
 * The environment block is the run of strings that the kernel put on the stack; /proc/<pid>/environ
 * shows exactly these bytes, whatever `environ` points to. Taking a variable out of `environ` alone
 * would leave it there for every process of the same uid to read.
 */
#include "runtime/secrets.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/secrets_parts.h"

enum { ALIGN = 16, SHORTEST_TOKEN = 4, SHORTEST_SEARCHED = 8 };

struct record {
	size_t size; /* of the whole record: a multiple of ALIGN */
	size_t name_len;
	size_t value_len;
	char bytes[] __attribute__((aligned(ALIGN))); /* name NUL value NUL */
};

static const char *record_value(const struct record *record)
{
	return record->bytes + record->name_len + 1;
}

static struct record *record_at(const struct secrets *secrets, size_t offset)
{
	if (offset >= secrets->used)
		return NULL;
	return (struct record *)(void *)(secrets->base + offset);
}

int secrets_init(struct secrets *secrets, struct err *err)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = (SECRETS_BYTES + page - 1) / page * page;
	char *map = mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		return err_sys(err, errno, "mapping for secrets");
	if (mprotect(map + page, size, PROT_READ | PROT_WRITE) < 0 ||
	    secrets_protect(map + page, size) < 0) {
		int saved = errno;

		munmap(map, size + 2 * page);
		return err_sys(err, saved, "mapping for secrets");
	}
	*secrets = (struct secrets){ .base = map + page, .size = size };
	secrets->locked = mlock(secrets->base, size) == 0;
	return 0;
}

void secrets_wipe(struct secrets *secrets)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (!secrets->base)
		return;
	explicit_bzero(secrets->base, secrets->size);
	munmap(secrets->base - page, secrets->size + 2 * page);
	*secrets = (struct secrets){ 0 };
}

static struct record *record_add(struct secrets *secrets, size_t name_len, size_t value_len)
{
	size_t free_bytes = secrets->size - secrets->used;
	struct record *record;
	size_t size;

	if (!secrets->base || name_len > free_bytes || value_len > free_bytes)
		return NULL;
	size = sizeof(*record) + name_len + 1 + value_len + 1;
	size = (size + ALIGN - 1) / ALIGN * ALIGN;
	if (size > free_bytes)
		return NULL;
	record = (struct record *)(void *)(secrets->base + secrets->used);
	*record = (struct record){ .size = size, .name_len = name_len, .value_len = value_len };
	secrets->used += size;
	return record;
}

void *secrets_alloc(struct secrets *secrets, size_t size)
{
	/* ALIGN - 1 bytes of "name", so that the value after its NUL is aligned. */
	struct record *record = record_add(secrets, ALIGN - 1, size);

	return record ? record->bytes + ALIGN : NULL;
}

const char *secrets_get(const struct secrets *secrets, const char *name, size_t *ret_len)
{
	size_t offset = 0;

	for (struct record *r; (r = record_at(secrets, offset)); offset += r->size)
		if (r->name_len == strlen(name) && memcmp(r->bytes, name, r->name_len) == 0) {
			if (ret_len)
				*ret_len = r->value_len;
			return record_value(r);
		}
	return NULL;
}

bool secrets_found_in(const struct secrets *secrets, const void *bytes, size_t len)
{
	size_t offset = 0;

	for (struct record *r; (r = record_at(secrets, offset)); offset += r->size)
		if (r->bytes[0] && r->value_len >= SHORTEST_SEARCHED &&
		    memmem(bytes, len, record_value(r), r->value_len))
			return true;
	return false;
}

/* ---- the environment block ---- */

void environ_wipe(void)
{
	for (char **entry = environ; entry && *entry; entry++)
		explicit_bzero(*entry, strlen(*entry));
	if (environ)
		environ[0] = NULL;
}

static bool entry_is(const char *entry, const char *name)
{
	size_t len = strlen(name);

	return strncmp(entry, name, len) == 0 && entry[len] == '=';
}

/* The first counts, as in getenv(3). */
static const char *find_value(const char *name)
{
	for (char **entry = environ; entry && *entry; entry++)
		if (entry_is(*entry, name))
			return *entry + strlen(name) + 1;
	return NULL;
}

static bool is_clean(const char *value)
{
	for (; *value; value++)
		if ((unsigned char)*value < 0x20 || *value == 0x7f)
			return false;
	return true;
}

static int take_one(struct secrets *secrets, const struct secret_ref *ref, struct err *err)
{
	const char *value = find_value(ref->name);
	const char *open = ref->where ? " (token_ref of " : "";
	const char *where = ref->where ? ref->where : "";
	const char *shut = ref->where ? ")" : "";
	struct record *record;

	if (secrets_get(secrets, ref->name, NULL))
		return 0;
	if (!value || !*value)
		return err_set(err, EINVAL, "environment variable %s%s%s%s is %s", ref->name, open,
			       where, shut, value ? "empty" : "not set");
	if (strlen(value) < SHORTEST_TOKEN)
		return err_set(err, EINVAL,
			       "environment variable %s%s%s%s is shorter than %d characters: no "
			       "token, and it would stand in any text by chance",
			       ref->name, open, where, shut, SHORTEST_TOKEN);
	if (!is_clean(value))
		return err_set(err, EINVAL,
			       "environment variable %s%s%s%s holds a line break or control "
			       "character: a token cannot",
			       ref->name, open, where, shut);
	record = record_add(secrets, strlen(ref->name), strlen(value));
	if (!record)
		return err_set(err, ENOSPC, "environment variable %s%s%s%s: too long for a token",
			       ref->name, open, where, shut);
	memcpy(record->bytes, ref->name, record->name_len);
	memcpy(record->bytes + record->name_len + 1, value, record->value_len);
	return 0;
}

/* Zeroes all entries of that name, wherever they lie, and closes the gap in `environ`. */
static void drop_name(const char *name)
{
	char **to = environ;

	for (char **from = environ; from && *from; from++) {
		if (entry_is(*from, name))
			explicit_bzero(*from, strlen(*from));
		else
			*to++ = *from;
	}
	if (to)
		*to = NULL;
}

/* A token may stand in another variable as well (GH_TOKEN beside GITHUB_TOKEN, a URL with a
 * password): from its first byte on it is zeroed there. */
static void blank_value(struct secrets *secrets, const struct record *record)
{
	if (!record->bytes[0] || record->value_len < SHORTEST_SEARCHED)
		return; /* "1" stands in many a variable */
	for (char **entry = environ; entry && *entry; entry++) {
		size_t len = strlen(*entry);
		char *hit = memmem(*entry, len, record_value(record), record->value_len);
		size_t name_len = strcspn(*entry, "=");

		if (!hit)
			continue;
		if (!secrets->also_in[0] && name_len < sizeof(secrets->also_in))
			memcpy(secrets->also_in, *entry, name_len);
		explicit_bzero(hit, len - (size_t)(hit - *entry));
	}
}

int secrets_take_env(struct secrets *secrets, const struct secret_ref *refs, size_t count,
		     struct err *err)
{
	size_t offset = 0;
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++)
		rc = take_one(secrets, &refs[i], err);
	for (size_t i = 0; i < count; i++)
		drop_name(refs[i].name);
	for (struct record *r; (r = record_at(secrets, offset)); offset += r->size)
		blank_value(secrets, r);
	return rc;
}
