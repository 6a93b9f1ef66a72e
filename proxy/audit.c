/* SPDX-License-Identifier: Apache-2.0
 *
 * The audit log; see audit.h. Runs in: the proxy's worker, once for each request, so nothing is allocated
 * and the line is put together in one pass over a fixed buffer.
 *
 * Bytes that are not ASCII are read as Latin-1, and escapes are those of Python's json.dumps: so a
 * path stands in the log of every proxy in the same way. A line that does not fit is put together anew
 * with less: first with every text cut, then with what says no more than what happened.
 */
#include "proxy/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How much of texts and lists is written, in bytes as they came and in items. */
struct limits {
	size_t text, item, items;
	bool is_cut;  /* say so */
	bool is_bare; /* nothing but event, verdict and reason */
};

static const struct limits levels[] = {
	{ .text = SIZE_MAX, .item = SIZE_MAX, .items = SIZE_MAX },
	{ .text = 4096, .item = 128, .items = 32, .is_cut = true },
	{ .text = 64, .item = 0, .items = 0, .is_cut = true, .is_bare = true },
};

/* Room for the newline is kept. Once it overflowed nothing more is written. */
struct writer {
	char *at;
	const char *end;
	const struct limits *limits;
	bool overflowed;
};

static int log_fd = -1;

static void put_bytes(struct writer *w, const char *bytes, size_t len)
{
	if (len > (size_t)(w->end - w->at)) {
		w->overflowed = true;
		w->at = (char *)(uintptr_t)w->end;
		return;
	}
	memcpy(w->at, bytes, len);
	w->at += len;
}

#define PUT(w, literal) put_bytes(w, literal, sizeof(literal) - 1)

static void put_number(struct writer *w, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	put_bytes(w, digits + at, sizeof(digits) - at);
}

/* ---- strings ---- */

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void put_escape(struct writer *w, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	static const char named[256] = { ['"'] = '"',  ['\\'] = '\\', ['\n'] = 'n', ['\r'] = 'r',
					 ['\t'] = 't', ['\b'] = 'b',  ['\f'] = 'f' };
	const char unit[] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };

	if (named[c])
		put_bytes(w, (const char[]){ '\\', named[c] }, 2);
	else
		put_bytes(w, unit, sizeof(unit));
}

static void put_string(struct writer *w, const char *text, size_t len, size_t max)
{
	size_t run = 0;

	len = len < max ? len : max;
	PUT(w, "\"");
	for (size_t i = 0; i < len && !w->overflowed; i++) {
		if (is_plain((unsigned char)text[i]))
			continue;
		put_bytes(w, text + run, i - run);
		put_escape(w, (unsigned char)text[i]);
		run = i + 1;
	}
	if (len) /* text may be NULL else, which memcpy must not be given */
		put_bytes(w, text + run, len - run);
	PUT(w, "\"");
}

/* `key`: `,"name":` */
static void put_text(struct writer *w, const char *key, const char *text)
{
	if (!text)
		return;
	put_bytes(w, key, strlen(key));
	put_string(w, text, strlen(text), w->limits->text);
}

static void put_span(struct writer *w, const char *key, struct span text)
{
	if (!text.len)
		return;
	put_bytes(w, key, strlen(key));
	put_string(w, text.at, text.len, w->limits->text);
}

static void put_count(struct writer *w, const char *key, uint64_t value)
{
	put_bytes(w, key, strlen(key));
	put_number(w, value);
}

/* ---- parts ---- */

/* The text of a second is kept: requests come many in one. */
static void put_time(struct writer *w, uint64_t now_us)
{
	static char text[] = "0000-00-00T00:00:00";
	static time_t text_is_of = -1;
	time_t second = (time_t)(now_us / 1000000);
	unsigned ms = (unsigned)(now_us / 1000 % 1000);
	const char fraction[] = { '.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10),
				  (char)('0' + ms % 10), 'Z' };
	struct tm tm;

	if (second != text_is_of) {
		gmtime_r(&second, &tm);
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
		text_is_of = second;
	}
	put_bytes(w, text, sizeof(text) - 1);
	put_bytes(w, fraction, sizeof(fraction));
}

/* Names alone. A pair without `=` could be a secret and is hidden. */
static void put_query(struct writer *w, const char *at, const char *end)
{
	bool is_last = at == end;

	PUT(w, ",\"query\":[");
	for (size_t i = 0; !is_last && i < w->limits->items; i++) {
		const char *amp = memchr(at, '&', (size_t)(end - at));
		const char *stop = amp ? amp : end;
		const char *equals = memchr(at, '=', (size_t)(stop - at));

		if (i)
			PUT(w, ",");
		if (equals)
			put_string(w, at, (size_t)(equals - at), w->limits->item);
		else
			PUT(w, "\"*\"");
		is_last = !amp;
		at = amp ? amp + 1 : end;
	}
	PUT(w, "]");
}

static void put_target(struct writer *w, struct span target, bool with_query)
{
	const char *end, *mark;

	if (!target.len)
		return;
	end = target.at + target.len;
	mark = memchr(target.at, '?', target.len);
	PUT(w, ",\"path\":");
	put_string(w, target.at, (size_t)((mark ? mark : end) - target.at), w->limits->text);
	if (with_query)
		put_query(w, mark ? mark + 1 : end, end);
}

static void put_phases(struct writer *w, const struct audit_phases *phases)
{
	const struct {
		const char *key;
		uint32_t value;
	} parts[] = {
		{ "\"decision\":", phases->decision },	   { "\"dial\":", phases->dial },
		{ "\"connect\":", phases->connect },	   { "\"tls\":", phases->tls },
		{ "\"first_byte\":", phases->first_byte },
	};

	PUT(w, ",\"us\":{");
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (!parts[i].value)
			continue;
		put_count(w, parts[i].key, parts[i].value);
		PUT(w, ",");
	}
	put_count(w, "\"total\":", phases->total);
	PUT(w, "}");
}

static void put_rest(struct writer *w, const struct audit_record *record)
{
	put_span(w, ",\"method\":", record->method);
	put_text(w, ",\"protocol\":", record->protocol);
	put_text(w, ",\"host\":", record->host);
	if (record->port)
		put_count(w, ",\"port\":", record->port);
	put_target(w, record->target, strcmp(record->event, "request") == 0);
	put_text(w, ",\"rule\":", record->rule);
	put_text(w, ",\"detail\":", record->detail);
	if (record->status)
		put_count(w, ",\"status\":", record->status);
	if (record->has_bytes) {
		put_count(w, ",\"bytes_up\":", record->bytes_up);
		put_count(w, ",\"bytes_down\":", record->bytes_down);
	}
	put_text(w, ",\"request_id\":", record->request_id);
	if (record->has_phases)
		put_phases(w, &record->phases);
	if (record->routes)
		put_count(w, ",\"routes\":", record->routes);
}

static bool put_record(struct writer *w, const struct audit_record *record, uint64_t now_us)
{
	PUT(w, "{\"ts\":\"");
	put_time(w, now_us);
	PUT(w, "\"");
	put_text(w, ",\"event\":", record->event);
	put_text(w, ",\"verdict\":", record->verdict);
	put_text(w, ",\"reason\":", record->reason);
	if (!w->limits->is_bare)
		put_rest(w, record);
	if (w->limits->is_cut)
		PUT(w, ",\"truncated\":true");
	PUT(w, "}");
	return !w->overflowed;
}

size_t audit_render(const struct audit_record *record, uint64_t now_us,
		    char out[static AUDIT_RECORD_MAX])
{
	struct writer w;

	/* The last level always fits. */
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		w = (struct writer){ .at = out,
				     .end = out + AUDIT_RECORD_MAX - 1,
				     .limits = &levels[i] };
		if (put_record(&w, record, now_us))
			break;
	}
	*w.at++ = '\n';
	return (size_t)(w.at - out);
}

/* ---- writing ---- */

void audit_start(int fd)
{
	log_fd = fd;
}

static void give_up(int code)
{
	dprintf(STDERR_FILENO, "egress-proxy: the audit log is lost: %s\n", strerror(code));
	_exit(EXIT_AUDIT_LOST);
}

/* A record is written before anything else is done: who cannot keep up with the log slows the proxy. */
static void make_blocking(void)
{
	int flags = fcntl(log_fd, F_GETFL);

	if (flags < 0 || fcntl(log_fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
		give_up(errno);
}

void audit_write(const struct audit_record *record)
{
	char line[AUDIT_RECORD_MAX];
	struct timespec now;
	size_t len, done = 0;

	clock_gettime(CLOCK_REALTIME, &now);
	len = audit_render(record, (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000,
			   line);
	while (done < len) {
		ssize_t n = write(log_fd, line + done, len - done);

		if (n >= 0)
			done += (size_t)n;
		else if (errno == EAGAIN)
			make_blocking();
		else if (errno != EINTR)
			give_up(errno);
	}
}
