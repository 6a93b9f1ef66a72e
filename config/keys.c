/* SPDX-License-Identifier: Apache-2.0
 * The table of keys and its form for people; see keys.h. Runs in: launcher. */
#include "config/keys.h"

#include <string.h>

#include "config/field.h"
#include "config/manifest.h"
#include "config/scalar.h"

#define TABLE_ENTRY(object, member, key_path, key_type, low, high, by_default, text) \
	{                                                                            \
		.path = key_path,                                                    \
		.type = &field_##key_type,                                           \
		.offset = offsetof(struct object, member),                           \
		.min = low,                                                          \
		.max = high,                                                         \
		.fallback = by_default,                                              \
		.help = text,                                                        \
	},

const struct schema_key manifest_keys[] = { MANIFEST_KEYS(TABLE_ENTRY) };
const size_t manifest_key_count = sizeof(manifest_keys) / sizeof(*manifest_keys);

/* Appends with a backslash before each byte of `special`. */
static void put_escaped(struct buf *buf, const char *text, const char *special)
{
	for (; *text; text++) {
		if (strchr(special, *text))
			buf_puts(buf, "\\");
		buf_append(buf, text, 1);
	}
}

static void put_type(struct buf *buf, const struct schema_key *key, const char *special)
{
	put_escaped(buf, key->type->description, special);
	if (key->type->unit == UNIT_NONE)
		return;
	buf_puts(buf, "; ");
	scalar_print(buf, key->type->unit, key->min);
	buf_puts(buf, " to ");
	scalar_print(buf, key->type->unit, key->max);
}

void keys_print_markdown(struct buf *buf)
{
	static const char special[] = "|*_<>";

	buf_puts(buf, "| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
	for (size_t i = 0; i < manifest_key_count; i++) {
		const struct schema_key *key = &manifest_keys[i];

		buf_printf(buf, "| `%s` | ", key->path);
		put_type(buf, key, special);
		buf_puts(buf, " | ");
		put_escaped(buf, key->fallback, special);
		buf_puts(buf, " | ");
		put_escaped(buf, key->help, special);
		buf_puts(buf, " |\n");
	}
}

static void put_default(struct buf *buf, const char *fallback, const char *special)
{
	static const char required[] = "required";

	if (!*fallback)
		return;
	if (str_starts(fallback, required)) {
		buf_puts(buf, " Required");
		fallback += strlen(required);
	} else {
		buf_puts(buf, " Default: ");
	}
	put_escaped(buf, fallback, special);
	buf_puts(buf, ".");
}

void keys_print_scdoc(struct buf *buf)
{
	static const char special[] = "*_\\";

	for (size_t i = 0; i < manifest_key_count; i++) {
		const struct schema_key *key = &manifest_keys[i];

		buf_puts(buf, i ? "\n*" : "*");
		put_escaped(buf, key->path, special);
		buf_puts(buf, "* (");
		put_type(buf, key, special);
		buf_puts(buf, ")\n\t");
		put_escaped(buf, key->help, special);
		put_default(buf, key->fallback, special);
		buf_puts(buf, "\n");
	}
}
