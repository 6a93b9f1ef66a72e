/* SPDX-License-Identifier: Apache-2.0
 * image.json; see record.h. Runs in: launcher. Written by us into a folder that no bottle can write,
 * so a wrong one means a damaged disk; it is still read by type. */
#include "rootfs/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

static json_t *list_of(const struct strlist *list)
{
	json_t *json = json_array();

	for (size_t i = 0; i < list->len; i++)
		if (json_array_append_new(json, json_string(list->items[i])) < 0) {
			json_decref(json);
			return NULL;
		}
	return json;
}

int record_render(const struct image *image, struct buf *ret_text, struct err *err)
{
	cleanup_with(json_clear) json_t *json = json_pack(
		"{s:i, s:o, s:o, s:s, s:s, s:I, s:I, s:o, s:I, s:I}", "version", RECORD_VERSION,
		"argv", list_of(&image->argv), "env", list_of(&image->env), "workdir",
		image->workdir, "user", image->user, "uid", (json_int_t)image->uid, "gid",
		(json_int_t)image->gid, "labels", list_of(&image->labels), "size_bytes",
		(json_int_t)image->size_bytes, "skipped_entries",
		(json_int_t)image->skipped_entries);
	cleanup_free char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;

	if (!text)
		return err_sys(err, ENOMEM, "writing %s", RECORD_NAME);
	buf_puts(ret_text, text);
	buf_puts(ret_text, "\n");
	return ret_text->failed ? err_sys(err, ENOMEM, "writing %s", RECORD_NAME) : 0;
}

static int take_list(const json_t *list, struct strlist *ret_list)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		if (!json_is_string(item))
			return -EBADMSG;
		TRY(strlist_add(ret_list, json_string_value(item)));
	}
	return 0;
}

static int take_values(json_t *json, struct image *image)
{
	json_int_t uid, gid, size_bytes, skipped_entries;
	const char *workdir, *user;
	json_t *argv, *env, *labels;

	if (json_unpack(json, "{s:o, s:o, s:s, s:s, s:I, s:I, s:o, s:I, s:I}", "argv", &argv, "env",
			&env, "workdir", &workdir, "user", &user, "uid", &uid, "gid", &gid,
			"labels", &labels, "size_bytes", &size_bytes, "skipped_entries",
			&skipped_entries) < 0)
		return -EBADMSG;
	if (uid < 0 || uid > INT32_MAX || gid < 0 || gid > INT32_MAX || json_array_size(argv) == 0)
		return -EBADMSG;
	image->uid = (uint32_t)uid;
	image->gid = (uint32_t)gid;
	image->size_bytes = (uint64_t)size_bytes;
	image->skipped_entries = (uint64_t)skipped_entries;
	image->workdir = strdup(workdir);
	image->user = strdup(user);
	if (!image->workdir || !image->user)
		return -ENOMEM;
	TRY(take_list(argv, &image->argv));
	TRY(take_list(env, &image->env));
	return take_list(labels, &image->labels);
}

static bool label_is_one(const struct image *image, const char *key)
{
	const char *value = image_label(image, key);

	return value && strcmp(value, "1") == 0;
}

int record_parse(const char *text, size_t len, struct image *image, struct err *err)
{
	cleanup_with(json_clear) json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	int rc;

	if (!json)
		return err_set(err, EBADMSG, "%s is damaged", RECORD_NAME);
	if (json_integer_value(json_object_get(json, "version")) != RECORD_VERSION)
		return err_set(err, ESTALE, "it was imported by another version of bottle");
	rc = take_values(json, image);
	if (rc < 0)
		return err_sys(err, -rc, "%s is damaged", RECORD_NAME);
	image->knows_listen_fds = label_is_one(image, "bottle.listen-fds");
	image->knows_ready_fd = label_is_one(image, "bottle.ready-fd");
	image->knows_gate_fd = label_is_one(image, "bottle.gate-fd");
	return 0;
}
