/* SPDX-License-Identifier: Apache-2.0
 *
 * The walk over located values; see schema.h. Runs in: launcher, proxy. Decides nothing itself: the
 * table says which keys there are, the types say what a value may be.
 */
#include "config/schema.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "config/check.h"
#include "config/scalar.h"

size_t schema_push(struct schema *schema, const char *fmt, ...)
{
	size_t used = strlen(schema->path);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(schema->path + used, sizeof(schema->path) - used, fmt, ap);
	va_end(ap);
	return used;
}

void schema_pop(struct schema *schema, size_t mark)
{
	schema->path[mark] = '\0';
}

static int fail_at(struct schema *schema, unsigned line, unsigned column, const char *sentence)
{
	return err_set(schema->err, EINVAL, "%s:%u:%u: %s%s%s", schema->file, line, column,
		       schema->path, *schema->path ? ": " : "", sentence);
}

int schema_fail(struct schema *schema, const struct yaml_value *at, const char *fmt, ...)
{
	char sentence[ERR_TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	return fail_at(schema, at->line, at->column, sentence);
}

int schema_checked(struct schema *schema, const struct yaml_value *at, int rc,
		   const struct err *check)
{
	if (rc >= 0)
		return rc;
	(void)fail_at(schema, at->line, at->column, check->text);
	return rc;
}

int schema_no_memory(struct schema *schema)
{
	return err_sys(schema->err, ENOMEM, "%s", schema->file);
}

static const char *kind_name(const struct yaml_value *value)
{
	if (value->kind == YAML_LIST)
		return "a list";
	return value->kind == YAML_MAP ? "a map" : "a single value";
}

int schema_want_list(struct schema *schema, const struct yaml_value *value, uint64_t min,
		     uint64_t max)
{
	if (value->kind == YAML_SCALAR)
		return schema_fail(schema, value, "must be a list; write [%s]",
				   quote(value->text).text);
	if (value->kind != YAML_LIST)
		return schema_fail(schema, value, "must be a list, not a map");
	if (value->count < min)
		return schema_fail(schema, value,
				   "is an empty list; leave the key out, or put something in it");
	if (max && value->count > max)
		return schema_fail(schema, value, "has %zu entries, more than %llu", value->count,
				   (unsigned long long)max);
	return 0;
}

int schema_want_map(struct schema *schema, const struct yaml_value *value)
{
	if (value->kind != YAML_MAP)
		return schema_fail(schema, value, "must be a map of keys, not %s",
				   kind_name(value));
	return 0;
}

/* Whether `path` is `prefix`, a dot (none at the root) and more; *ret_rest is the "more". */
static bool below(const char *path, const char *prefix, const char **ret_rest)
{
	size_t len = strlen(prefix);

	if (strncmp(path, prefix, len) != 0 || (len && path[len] != '.'))
		return false;
	*ret_rest = path + len + (len ? 1 : 0);
	return true;
}

/* Length of the first word of "routes[].host" or "git.push". */
static size_t word_length(const char *rest)
{
	return strcspn(rest, ".[");
}

/* Finds what `word` is below `prefix`: a key (*ret_key) or a group of keys (true, NULL). A word
 * with a dot or bracket of its own never matches, so "agent.command" is no key at the root. */
static bool find_word(const struct schema *schema, const char *prefix, const char *word,
		      const struct schema_key **ret_key)
{
	size_t len = strlen(word);
	bool found = false;
	const char *rest;

	*ret_key = NULL;
	for (size_t i = 0; i < schema->key_count; i++) {
		if (!below(schema->keys[i].path, prefix, &rest) || word_length(rest) != len ||
		    strncmp(rest, word, len) != 0)
			continue;
		found = true;
		if (!rest[len])
			*ret_key = &schema->keys[i];
	}
	return found;
}

static int list_words(const struct schema *schema, const char *prefix, struct strlist *ret_words)
{
	const char *rest;

	for (size_t i = 0; i < schema->key_count; i++) {
		char word[64];

		if (!below(schema->keys[i].path, prefix, &rest))
			continue;
		snprintf(word, sizeof(word), "%.*s", (int)word_length(rest), rest);
		if (!strlist_has(ret_words, word))
			TRY(strlist_add(ret_words, word));
	}
	return 0;
}

/* A key that is known elsewhere: `hostname` at the root is agent.hostname. */
static const char *find_elsewhere(const struct schema *schema, const char *word)
{
	for (size_t i = 0; i < schema->key_count; i++) {
		const char *last = strrchr(schema->keys[i].path, '.');

		if ((last && strcmp(last + 1, word) == 0) ||
		    strcmp(schema->keys[i].path, word) == 0)
			return schema->keys[i].path;
	}
	return NULL;
}

static int fail_unknown(struct schema *schema, const struct yaml_value *value, const char *prefix)
{
	cleanup_with(strlist_clear) struct strlist words = { 0 };
	cleanup_with(buf_clear) struct buf sentence = { 0 };
	const char *nearest, *elsewhere;

	if (list_words(schema, prefix, &words) < 0)
		return schema_no_memory(schema);
	nearest = str_nearest(value->key, (const char *const *)words.items);
	elsewhere = find_elsewhere(schema, value->key);
	buf_printf(&sentence, "unknown key '%s' (", quote(value->key).text);
	if (strchr(value->key, '.'))
		buf_puts(&sentence, "a dot does not nest keys; indent one below the other");
	else if (nearest)
		buf_printf(&sentence, "did you mean '%s'?", nearest);
	else if (elsewhere)
		buf_printf(&sentence, "known only as '%s'", elsewhere);
	else
		for (size_t i = 0; i < words.len; i++)
			buf_printf(&sentence, "%s%s", i ? ", " : "known here: ", words.items[i]);
	buf_puts(&sentence, ")");
	if (sentence.failed)
		return schema_no_memory(schema);
	return fail_at(schema, value->key_line, value->key_column, sentence.data);
}

static int read_pair(struct schema *schema, const struct yaml_value *value, const char *prefix,
		     void *object)
{
	char path[SCHEMA_PATH_BYTES];
	const struct schema_key *key;
	size_t mark;
	int rc;

	if (!find_word(schema, prefix, value->key, &key))
		return fail_unknown(schema, value, prefix);
	mark = schema_push(schema, "%s%s", *schema->path ? "." : "", value->key);
	if (value->kind == YAML_SCALAR && !value->quoted && scalar_is_null(value->text))
		return schema_fail(schema, value,
				   "has no value; give it one, or leave the key out");
	snprintf(path, sizeof(path), "%s%s%s", prefix, *prefix ? "." : "", value->key);
	if (key)
		rc = key->type->read(schema, key, value, object);
	else
		rc = schema_read_map(schema, value, path, object);
	schema_pop(schema, mark);
	return rc;
}

int schema_read_map(struct schema *schema, const struct yaml_value *map, const char *prefix,
		    void *object)
{
	TRY(schema_want_map(schema, map));
	if (!map->count)
		return schema_fail(schema, map, "is empty; give it its keys, or leave it out");
	for (size_t i = 0; i < map->count; i++)
		TRY(read_pair(schema, &map->items[i], prefix, object));
	return 0;
}
