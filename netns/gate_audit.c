/* SPDX-License-Identifier: Apache-2.0
 *
 * Audit lines; see gate_audit.h. Runs in: the gate. Holds: the write end of the launcher's audit
 * pipe. A line is built on the stack: there is nothing to fail, and no file is opened for a time
 * zone (the gate may open none), so the time is computed here.
 */
#include "netns/gate_audit.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	BURST = 256,
	TOKEN_MS = 20,
	/* Escaped bytes of a string: a domain name whole, anything else cut; all of them fit a line. */
	HOST_MAX = 6 * 255,
	TEXT_MAX = 384,
};

static_assert(HOST_MAX + 6 * TEXT_MAX + 256 < GATE_AUDIT_LINE_BYTES,
	      "a line has room for its strings");

struct line {
	char bytes[GATE_AUDIT_LINE_BYTES];
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *fmt, ...)
{
	size_t room = sizeof(line->bytes) - line->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line->bytes + line->len, room, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < room)
		line->len += (size_t)n;
}

/* A string as printable ASCII (RFC 8259 §7), cut after `max` bytes of it. */
static void add_string(struct line *line, const char *key, const char *text, size_t max)
{
	size_t end;

	if (!text)
		return;
	add(line, ",\"%s\":\"", key);
	for (end = line->len + max; *text && line->len + 6 <= end; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20 || c > 0x7e || c == '"' || c == '\\')
			add(line, "\\u%04x", c);
		else
			add(line, "%c", c);
	}
	add(line, "\"");
}

/* RFC 3339 in UTC. The date from days since 1970, era by era of 400 years (H. Hinnant,
 * "chrono-compatible low-level date algorithms", civil_from_days). */
static void add_time(struct line *line)
{
	struct timespec ts = { 0 };
	int64_t z, era, doe, yoe, doy, mp, day, month;

	clock_gettime(CLOCK_REALTIME, &ts);
	z = ts.tv_sec / 86400 + 719468;
	era = z / 146097;
	doe = z - era * 146097;
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	mp = (5 * doy + 2) / 153;
	day = doy - (153 * mp + 2) / 5 + 1;
	month = mp < 10 ? mp + 3 : mp - 9;
	add(line, "{\"ts\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"",
	    (int)(yoe + era * 400 + (month <= 2)), (int)month, (int)day,
	    (int)(ts.tv_sec / 3600 % 24), (int)(ts.tv_sec / 60 % 60), (int)(ts.tv_sec % 60),
	    (int)(ts.tv_nsec / 1000000));
}

void gate_audit_init(struct gate_audit *audit, int fd, const char *run_id)
{
	*audit = (struct gate_audit){ .fd = fd, .run_id = run_id, .tokens = BURST };
}

static bool take_token(struct gate_audit *audit, uint64_t now_ms)
{
	uint64_t more = (now_ms - audit->refilled_ms) / TOKEN_MS;

	if (more) {
		audit->refilled_ms += more * TOKEN_MS;
		audit->tokens = more > BURST - audit->tokens ? BURST
							     : audit->tokens + (unsigned)more;
	}
	if (!audit->tokens)
		return false;
	audit->tokens--;
	return true;
}

static void write_line(struct gate_audit *audit, const struct gate_event *event)
{
	struct line line = { .len = 0 };
	ssize_t n;

	add_time(&line);
	add_string(&line, "event", event->event ? event->event : "gate", TEXT_MAX);
	add_string(&line, "verdict", event->verdict, TEXT_MAX);
	add_string(&line, "reason", event->reason, TEXT_MAX);
	add_string(&line, "host", event->host, HOST_MAX);
	if (event->port)
		add(&line, ",\"port\":%u", event->port);
	add_string(&line, "address", event->address, TEXT_MAX);
	add_string(&line, "detail", event->detail, TEXT_MAX);
	if (audit->suppressed)
		add(&line, ",\"suppressed\":%" PRIu64, audit->suppressed);
	if (audit->lost)
		add(&line, ",\"lost\":%" PRIu64, audit->lost);
	add_string(&line, "run", audit->run_id, TEXT_MAX);
	add(&line, "}\n");
	do {
		n = write(audit->fd, line.bytes, line.len);
	} while (n < 0 && errno == EINTR);
	if (n != (ssize_t)line.len) { /* ≤ PIPE_BUF: all or nothing on a pipe (pipe(7)) */
		audit->lost++;
		return;
	}
	audit->suppressed = 0;
	audit->lost = 0;
}

void gate_audit_write(struct gate_audit *audit, uint64_t now_ms, const struct gate_event *event)
{
	if (audit->fd < 0)
		return;
	if (take_token(audit, now_ms))
		write_line(audit, event);
	else
		audit->suppressed++;
}

bool gate_audit_first_time(struct gate_audit *audit, const char *host)
{
	uint64_t h = 14695981039346656037ULL; /* FNV-1a */
	uint64_t *place;

	for (; *host; host++)
		h = (h ^ (unsigned char)*host) * 1099511628211ULL;
	place = &audit->seen[(h ^ h >> 32) % (sizeof(audit->seen) / sizeof(audit->seen[0]))];
	if (*place == h)
		return false;
	*place = h;
	return true;
}

void gate_audit_finish(struct gate_audit *audit)
{
	struct gate_event event = { .verdict = "error", .reason = "audit_lost" };

	if (audit->fd < 0 || (!audit->suppressed && !audit->lost))
		return;
	if (!audit->lost)
		event = (struct gate_event){ .verdict = "deny", .reason = "suppressed" };
	write_line(audit, &event);
}
