/* SPDX-License-Identifier: Apache-2.0
 * The types of keys; see field.h. Runs in: launcher, proxy. Reads HOME, for ~/. */
#include "config/field.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "config/check.h"
#include "config/manifest.h"
#include "config/scalar.h"

static void *member(void *object, const struct schema_key *key)
{
	return (char *)object + key->offset;
}

/* Text that `check` accepts, into a char * member. */
static int read_checked(struct schema *schema, const struct schema_key *key,
			const struct yaml_value *value, void *object,
			int (*check)(const char *text, struct err *err))
{
	struct err why;
	char **text = member(object, key);

	TRY(scalar_text(schema, value, false, text));
	return schema_checked(schema, value, check(*text, &why), &why);
}

static int read_name(struct schema *schema, const struct schema_key *key,
		     const struct yaml_value *value, void *object)
{
	return read_checked(schema, key, value, object, check_name);
}

static int read_hostname(struct schema *schema, const struct schema_key *key,
			 const struct yaml_value *value, void *object)
{
	return read_checked(schema, key, value, object, check_hostname);
}

static int read_image(struct schema *schema, const struct schema_key *key,
		      const struct yaml_value *value, void *object)
{
	return read_checked(schema, key, value, object, check_image);
}

static int read_scheme(struct schema *schema, const struct schema_key *key,
		       const struct yaml_value *value, void *object)
{
	return read_checked(schema, key, value, object, check_scheme);
}

static int read_token_ref(struct schema *schema, const struct schema_key *key,
			  const struct yaml_value *value, void *object)
{
	struct err why;
	char **text = member(object, key);

	/* The sentences of scalar_text show the text; a token may contain anything. */
	if (value->kind != YAML_SCALAR)
		return schema_fail(schema, value, "must be the name of an environment variable");
	*text = strdup(value->text);
	if (!*text)
		return schema_no_memory(schema);
	return schema_checked(schema, value, check_token_ref(*text, &why), &why);
}

static int read_header(struct schema *schema, const struct schema_key *key,
		       const struct yaml_value *value, void *object)
{
	struct err why;
	const char *text;

	TRY(scalar_borrow(schema, value, false, &text));
	return schema_checked(schema, value, check_header(text, member(object, key), &why), &why);
}

static int read_host(struct schema *schema, const struct schema_key *key,
		     const struct yaml_value *value, void *object)
{
	bool is_literal;
	struct err why;
	const char *text;

	TRY(scalar_borrow(schema, value, false, &text));
	return schema_checked(schema, value,
			      check_host(text, member(object, key), &is_literal, &why), &why);
}

static int read_address(struct schema *schema, const struct schema_key *key,
			const struct yaml_value *value, void *object)
{
	struct route *route = object;
	struct err why;
	const char *text;

	(void)key;
	TRY(scalar_borrow(schema, value, false, &text));
	return schema_checked(schema, value,
			      check_address(text, &route->address, &route->address_port, &why),
			      &why);
}

static int read_proxy_url(struct schema *schema, const struct schema_key *key,
			  const struct yaml_value *value, void *object)
{
	struct upstream_proxy *upstream = &((struct manifest *)object)->upstream;
	struct err why;

	(void)key;
	TRY(scalar_text(schema, value, false, &upstream->url));
	return schema_checked(
		schema, value,
		check_proxy_url(upstream->url, &upstream->host, &upstream->port, &why), &why);
}

/* A path as people write it → absolute: ~/ is $HOME, anything else is relative to base_dir. */
static int expand_path(struct schema *schema, const struct yaml_value *value, char **ret_path)
{
	const char *home = getenv("HOME");
	const char *text;

	TRY(scalar_borrow(schema, value, false, &text));
	if (!*text)
		return schema_fail(schema, value, "is an empty path");
	if (*text == '$')
		return schema_fail(schema, value,
				   "'%s': variables are not expanded; write ~/ for "
				   "your home folder",
				   quote(text).text);
	if (*text == '~' && text[1] && text[1] != '/')
		return schema_fail(schema, value,
				   "'%s': another user's home is not looked up; write "
				   "the path out, or ./~NAME for a file of that name",
				   quote(text).text);
	if (*text == '~' && (!home || *home != '/'))
		return schema_fail(schema, value, "'%s': HOME is not set to an absolute path",
				   quote(text).text);
	while (str_starts(text, "./"))
		text += 2 + strspn(text + 2, "/");
	if (*text == '/')
		*ret_path = strdup(text);
	else if (*text == '~')
		*ret_path = str_printf("%s%s", home, text + 1);
	else if (!*text || strcmp(text, ".") == 0)
		*ret_path = strdup(schema->base_dir);
	else
		*ret_path = str_printf("%s/%s", schema->base_dir, text);
	return *ret_path ? 0 : schema_no_memory(schema);
}

static int read_path(struct schema *schema, const struct schema_key *key,
		     const struct yaml_value *value, void *object)
{
	return expand_path(schema, value, member(object, key));
}

/* `none` leaves the member NULL; that the key was there is looked up by the caller. */
static int read_ca_path(struct schema *schema, const struct schema_key *key,
			const struct yaml_value *value, void *object)
{
	if (value->kind == YAML_SCALAR && strcmp(value->text, "none") == 0)
		return 0;
	return expand_path(schema, value, member(object, key));
}

/* Adds to a list, refusing what it already has. */
static int add_once(struct schema *schema, const struct yaml_value *value, struct strlist *list,
		    const char *text)
{
	if (strlist_has(list, text))
		return schema_fail(schema, value, "'%s' stands twice; remove one",
				   quote(text).text);
	return strlist_add(list, text) < 0 ? schema_no_memory(schema) : 0;
}

/* A list of texts that `check` accepts, none twice, into a struct strlist. */
static int read_list(struct schema *schema, const struct schema_key *key,
		     const struct yaml_value *value, void *object,
		     int (*check)(const char *text, struct err *err))
{
	TRY(schema_want_list(schema, value, key->min, key->max));
	for (size_t i = 0; i < value->count; i++) {
		const struct yaml_value *item = &value->items[i];
		size_t mark = schema_push(schema, "[%zu]", i);
		struct err why;
		const char *text;

		TRY(scalar_borrow(schema, item, false, &text));
		TRY(schema_checked(schema, item, check(text, &why), &why));
		TRY(add_once(schema, item, member(object, key), text));
		schema_pop(schema, mark);
	}
	return 0;
}

static int read_url_paths(struct schema *schema, const struct schema_key *key,
			  const struct yaml_value *value, void *object)
{
	return read_list(schema, key, value, object, check_url_path);
}

static int read_methods(struct schema *schema, const struct schema_key *key,
			const struct yaml_value *value, void *object)
{
	return read_list(schema, key, value, object, check_method);
}

static int read_env_names(struct schema *schema, const struct schema_key *key,
			  const struct yaml_value *value, void *object)
{
	return read_list(schema, key, value, object, check_agent_env_name);
}

static int read_paths(struct schema *schema, const struct schema_key *key,
		      const struct yaml_value *value, void *object)
{
	TRY(schema_want_list(schema, value, key->min, key->max));
	for (size_t i = 0; i < value->count; i++) {
		size_t mark = schema_push(schema, "[%zu]", i);
		cleanup_free char *path = NULL;

		TRY(expand_path(schema, &value->items[i], &path));
		TRY(add_once(schema, &value->items[i], member(object, key), path));
		schema_pop(schema, mark);
	}
	return 0;
}

static int read_command(struct schema *schema, const struct schema_key *key,
			const struct yaml_value *value, void *object)
{
	struct strlist *command = member(object, key);

	TRY(schema_want_list(schema, value, key->min, key->max));
	for (size_t i = 0; i < value->count; i++) {
		size_t mark = schema_push(schema, "[%zu]", i);
		const char *text;

		TRY(scalar_borrow(schema, &value->items[i], true, &text));
		if (i == 0 && !*text)
			return schema_fail(schema, &value->items[i], "is an empty program name");
		if (strlist_add(command, text) < 0)
			return schema_no_memory(schema);
		schema_pop(schema, mark);
	}
	return 0;
}

static int read_env(struct schema *schema, const struct schema_key *key,
		    const struct yaml_value *value, void *object)
{
	TRY(schema_want_map(schema, value));
	for (size_t i = 0; i < value->count; i++) {
		const struct yaml_value *item = &value->items[i];
		struct yaml_value at = { .line = item->key_line, .column = item->key_column };
		struct err why;
		const char *text;
		size_t mark;

		TRY(schema_checked(schema, &at, check_agent_env_name(item->key, &why), &why));
		mark = schema_push(schema, ".%s", item->key);
		if (item->kind == YAML_SCALAR && !item->quoted && scalar_is_null(item->text))
			return schema_fail(schema, item,
					   "has no value; for an empty one write \"\"");
		TRY(scalar_borrow(schema, item, true, &text));
		if (strlist_addf(member(object, key), "%s=%s", item->key, text) < 0)
			return schema_no_memory(schema);
		schema_pop(schema, mark);
	}
	return 0;
}

static int read_bool(struct schema *schema, const struct schema_key *key,
		     const struct yaml_value *value, void *object)
{
	return scalar_bool(schema, value, member(object, key));
}

static int read_port(struct schema *schema, const struct schema_key *key,
		     const struct yaml_value *value, void *object)
{
	uint64_t port;

	TRY(scalar_integer(schema, value, key->min, key->max, &port));
	*(uint16_t *)member(object, key) = (uint16_t)port;
	return 0;
}

static int read_count(struct schema *schema, const struct schema_key *key,
		      const struct yaml_value *value, void *object)
{
	return scalar_integer(schema, value, key->min, key->max, member(object, key));
}

static int read_duration(struct schema *schema, const struct schema_key *key,
			 const struct yaml_value *value, void *object)
{
	uint64_t ms;

	TRY(scalar_ms(schema, value, key->min, key->max, &ms));
	*(uint32_t *)member(object, key) = (uint32_t)ms;
	return 0;
}

static int read_size(struct schema *schema, const struct schema_key *key,
		     const struct yaml_value *value, void *object)
{
	return scalar_bytes(schema, value, key->min, key->max, member(object, key));
}

static int read_cpu(struct schema *schema, const struct schema_key *key,
		    const struct yaml_value *value, void *object)
{
	return scalar_milli(schema, value, key->min, key->max, member(object, key));
}

static int read_idmap(struct schema *schema, const struct schema_key *key,
		      const struct yaml_value *value, void *object)
{
	static const char *const modes[] = {
		[IDMAP_AUTO] = "auto", [IDMAP_SINGLE] = "single", [IDMAP_SUBID] = "subid"
	};
	enum idmap_mode *mode = member(object, key);
	const char *text;

	TRY(scalar_borrow(schema, value, false, &text));
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		if (strcmp(text, modes[i]) == 0) {
			*mode = (enum idmap_mode)i;
			return 0;
		}
	}
	return schema_fail(schema, value, "'%s' is none of auto, single, subid", quote(text).text);
}

int field_read_ports(struct schema *schema, const struct schema_key *key,
		     const struct yaml_value *value, uint16_t **ret_ports, size_t *ret_count)
{
	cleanup_free uint16_t *ports = NULL;

	TRY(schema_want_list(schema, value, 1, key->max));
	ports = calloc(value->count, sizeof(*ports));
	if (!ports)
		return schema_no_memory(schema);
	for (size_t i = 0; i < value->count; i++) {
		size_t mark = schema_push(schema, "[%zu]", i);
		uint64_t port;

		TRY(scalar_integer(schema, &value->items[i], 1, 65535, &port));
		for (size_t j = 0; j < i; j++)
			if (ports[j] == port)
				return schema_fail(schema, &value->items[i],
						   "%u stands twice; remove one", ports[j]);
		ports[i] = (uint16_t)port;
		schema_pop(schema, mark);
	}
	*ret_count = value->count;
	*ret_ports = take_ptr(ports);
	return 0;
}

static int read_ports(struct schema *schema, const struct schema_key *key,
		      const struct yaml_value *value, void *object)
{
	struct route *route = object;

	return field_read_ports(schema, key, value, &route->ports, &route->port_count);
}

const struct field_type field_name = { "text: 1 to 41 of a-z, 0-9, -", UNIT_NONE, read_name };
const struct field_type field_hostname = { "text: 1 to 63 of a-z, 0-9, -", UNIT_NONE,
					   read_hostname };
const struct field_type field_image = { "text: NAME[:TAG] or sha256:DIGEST", UNIT_NONE,
					read_image };
const struct field_type field_path = { "path", UNIT_NONE, read_path };
const struct field_type field_paths = { "list of paths", UNIT_NONE, read_paths };
const struct field_type field_ca_path = { "path of a PEM file, or none", UNIT_NONE, read_ca_path };
const struct field_type field_command = { "list of text", UNIT_NONE, read_command };
const struct field_type field_env = { "map of NAME: text", UNIT_NONE, read_env };
const struct field_type field_env_names = { "list of variables' names", UNIT_NONE, read_env_names };
const struct field_type field_host = { "host, \"*.suffix\" or IP address", UNIT_NONE, read_host };
const struct field_type field_ports = { "list of integers, 1 to 65535", UNIT_NONE, read_ports };
const struct field_type field_url_paths = { "list of paths", UNIT_NONE, read_url_paths };
const struct field_type field_methods = { "list of HTTP methods", UNIT_NONE, read_methods };
const struct field_type field_scheme = { "Bearer, token or Basic", UNIT_NONE, read_scheme };
const struct field_type field_header = { "name of a header", UNIT_NONE, read_header };
const struct field_type field_token_ref = { "name of a variable", UNIT_NONE, read_token_ref };
const struct field_type field_bool = { "true or false", UNIT_NONE, read_bool };
const struct field_type field_address = { "IP, IP:PORT or [IPV6]:PORT", UNIT_NONE, read_address };
const struct field_type field_proxy_url = { "http://HOST:PORT or https://HOST:PORT", UNIT_NONE,
					    read_proxy_url };
const struct field_type field_port = { "integer", UNIT_COUNT, read_port };
const struct field_type field_count = { "integer", UNIT_COUNT, read_count };
const struct field_type field_duration = { "time, such as 10s or 1500ms", UNIT_MS, read_duration };
const struct field_type field_size = { "size, such as 512M or 2G", UNIT_BYTES, read_size };
const struct field_type field_cpu = { "number, such as 2 or 1.5", UNIT_MILLI, read_cpu };
const struct field_type field_idmap = { "auto, single or subid", UNIT_NONE, read_idmap };
