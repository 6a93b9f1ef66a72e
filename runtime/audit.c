/* SPDX-License-Identifier: Apache-2.0
 *
 * The audit log, launcher's side; see audit.h. Runs in: the launcher.
 *
 * Bytes → lines → JSON values → our own encoding. Before a line reaches the parser it is at most
 * 16 KiB and at most 16 levels deep, so neither memory nor stack can be made to grow. What the
 * encoder writes is printable ASCII: it escapes the rest, and DEL, which it leaves, is done here.
 */
#include "runtime/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/secrets.h"

enum { DEPTH_MAX = 16, EXCERPT_BYTES = 200, TS_MAX = 40, CAP_RECORD_BYTES = 256 };

static const char *const source_names[] = {
	[AUDIT_PROXY] = "proxy",
	[AUDIT_GATE] = "gate",
};
_Static_assert(sizeof(source_names) / sizeof(source_names[0]) == AUDIT_SOURCES,
	       "name every source");

#define cleanup_json cleanup_with(json_clear)

/* ---- the file ---- */

void audit_init(struct audit *audit)
{
	*audit = (struct audit){ .fd = -1, .max_bytes = AUDIT_RUN_BYTES };
}

void audit_clear(struct audit *audit)
{
	fd_close(&audit->fd);
	free(audit->run_id);
	for (int i = 0; i < AUDIT_SOURCES; i++)
		free(audit->stream[i].line);
	audit_init(audit);
}

static int open_log(int state_dir_fd, const char *name, struct err *err)
{
	cleanup_fd int dir_fd = -1;
	cleanup_fd int fd = -1;
	struct stat st;

	if (mkdirat(state_dir_fd, name, 0700) < 0 && errno != EEXIST)
		return err_folder(err, errno, "XDG_STATE_HOME", "state folder: %s", name);
	dir_fd = fd_open_nosymlinks(state_dir_fd, name, O_PATH | O_DIRECTORY, 0);
	if (dir_fd < 0)
		return err_sys(err, -dir_fd, "state folder: %s", name);
	fd = fd_open_nosymlinks(dir_fd, "egress.jsonl",
				O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY | O_NONBLOCK, 0600);
	if (fd < 0)
		return err_folder(err, -fd, "XDG_STATE_HOME", "state folder: %s/egress.jsonl",
				  name);
	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "state folder: %s/egress.jsonl", name);
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink != 1)
		return err_set(err, EPERM,
			       "state folder: %s/egress.jsonl is not a plain file of ours", name);
	return take_fd(&fd);
}

int audit_open(int state_dir_fd, const char *name, const char *run_id, struct audit *ret_audit,
	       struct err *err)
{
	cleanup_with(audit_clear) struct audit audit;

	audit_init(&audit);
	audit.run_id = strdup(run_id);
	for (int i = 0; i < AUDIT_SOURCES; i++)
		audit.stream[i].line = malloc(AUDIT_LINE_MAX);
	if (!audit.run_id || !audit.stream[AUDIT_PROXY].line || !audit.stream[AUDIT_GATE].line)
		return err_sys(err, ENOMEM, "audit log");
	TRY(audit.fd = open_log(state_dir_fd, name, err));
	*ret_audit = audit;
	audit_init(&audit);
	return 0;
}

/* One write(2): another run of the same name may append too. A write that was cut short (a full disk, a limit)
 * leaves half a line, which is ended at once, since the attempt tells why there was no room, or else by the
 * next record. */
static bool write_record(struct audit *audit, const struct buf *line)
{
	size_t skip = audit->broken_line ? 0
					 : 1; /* line begins with the newline that may be needed */
	ssize_t n;

	do {
		n = write(audit->fd, line->data + skip, line->len - skip);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		audit->bytes += (uint64_t)n;
		audit->broken_line = (size_t)n != line->len - skip;
	}
	if (n == (ssize_t)(line->len - skip))
		return true;
	if (n == 0)
		errno = ENOSPC;
	if (n > 0 && write(audit->fd, "\n", 1) == 1) {
		audit->bytes++;
		audit->broken_line = false;
		errno = ENOSPC; /* there is room again */
	}
	if (!audit->write_errno)
		audit->write_errno = errno;
	return false;
}

static int put_escaped(const char *bytes, size_t len, void *ctx)
{
	const char *end = bytes + len;

	while (bytes < end) {
		const char *del = memchr(bytes, 0x7f, (size_t)(end - bytes));
		const char *stop = del ? del : end;

		buf_append(ctx, bytes, (size_t)(stop - bytes));
		if (del)
			buf_puts(ctx, "\\u007f");
		bytes = del ? del + 1 : end;
	}
	return 0;
}

/* Encodes; -EACCES when a token stands in it. */
static int render(const struct audit *audit, const json_t *record, struct buf *line)
{
	buf_puts(line, "\n");
	if (json_dump_callback(record, put_escaped, line, JSON_COMPACT | JSON_ENSURE_ASCII) < 0)
		return -ENOMEM;
	buf_puts(line, "\n");
	if (line->failed)
		return -ENOMEM;
	if (audit->secrets && secrets_found_in(audit->secrets, line->data, line->len))
		return -EACCES;
	return 0;
}

static void now_text(char out[static TS_MAX])
{
	struct timespec now;
	struct tm tm;
	size_t len;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	len = strftime(out, TS_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + len, TS_MAX - len, ".%03dZ", (int)(now.tv_nsec / 1000000));
}

/* { ts, run, source }: what every record of ours begins with. */
static json_t *record_new(const struct audit *audit, enum audit_source source)
{
	char ts[TS_MAX];

	now_text(ts);
	return json_pack("{s:s, s:s, s:s}", "ts", ts, "run", audit->run_id, "source",
			 source_names[source]);
}

/* The cap's own record is written once, into room that was kept for it. */
static void note_cap(struct audit *audit, enum audit_source source)
{
	cleanup_with(buf_clear) struct buf line = { 0 };
	cleanup_json json_t *record = record_new(audit, source);

	audit->capped = true;
	if (!record || json_object_set_new(record, "event", json_string("truncated")) < 0 ||
	    json_object_set_new(record, "reason", json_string("size_cap")) < 0 ||
	    render(audit, record, &line) < 0 || !write_record(audit, &line))
		audit->lost++;
}

/* Returns render's error; a record that could not be written is counted, not returned. */
static int keep(struct audit *audit, enum audit_source source, const json_t *record)
{
	cleanup_with(buf_clear) struct buf line = { 0 };

	TRY(render(audit, record, &line));
	if (!audit->capped && audit->bytes + line.len + CAP_RECORD_BYTES > audit->max_bytes)
		note_cap(audit, source);
	if (audit->capped || !write_record(audit, &line))
		audit->lost++;
	return 0;
}

int audit_write_failed(const struct audit *audit, struct err *err)
{
	return err_set(err, audit->write_errno,
		       "the audit log could not be written (%s), and requests that nobody sees are "
		       "not to be",
		       strerror(audit->write_errno));
}

/* ---- counting ---- */

static void copy_text(char *out, size_t size, const json_t *record, const char *key)
{
	const char *text = json_string_value(json_object_get(record, key));

	snprintf(out, size, "%s", text ? text : "");
}

static bool text_is(const json_t *record, const char *key, const char *expected)
{
	const char *text = json_string_value(json_object_get(record, key));

	return text && strcmp(text, expected) == 0;
}

/* What the gate left out of its log, by its own account. */
static uint64_t gate_count(const json_t *record, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(record, key));

	return value > 0 && value < UINT32_MAX ? (uint64_t)value : 0;
}

static void remember_first(struct audit *audit, const json_t *record)
{
	struct audit_denial *first = &audit->first;
	json_int_t port = json_integer_value(json_object_get(record, "port"));

	audit->has_first = true;
	copy_text(first->method, sizeof(first->method), record, "method");
	copy_text(first->host, sizeof(first->host), record, "host");
	copy_text(first->path, sizeof(first->path), record, "path");
	copy_text(first->reason, sizeof(first->reason), record, "reason");
	first->port = port > 0 && port <= UINT16_MAX ? (int)port : 0;
}

static void count(struct audit *audit, enum audit_source source, const json_t *record)
{
	if (text_is(record, "event", "request"))
		audit->requests++;
	if (source == AUDIT_GATE) {
		audit->denied += gate_count(record, "suppressed");
		audit->lost += gate_count(record, "lost");
	}
	if (!text_is(record, "verdict", "deny"))
		return;
	if (!audit->has_first)
		remember_first(audit, record);
	audit->denied++;
}

/* ---- one line ---- */

static bool is_shallow(const char *line, size_t len)
{
	bool in_string = false;
	int depth = 0;

	for (size_t i = 0; i < len; i++) {
		char c = line[i];

		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '[') && ++depth > DEPTH_MAX)
			return false;
		else if (!in_string && (c == '}' || c == ']'))
			depth--;
	}
	return true;
}

/* A record of our own about a line that could not be kept as it came. */
static void keep_note(struct audit *audit, enum audit_source source, const char *event,
		      const char *reason, const char *excerpt)
{
	cleanup_json json_t *record = record_new(audit, source);

	if (!record || json_object_set_new(record, "event", json_string(event)) < 0 ||
	    json_object_set_new(record, "reason", json_string(reason)) < 0 ||
	    (excerpt && json_object_set_new(record, "excerpt", json_string(excerpt)) < 0) ||
	    keep(audit, source, record) < 0)
		audit->lost++;
}

static void keep_invalid(struct audit *audit, enum audit_source source, const char *line,
			 size_t len)
{
	char excerpt[EXCERPT_BYTES + 1];

	audit->invalid++;
	if (audit->secrets && secrets_found_in(audit->secrets, line, len))
		keep_note(audit, source, "invalid", "holds_a_token", NULL);
	else
		keep_note(audit, source, "invalid", "not_a_record",
			  str_escape(excerpt, sizeof(excerpt), line, len));
}

/* Our fields first; of theirs all but `run` and `source`, and `ts` where it looks like one. */
static json_t *merge(const struct audit *audit, enum audit_source source, json_t *theirs)
{
	cleanup_json json_t *record = record_new(audit, source);
	const json_t *ts = json_object_get(theirs, "ts");

	if (json_is_string(ts) && json_string_length(ts) < TS_MAX &&
	    json_object_set(record, "ts", json_object_get(theirs, "ts")) < 0)
		return NULL;
	if (json_object_update_missing(record, theirs) < 0)
		return NULL;
	return json_incref(record);
}

static void take_line(struct audit *audit, enum audit_source source, const char *line, size_t len)
{
	cleanup_json json_t *theirs = NULL;
	cleanup_json json_t *record = NULL;
	int rc;

	if (len == 0)
		return;
	if (audit->capped) { /* nothing is written any more: nothing need be parsed */
		audit->lost++;
		return;
	}
	if (is_shallow(line, len))
		theirs = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(theirs)) {
		keep_invalid(audit, source, line, len);
		return;
	}
	record = merge(audit, source, theirs);
	rc = record ? keep(audit, source, record) : -ENOMEM;
	if (rc == -EACCES) {
		audit->invalid++;
		keep_note(audit, source, "invalid", "holds_a_token", NULL);
	} else if (rc < 0) {
		audit->lost++;
	} else {
		count(audit, source, record);
	}
}

static void end_line(struct audit *audit, enum audit_source source)
{
	struct audit_stream *stream = &audit->stream[source];

	if (!stream->skipping)
		take_line(audit, source, stream->line, stream->len);
	stream->skipping = false;
	stream->len = 0;
}

/* A line that does not fit is noted once and skipped to its end. */
static void add_to_line(struct audit *audit, enum audit_source source, const char *bytes,
			size_t len)
{
	struct audit_stream *stream = &audit->stream[source];

	if (stream->skipping)
		return;
	if (len > AUDIT_LINE_MAX - stream->len) {
		stream->skipping = true;
		audit->lost++;
		keep_note(audit, source, "truncated", "line_too_long", NULL);
		return;
	}
	memcpy(stream->line + stream->len, bytes, len);
	stream->len += len;
}

void audit_feed(struct audit *audit, enum audit_source source, const void *bytes, size_t len)
{
	const char *at = bytes;
	const char *end = at + len;

	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *stop = newline ? newline : end;

		add_to_line(audit, source, at, (size_t)(stop - at));
		if (newline)
			end_line(audit, source);
		at = newline ? newline + 1 : end;
	}
}

void audit_end(struct audit *audit, enum audit_source source)
{
	end_line(audit, source);
}
