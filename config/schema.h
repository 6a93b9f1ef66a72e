/* SPDX-License-Identifier: Apache-2.0
 *
 * From located values to a struct, by a table of keys: what is not in the table is an error. Used
 * for the manifest (keys.h) and for routes.yaml (routes_parse.c).
 */
#ifndef CONFIG_SCHEMA_H
#define CONFIG_SCHEMA_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "config/yaml.h"

struct schema;
struct schema_key;

/* How a value is written, for docs and ranges. */
enum field_unit { UNIT_NONE, UNIT_COUNT, UNIT_BYTES, UNIT_MS, UNIT_MILLI };

/* The type of a key. `read` checks `value` and stores it at `object` + key->offset (or, for a type
 * that fills several members, in the object it knows). */
struct field_type {
	const char *description; /* for people: "list of integers" */
	enum field_unit unit;	 /* of min and max */
	int (*read)(struct schema *schema, const struct schema_key *key,
		    const struct yaml_value *value, void *object);
};

struct schema_key {
	const char *path; /* "egress.routes[].host" */
	const struct field_type *type;
	size_t offset;	      /* in the object: the root's, or the innermost list element's */
	uint64_t min, max;    /* of a number, or of a list's length; both 0: not limited */
	const char *fallback; /* the default, for people; "" for none */
	const char *help;
};

enum { SCHEMA_PATH_BYTES = 384 };

/* The state of one reading. */
struct schema {
	const char *file;     /* for messages */
	const char *base_dir; /* for relative paths; NULL where there are none */
	const struct schema_key *keys;
	size_t key_count;
	char path[SCHEMA_PATH_BYTES]; /* of the value at hand: "egress.routes[1].ports" */
	struct err *err;
};

/* Reads the pairs of `map` into `object`; `prefix` is the table's path of the map ("" for the
 * root, "egress.routes[]"). */
int schema_read_map(struct schema *schema, const struct yaml_value *map, const char *prefix,
		    void *object) MUST_CHECK;

/* Appends to the path for messages; schema_pop(schema, what push returned) takes it off again. */
size_t schema_push(struct schema *schema, const char *fmt, ...) PRINTF_LIKE(2, 3);
void schema_pop(struct schema *schema, size_t mark);

/* "file:line:column: path: sentence", -EINVAL. */
int schema_fail(struct schema *schema, const struct yaml_value *at, const char *fmt, ...)
	PRINTF_LIKE(3, 4) MUST_CHECK;

/* Passes `rc` on; when negative, with place and path put in front of the sentence in `check`. */
int schema_checked(struct schema *schema, const struct yaml_value *at, int rc,
		   const struct err *check) MUST_CHECK;

int schema_no_memory(struct schema *schema) MUST_CHECK;

/* Fails unless `value` is a list of min to max items (max 0: any). */
int schema_want_list(struct schema *schema, const struct yaml_value *value, uint64_t min,
		     uint64_t max) MUST_CHECK;
int schema_want_map(struct schema *schema, const struct yaml_value *value) MUST_CHECK;

#endif
