/* SPDX-License-Identifier: Apache-2.0
 *
 * YAML, the strict part of it: one document of maps, lists and scalars as a tree of located values.
 * Anchors, aliases, tags, directives, merge keys, further documents, duplicate and non-scalar keys
 * are errors: each is a way for a text to mean something else to a reader than to a parser, and a
 * manifest is read by people who decide whether to trust it.
 */
#ifndef CONFIG_YAML_H
#define CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum {
	YAML_TEXT_BYTES = 1 << 20,   /* of the file */
	YAML_SCALAR_BYTES = 1 << 16, /* of one scalar */
	YAML_KEY_BYTES = 128,
	YAML_DEPTH = 16,     /* of maps and lists */
	YAML_ITEMS = 4096,   /* of one map or list */
	YAML_VALUES = 20000, /* of the file */
};

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_value {
	enum yaml_kind kind;
	unsigned line, column; /* from 1; the column counts characters */
	char *key;	       /* in a map: its key, without NUL; else NULL */
	unsigned key_line, key_column;
	char *text;  /* YAML_SCALAR: without NUL inside */
	bool quoted; /* YAML_SCALAR: in quotes or a block, so never a number, boolean or null */
	struct yaml_value *items; /* YAML_LIST, YAML_MAP */
	size_t count;
};

/* Reads `len` bytes; `name` stands in front of messages ("bottle.yaml:12:5: …"). The tree belongs
 * to the caller. Returns 0, -EINVAL, -EFBIG or -ENOMEM. */
int yaml_value_read(struct yaml_value *ret_root, const char *name, const char *text, size_t len,
		    struct err *err) MUST_CHECK;
void yaml_value_clear(struct yaml_value *value);

/* The value of `key` in a map, or NULL. */
const struct yaml_value *yaml_value_find(const struct yaml_value *map, const char *key);

#endif
