/* SPDX-License-Identifier: Apache-2.0
 * The proxy's audit lines: fields and their order, escapes as Python's json.dumps writes them, what is
 * left out, the bound, and what happens when the log cannot be written. */
#include "proxy/audit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "tests/lib/in_child.h"

static const uint64_t noon_us = 1772366400123456; /* 2026-03-01T12:00:00.123 */
static char line[AUDIT_RECORD_MAX + 1];

#define BEGINNING "{\"ts\":\"2026-03-01T12:00:00.123Z\",\"event\":"

static const char *rendered(const struct audit_record *record)
{
	size_t len = audit_render(record, noon_us, line);

	cr_assert_leq(len, AUDIT_RECORD_MAX);
	cr_assert_eq(line[len - 1], '\n');
	line[len - 1] = '\0';
	cr_assert_eq(strlen(line), len - 1);
	for (size_t i = 0; i + 1 < len; i++)
		cr_assert(line[i] >= 0x20 && line[i] < 0x7f);
	return line;
}

Test(proxy_audit, a_request_with_everything)
{
	const struct audit_record record = {
		.event = "request",
		.verdict = "allow",
		.reason = "",
		.method = SPAN("GET"),
		.protocol = "h2",
		.host = "api.example.com",
		.port = 443,
		.target = SPAN("/v1/models?limit=10&sekrit&&a=b=c"),
		.rule = "*.example.com",
		.status = 200,
		.has_bytes = true,
		.bytes_down = UINT64_MAX,
		.has_phases = true,
		.phases = { .decision = 3, .connect = 1200, .tls = 2000, .total = 9999 },
		.request_id = "0123abcd",
	};

	cr_assert_str_eq(rendered(&record), BEGINNING
			 "\"request\",\"verdict\":\"allow\",\"reason\":\"\","
			 "\"method\":\"GET\",\"protocol\":\"h2\","
			 "\"host\":\"api.example.com\",\"port\":443,"
			 "\"path\":\"/v1/models\",\"query\":[\"limit\",\"*\",\"*\",\"a\"],"
			 "\"rule\":\"*.example.com\",\"status\":200,\"bytes_up\":0,"
			 "\"bytes_down\":18446744073709551615,"
			 "\"request_id\":\"0123abcd\",\"us\":{\"decision\":3,"
			 "\"connect\":1200,\"tls\":2000,\"total\":9999}}");
}

Test(proxy_audit, what_has_no_value_is_left_out)
{
	const struct audit_record record = { .event = "reload", .verdict = "allow", .routes = 12 };

	cr_assert_str_eq(rendered(&record),
			 BEGINNING "\"reload\",\"verdict\":\"allow\",\"routes\":12}");
}

static const struct {
	const char *target, *expected;
} queries[] = {
	{ "/", "\"path\":\"/\",\"query\":[]}" },
	{ "/?", "\"path\":\"/\",\"query\":[]}" },
	{ "*", "\"path\":\"*\",\"query\":[]}" },
	{ "/?=v", "\"path\":\"/\",\"query\":[\"\"]}" },
	{ "/?a=1&", "\"path\":\"/\",\"query\":[\"a\",\"*\"]}" },
	{ "/?a?b=1", "\"path\":\"/\",\"query\":[\"a?b\"]}" },
	{ "?x", "\"path\":\"\",\"query\":[\"*\"]}" },
};

Test(proxy_audit, of_a_query_only_names_are_written)
{
	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
		const struct audit_record record = {
			.event = "request",
			.target = { queries[i].target, strlen(queries[i].target) },
		};

		cr_assert_str_eq(strstr(rendered(&record), "\"path\""), queries[i].expected);
	}
}

Test(proxy_audit, a_websocket_that_ended_has_a_path_alone)
{
	const struct audit_record record = { .event = "websocket_end",
					     .target = SPAN("/s?token=x"),
					     .has_bytes = true };

	cr_assert_str_eq(rendered(&record), BEGINNING
			 "\"websocket_end\",\"path\":\"/s\",\"bytes_up\":0,\"bytes_down\":0}");
}

Test(proxy_audit, bytes_are_read_as_latin_1_and_escaped)
{
	const struct audit_record record = {
		.event = "request",
		.method = { "A\0B\x7f", 4 },
		.detail = "\"\\\n\r\t\b\f\x01\x1f~ \xe9\xff/",
	};

	cr_assert_str_eq(rendered(&record),
			 BEGINNING "\"request\",\"method\":\"A\\u0000B\\u007f\","
				   "\"detail\":\"\\\"\\\\\\n\\r\\t\\b\\f\\u0001\\u001f~ "
				   "\\u00e9\\u00ff/\"}");
}

/* Every byte, by another reader of JSON. */
Test(proxy_audit, any_bytes_make_json)
{
	unsigned char all[256], utf8[3] = { 0 };
	struct audit_record record = { .event = "request", .method = { (char *)all, 1 } };

	for (unsigned i = 1; i < 256; i++) {
		json_t *parsed;

		all[0] = (unsigned char)i;
		utf8[0] = (unsigned char)(i < 0x80 ? i : 0xc0 | i >> 6);
		utf8[1] = (unsigned char)(i < 0x80 ? 0 : 0x80 | (i & 0x3f));
		parsed = json_loads(rendered(&record), 0, NULL);
		cr_assert_not_null(parsed, "byte %u", i);
		cr_assert_str_eq(json_string_value(json_object_get(parsed, "method")),
				 (char *)utf8);
		json_decref(parsed);
	}
}

/* ---- the bound ---- */

static char long_path[65536];

static struct audit_record with_path(char c, size_t len)
{
	memset(long_path, c, len);
	return (struct audit_record){ .event = "request",
				      .verdict = "deny",
				      .reason = "bad_path",
				      .target = { long_path, len },
				      .host = "a.example" };
}

Test(proxy_audit, a_line_may_be_exactly_as_long_as_the_bound)
{
	struct audit_record record = with_path('a', 1);
	size_t around = strlen(rendered(&record)) - 1;

	record = with_path('a', AUDIT_RECORD_MAX - 1 - around);
	cr_assert_eq(strlen(rendered(&record)), AUDIT_RECORD_MAX - 1);
	cr_assert_null(strstr(line, "truncated"));
	record = with_path('a', AUDIT_RECORD_MAX - around);
	cr_assert_lt(strlen(rendered(&record)), 5000);
	cr_assert_not_null(strstr(line, "\"host\":\"a.example\""));
	cr_assert(strstr(line, ",\"truncated\":true}"));
}

Test(proxy_audit, a_text_full_of_escapes_leaves_the_bare_record)
{
	struct audit_record record = with_path('\x01', 60000);

	cr_assert_str_eq(rendered(&record),
			 BEGINNING "\"request\",\"verdict\":\"deny\",\"reason\":\"bad_path\","
				   "\"truncated\":true}");
}

Test(proxy_audit, a_query_is_cut_to_32_names_of_128)
{
	struct audit_record record = with_path('x', 60000);
	json_t *parsed, *query;

	long_path[0] = '/';
	long_path[1] = '?';
	for (size_t i = 1000; i < 60000; i += 1000)
		memcpy(long_path + i, "=v&", 3);
	parsed = json_loads(rendered(&record), 0, NULL);
	query = json_object_get(parsed, "query");
	cr_assert_eq(json_array_size(query), 32);
	for (size_t i = 0; i < 32; i++)
		cr_assert_eq(json_string_length(json_array_get(query, i)), 128);
	json_decref(parsed);
}

/* ---- writing ---- */

static const struct audit_record small = { .event = "request", .verdict = "allow", .reason = "" };

/* A pipe that is full and non-blocking; its reader is another process, which is slow. */
static int full_pipe(void *arg)
{
	static char block[4096];
	size_t filled = 0, got = 0;
	int fds[2];
	pid_t writer;
	ssize_t n;

	(void)arg;
	CHILD_CHECK(fd_pipe(fds) == 0 && fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0);
	while (write(fds[1], block, sizeof(block)) > 0)
		filled += sizeof(block);
	writer = fork();
	if (!writer) {
		audit_start(fds[1]);
		audit_write(&small);
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], line, sizeof(line) - 1)) > 0)
		got += (size_t)n;
	CHILD_CHECK(got == filled + audit_render(&small, noon_us, line));
	return 0;
}

Test(proxy_audit, a_full_pipe_is_waited_for)
{
	cr_assert_eq(in_child(full_pipe, NULL), 0);
}

static int no_reader(void *arg)
{
	int fds[2];

	(void)arg;
	signal(SIGPIPE, SIG_IGN);
	CHILD_CHECK(fd_pipe(fds) == 0);
	close(fds[0]);
	audit_start(fds[1]);
	audit_write(&small);
	return 0;
}

static int full_disk(void *arg)
{
	(void)arg;
	audit_start(open("/dev/full", O_WRONLY | O_CLOEXEC));
	audit_write(&small);
	return 0;
}

Test(proxy_audit, a_lost_log_ends_the_process)
{
	cr_assert_eq(in_child(no_reader, NULL), EXIT_AUDIT_LOST);
	cr_assert_eq(in_child(full_disk, NULL), EXIT_AUDIT_LOST);
}
