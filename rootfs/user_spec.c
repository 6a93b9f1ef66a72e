/* SPDX-License-Identifier: Apache-2.0
 * USER as numbers; see user_spec.h. Runs in: launcher.
 *
 * The image's passwd and group are hostile: a line that does not parse is passed over as the C library
 * would. */
#include "rootfs/user_spec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum { SHOWN_NAME_BYTES = 64 };

/* As Docker: what a signed 32-bit id can say. */
enum { ID_MAX = 0x7fffffff };

/* Field `index` of a line "a:b:c", or false. The line ends at a newline or NUL. */
static bool field(const char *line, unsigned index, const char **ret_text, size_t *ret_len)
{
	for (; index; index--) {
		line += strcspn(line, ":\n");
		if (*line++ != ':')
			return false;
	}
	*ret_text = line;
	*ret_len = strcspn(line, ":\n");
	return true;
}

static bool field_is(const char *line, unsigned index, const char *wanted)
{
	const char *text;
	size_t len;

	return field(line, index, &text, &len) && len == strlen(wanted) &&
	       memcmp(text, wanted, len) == 0;
}

static bool field_id(const char *line, unsigned index, uint32_t *ret_id)
{
	unsigned long long value;
	const char *text;
	char digits[16];
	size_t len;

	if (!field(line, index, &text, &len) || len >= sizeof(digits))
		return false;
	memcpy(digits, text, len);
	digits[len] = '\0';
	if (str_to_u64(digits, 0, ID_MAX, &value) < 0)
		return false;
	*ret_id = (uint32_t)value;
	return true;
}

/* The columns of passwd(5) and group(5). */
enum { COLUMN_NAME = 0, COLUMN_ID = 2, COLUMN_PASSWD_GID = 3 };

/* The first line whose column is `wanted`, or NULL. */
static const char *find_line(const struct buf *text, unsigned column, const char *wanted)
{
	const char *line = text->data;

	while (line && *line) {
		if (field_is(line, column, wanted))
			return line;
		line = strchr(line, '\n');
		if (line)
			line++;
	}
	return NULL;
}

static int unknown(const char *kind, const char *name, const char *file, struct err *err)
{
	char shown[SHOWN_NAME_BYTES];

	return err_set(err, ENOENT, "USER: %s '%s' is not in the image's /etc/%s", kind,
		       str_escape(shown, sizeof(shown), name, strlen(name)), file);
}

/* Numbers are ids even where an entry has such a name. -ERANGE: a number, but no id. */
static int parse_id(const char *text, uint32_t *ret_id, struct err *err)
{
	unsigned long long value;
	int rc = str_to_u64(text, 0, ID_MAX, &value);

	if (rc == -ERANGE)
		return err_set(err, ERANGE, "USER: '%s' is no id (0 to %d)", text, ID_MAX);
	if (rc == 0)
		*ret_id = (uint32_t)value;
	return rc;
}

static int resolve_uid(const struct user_spec_files *files, const char *name, uint32_t *ret_uid,
		       uint32_t *ret_gid, struct err *err)
{
	cleanup_with(buf_clear) struct buf passwd = { 0 };
	int rc = parse_id(name, ret_uid, err);
	const char *line;

	if (rc == -ERANGE)
		return rc;
	TRY(files->read(files->of, "etc/passwd", &passwd, err));
	line = find_line(&passwd, rc == 0 ? COLUMN_ID : COLUMN_NAME, name);
	if (rc < 0 && (!line || !field_id(line, COLUMN_ID, ret_uid) ||
		       !field_id(line, COLUMN_PASSWD_GID, ret_gid)))
		return unknown("user", name, "passwd", err);
	if (rc == 0 && (!line || !field_id(line, COLUMN_PASSWD_GID, ret_gid)))
		*ret_gid = 0;
	return 0;
}

static int resolve_gid(const struct user_spec_files *files, const char *name, uint32_t *ret_gid,
		       struct err *err)
{
	cleanup_with(buf_clear) struct buf group = { 0 };
	int rc = parse_id(name, ret_gid, err);
	const char *line;

	if (rc == 0 || rc == -ERANGE)
		return rc;
	TRY(files->read(files->of, "etc/group", &group, err));
	line = find_line(&group, COLUMN_NAME, name);
	if (!line || !field_id(line, COLUMN_ID, ret_gid))
		return unknown("group", name, "group", err);
	return 0;
}

int user_spec_resolve(const char *user, const struct user_spec_files *files, uint32_t *ret_uid,
		      uint32_t *ret_gid, struct err *err)
{
	cleanup_free char *name = strdup(user);
	uint32_t uid = 0, gid = 0;
	char *group;

	if (!name)
		return err_sys(err, ENOMEM, "USER");
	group = strchr(name, ':');
	if (group)
		*group++ = '\0';
	if (*name)
		TRY(resolve_uid(files, name, &uid, &gid, err));
	if (group && *group)
		TRY(resolve_gid(files, group, &gid, err));
	*ret_uid = uid;
	*ret_gid = gid;
	return 0;
}

void user_spec_parse(const char *user, struct user_spec *ret_spec)
{
	cleanup_free char *name = strdup(user);
	char *group = name ? strchr(name, ':') : NULL;
	struct err ignored;

	*ret_spec = (struct user_spec){ 0 };
	if (!name)
		return;
	if (group)
		*group++ = '\0';
	ret_spec->has_uid = !*name || parse_id(name, &ret_spec->uid, &ignored) == 0;
	ret_spec->has_gid = group && *group ? parse_id(group, &ret_spec->gid, &ignored) == 0
					    : !*name;
}
