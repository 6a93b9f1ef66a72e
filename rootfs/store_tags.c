/* SPDX-License-Identifier: Apache-2.0
 * Names of images; see store.h. Runs in: launcher. One small file for each tag, replaced by rename:
 * a reader sees the old digest or the new one. */
#include "rootfs/store.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "rootfs/digest.h"

enum { TAG_MAX_BYTES = 200, SHOWN_NAME_BYTES = 256, TAGS_MAX = 100 * 1000 };
#define TAG_TMP_NAME ".new" /* no tag begins with a dot */

/* Components of letters, digits, "._-", each begun by a letter or digit; ":" as in a port or a tag.
 * Narrower than a path by construction: no "..", no empty part, nothing a shell or terminal minds. */
static bool is_tag(const char *text)
{
	size_t file_len = strlen(text);
	bool at_start = true;

	if (!*text || strlen(text) > TAG_MAX_BYTES || digest_hex(text))
		return false;
	for (; *text; text++) {
		file_len += *text == '/' ? 2 : 0; /* file_of_tag */
		if (isalnum((unsigned char)*text) || (!at_start && strchr("._-", *text)))
			at_start = false;
		else if ((*text == '/' || *text == ':') && !at_start)
			at_start = true;
		else
			return false;
	}
	return !at_start && file_len <= NAME_MAX;
}

int store_tag_normalise(const char *name, char **ret_tag, struct err *err)
{
	const char *last = strrchr(name, '/');
	bool has_tag = strchr(last ? last : name, ':') != NULL;
	cleanup_free char *tag = str_printf(has_tag ? "%s" : "%s:latest", name);
	char shown[SHOWN_NAME_BYTES];

	if (!tag)
		return err_sys(err, ENOMEM, "reading a tag");
	if (!is_tag(tag))
		return err_set(
			err, EINVAL,
			"'%s' is no name for an image: letters, digits, '.', '_', '-', in parts "
			"divided by '/', with an optional ':TAG', as egress-proxy:1",
			str_escape(shown, sizeof(shown), name, strlen(name)));
	*ret_tag = take_ptr(tag);
	return 0;
}

static char *file_of_tag(const char *tag)
{
	struct buf name = { 0 };

	for (; *tag; tag++)
		buf_append(&name, *tag == '/' ? "%2F" : tag, *tag == '/' ? 3 : 1);
	if (name.failed)
		buf_clear(&name);
	return name.data;
}

static char *tag_of_file(const char *file)
{
	struct buf tag = { 0 };

	while (*file) {
		bool is_slash = str_starts(file, "%2F");

		buf_append(&tag, is_slash ? "/" : file, 1);
		file += is_slash ? 3 : 1;
	}
	if (tag.failed)
		buf_clear(&tag);
	return tag.data;
}

int store_tag_read(const struct store *store, const char *tag,
		   char ret_hex[static SHA256_HEX_BYTES], struct err *err)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	cleanup_free char *file = file_of_tag(tag);
	cleanup_fd int fd = -1;
	const char *hex;
	int rc;

	if (!file)
		return err_sys(err, ENOMEM, "tag '%s'", tag);
	fd = openat(store->tags_fd, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return errno == ENOENT ? -ENOENT : err_sys(err, errno, "tag '%s'", tag);
	rc = fd_read_all(fd, 256, &text);
	if (rc < 0)
		return err_sys(err, -rc, "tag '%s'", tag);
	if (text.len && text.data[text.len - 1] == '\n')
		text.data[--text.len] = '\0';
	hex = text.len ? digest_hex(text.data) : NULL;
	if (!hex)
		return err_set(
			err, EBADMSG,
			"tag '%s' holds no digest: its file in %s/tags is damaged; import the "
			"image again",
			tag, store->dir);
	memcpy(ret_hex, hex, SHA256_HEX_BYTES);
	return 0;
}

int store_tag_write(const struct store *store, const char *tag, const char *hex, struct err *err)
{
	cleanup_free char *file = file_of_tag(tag);
	cleanup_free char *text = str_printf("%s%s\n", DIGEST_PREFIX, hex);
	cleanup_fd int fd = -1;
	int rc;

	if (!file || !text)
		return err_sys(err, ENOMEM, "tag '%s'", tag);
	/* One name for all: writers hold the store's lock. */
	fd = openat(store->tags_fd, TAG_TMP_NAME,
		    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, errno, "tag '%s'", tag);
	rc = fd_write_all(fd, text, strlen(text));
	if (rc < 0)
		return err_sys(err, -rc, "tag '%s'", tag);
	if (fsync(fd) < 0 || renameat(store->tags_fd, TAG_TMP_NAME, store->tags_fd, file) < 0 ||
	    fsync(store->tags_fd) < 0)
		return err_sys(err, errno, "tag '%s'", tag);
	return 0;
}

int store_tag_remove(const struct store *store, const char *tag, struct err *err)
{
	cleanup_free char *file = file_of_tag(tag);

	if (!file)
		return err_sys(err, ENOMEM, "tag '%s'", tag);
	if (unlinkat(store->tags_fd, file, 0) < 0 && errno != ENOENT)
		return err_sys(err, errno, "tag '%s'", tag);
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int store_tag_list(const struct store *store, struct strlist *ret_tags, struct err *err)
{
	cleanup_with(strlist_clear) struct strlist files = { 0 };
	int rc = tree_list(store->tags_fd, TAGS_MAX, &files);

	if (rc < 0)
		return err_sys(err, -rc, "%s/tags", store->dir);
	for (size_t i = 0; i < files.len; i++) {
		cleanup_free char *tag = tag_of_file(files.items[i]);

		if (tag && is_tag(tag) && strlist_add(ret_tags, tag) < 0)
			return err_sys(err, ENOMEM, "%s/tags", store->dir);
	}
	if (ret_tags->len)
		qsort(ret_tags->items, ret_tags->len, sizeof(*ret_tags->items), by_text);
	return 0;
}
