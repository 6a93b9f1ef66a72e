/* SPDX-License-Identifier: Apache-2.0
 *
 * Scalars, without YAML 1.1's guesses. A plain `0443` is octal to one reader and decimal to
 * another, `yes` is true to one and text to another, `22:30` is 1350. What readers of YAML would
 * not agree on is an error that says how to write it.
 */
#ifndef CONFIG_SCALAR_H
#define CONFIG_SCALAR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "config/schema.h"

bool scalar_is_null(const char *plain);

/* What a plain scalar is to some reader of YAML other than text: "a boolean", "octal"; NULL for
 * text and for a decimal integer without a leading zero, which all readers write back as it
 * stood. */
const char *scalar_trap(const char *plain);

/* Text, copied. Control bytes are refused, but for tab and newline when `multiline`. */
int scalar_text(struct schema *schema, const struct yaml_value *value, bool multiline,
		char **ret_text) MUST_CHECK;

/* As scalar_text, but borrowed from the tree. */
int scalar_borrow(struct schema *schema, const struct yaml_value *value, bool multiline,
		  const char **ret_text) MUST_CHECK;

/* A decimal integer, not in quotes, in [min, max]. */
int scalar_integer(struct schema *schema, const struct yaml_value *value, uint64_t min,
		   uint64_t max, uint64_t *ret_number) MUST_CHECK;

/* `true` or `false`, nothing else. */
int scalar_bool(struct schema *schema, const struct yaml_value *value, bool *ret_flag) MUST_CHECK;

/* 512M, 2G (K, M, G, T: powers of 1024); 10s, 1500ms, 2m; 1.5 (cores, in thousandths). */
int scalar_bytes(struct schema *schema, const struct yaml_value *value, uint64_t min, uint64_t max,
		 uint64_t *ret_bytes) MUST_CHECK;
int scalar_ms(struct schema *schema, const struct yaml_value *value, uint64_t min, uint64_t max,
	      uint64_t *ret_ms) MUST_CHECK;
int scalar_milli(struct schema *schema, const struct yaml_value *value, uint64_t min, uint64_t max,
		 uint64_t *ret_milli) MUST_CHECK;

/* Writes a number as the manifest would: "512M", "10s", "1.5", "443". */
void scalar_print(struct buf *buf, enum field_unit unit, uint64_t number);

#endif
