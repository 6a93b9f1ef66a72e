/* SPDX-License-Identifier: Apache-2.0
 * An image's configuration; see image_config.h. Runs in: launcher (`bottle image import`).
 *
 * jansson refuses what is no UTF-8, NUL in strings, and nesting past 2048. What it says is read by
 * key; unknown keys are passed over, since every builder adds its own. */
#include "rootfs/image_config.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "rootfs/digest.h"

void image_config_clear(struct image_config *config)
{
	strlist_clear(&config->argv);
	strlist_clear(&config->env);
	strlist_clear(&config->labels);
	strlist_clear(&config->diff_ids);
	free(config->workdir);
	free(config->user);
	free(config->os);
	free(config->architecture);
	*config = (struct image_config){ 0 };
}

/* One parse. */
struct parse {
	size_t text_bytes; /* so far, of lists */
	struct err *err;
};

static int no_memory(struct parse *parse)
{
	return err_sys(parse->err, ENOMEM, "reading the configuration");
}

static int count_text(struct parse *parse, const char *key, size_t len)
{
	if (len > IMAGE_CONFIG_TEXT_MAX_BYTES ||
	    (parse->text_bytes += len + 1) > IMAGE_CONFIG_TOTAL_MAX_BYTES)
		return err_set(parse->err, E2BIG, "%s: too long to be executed", key);
	return 0;
}

/* Appends a JSON list of strings; null and absence are an empty list. */
static int take_list(struct parse *parse, const json_t *object, const char *key,
		     struct strlist *ret_list)
{
	const json_t *list = json_object_get(object, key), *item;
	size_t i;

	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list))
		return err_set(parse->err, EBADMSG, "%s: not a list", key);
	json_array_foreach(list, i, item)
	{
		if (!json_is_string(item))
			return err_set(parse->err, EBADMSG, "%s[%zu]: not a string", key, i);
		if (ret_list->len == IMAGE_CONFIG_LIST_MAX)
			return err_set(parse->err, E2BIG, "%s: more than %d items", key,
				       IMAGE_CONFIG_LIST_MAX);
		TRY(count_text(parse, key, json_string_length(item)));
		if (strlist_add(ret_list, json_string_value(item)) < 0)
			return no_memory(parse);
	}
	return 0;
}

static int take_text(struct parse *parse, const json_t *object, const char *key, size_t max_bytes,
		     char **ret_text)
{
	const json_t *json = json_object_get(object, key);

	if (json && !json_is_null(json) && !json_is_string(json))
		return err_set(parse->err, EBADMSG, "%s: not a string", key);
	if (json_is_string(json) && json_string_length(json) > max_bytes)
		return err_set(parse->err, E2BIG, "%s: longer than %zu bytes", key, max_bytes);
	*ret_text = strdup(json_is_string(json) ? json_string_value(json) : "");
	return *ret_text ? 0 : no_memory(parse);
}

static int take_labels(struct parse *parse, const json_t *inner, struct strlist *ret_labels)
{
	json_t *labels = json_object_get(inner, "Labels"), *value;
	const char *key;

	if (!labels || json_is_null(labels))
		return 0;
	if (!json_is_object(labels))
		return err_set(parse->err, EBADMSG, "Labels: not an object");
	json_object_foreach(labels, key, value)
	{
		if (!json_is_string(value) || !*key || strchr(key, '='))
			return err_set(parse->err, EBADMSG, "Labels: not names with strings");
		if (ret_labels->len == IMAGE_CONFIG_LIST_MAX)
			return err_set(parse->err, E2BIG, "Labels: more than %d",
				       IMAGE_CONFIG_LIST_MAX);
		TRY(count_text(parse, "Labels", strlen(key) + json_string_length(value)));
		if (strlist_addf(ret_labels, "%s=%s", key, json_string_value(value)) < 0)
			return no_memory(parse);
	}
	return 0;
}

static int check_env(struct parse *parse, const struct strlist *env)
{
	char shown[64];

	for (size_t i = 0; i < env->len; i++) {
		const char *item = env->items[i], *equals = strchr(item, '=');

		if (!equals || equals == item)
			return err_set(parse->err, EBADMSG, "Env[%zu]: '%s' is not NAME=value", i,
				       str_escape(shown, sizeof(shown), item, strlen(item)));
	}
	return 0;
}

/* "" is "/". A relative one is from "/", as Docker has it. */
static int check_workdir(struct parse *parse, char **workdir)
{
	char *absolute;

	if (**workdir == '/')
		return 0;
	absolute = str_printf("/%s", *workdir);
	if (!absolute)
		return no_memory(parse);
	free(*workdir);
	*workdir = absolute;
	return 0;
}

static int take_inner(struct parse *parse, const json_t *inner, struct image_config *config)
{
	if (inner && !json_is_null(inner) && !json_is_object(inner))
		return err_set(parse->err, EBADMSG, "config: not an object");
	TRY(take_list(parse, inner, "Entrypoint", &config->argv));
	TRY(take_list(parse, inner, "Cmd", &config->argv));
	if (config->argv.len == 0 || !*config->argv.items[0])
		return err_set(parse->err, EINVAL,
			       "the image names no program to run (Entrypoint or Cmd)");
	TRY(take_list(parse, inner, "Env", &config->env));
	TRY(check_env(parse, &config->env));
	TRY(take_labels(parse, inner, &config->labels));
	TRY(take_text(parse, inner, "User", IMAGE_CONFIG_USER_MAX_BYTES, &config->user));
	TRY(take_text(parse, inner, "WorkingDir", PATH_MAX - 2, &config->workdir));
	return check_workdir(parse, &config->workdir);
}

/* "sha256:<hex>" → "<hex>" */
static int take_diff_ids(struct parse *parse, const json_t *top, struct strlist *ret_hex)
{
	const json_t *list = json_object_get(json_object_get(top, "rootfs"), "diff_ids"), *item;
	size_t i;

	if (!json_is_array(list))
		return err_set(parse->err, EBADMSG, "rootfs.diff_ids: not a list");
	json_array_foreach(list, i, item)
	{
		const char *hex = json_is_string(item) ? digest_hex(json_string_value(item)) : NULL;

		if (!hex)
			return err_set(parse->err, EBADMSG,
				       "rootfs.diff_ids[%zu]: not a sha256 digest", i);
		if (ret_hex->len == IMAGE_CONFIG_LIST_MAX)
			return err_set(parse->err, E2BIG, "rootfs.diff_ids: too many");
		if (strlist_add(ret_hex, hex) < 0)
			return no_memory(parse);
	}
	return 0;
}

static int take_all(struct parse *parse, const json_t *top, struct image_config *config)
{
	if (!json_is_object(top))
		return err_set(parse->err, EBADMSG, "not a JSON object");
	TRY(take_text(parse, top, "os", 64, &config->os));
	TRY(take_text(parse, top, "architecture", 64, &config->architecture));
	TRY(take_diff_ids(parse, top, &config->diff_ids));
	return take_inner(parse, json_object_get(top, "config"), config);
}

int image_config_parse(struct image_config *ret_config, const char *text, size_t len,
		       struct err *err)
{
	cleanup_with(image_config_clear) struct image_config config = { 0 };
	struct parse parse = { .err = err };
	json_error_t where;
	cleanup_with(json_clear)
		json_t *top = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
	char shown[JSON_ERROR_TEXT_LENGTH];

	if (!top)
		return err_set(err, EBADMSG, "%d:%d: not valid JSON: %s", where.line, where.column,
			       str_escape(shown, sizeof(shown), where.text, strlen(where.text)));
	TRY(take_all(&parse, top, &config));
	*ret_config = config;
	config = (struct image_config){ 0 };
	return 0;
}
