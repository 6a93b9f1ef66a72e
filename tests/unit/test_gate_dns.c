/* SPDX-License-Identifier: Apache-2.0
 * The resolver's wire format, good and malformed; audit lines. */
#include "netns/gate_dns.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "netns/gate_audit.h"

#define HEAD	 "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
#define HEAD_OPT "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01"
#define NAME   \
	"\x03" \
	"aPi"  \
	"\x04" \
	"test" \
	"\x00"
#define A_IN "\x00\x01\x00\x01"
#define OPT  "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"
#define L63    \
	"\x3f" \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define L61    \
	"\x3d" \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define L62    \
	"\x3e" \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

enum { DROP = -1, OK = GATE_DNS_NOERROR, FORM = GATE_DNS_FORMERR };

#define ROW(bytes, want)                       \
	{                                      \
		bytes, sizeof(bytes) - 1, want \
	}

static const struct {
	const char *bytes;
	size_t len;
	int want;
} queries[] = {
	ROW(HEAD NAME A_IN, OK),
	ROW(HEAD_OPT NAME A_IN OPT, OK),
	ROW(HEAD NAME "\x00\x1c\x00\x01", OK),
	ROW(HEAD NAME "\x00\x41\x00\x01", OK),
	ROW(HEAD_OPT NAME A_IN "\x00\x00\x29\x00\x00\x00\x00\x80\x00\x00\x0c\x00\x0a\x00\x08"
			       "12345678",
	    OK),
	ROW(HEAD "\x00" A_IN, OK),		   /* the root */
	ROW(HEAD L63 L63 L63 L61 "\x00" A_IN, OK), /* 255 bytes of name */
	/* Too short for a header, or an answer: nothing is said. */
	ROW("", DROP),
	ROW("\x12", DROP),
	ROW("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00", DROP),
	ROW("\x12\x34\x81\x00\x00\x01\x00\x00\x00\x00\x00\x00" NAME A_IN, DROP),
	ROW("\x12\x34\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00", DROP),
	/* Other opcodes. */
	ROW("\x12\x34\x09\x00\x00\x01\x00\x00\x00\x00\x00\x00" NAME A_IN, GATE_DNS_NOTIMP),
	ROW("\x12\x34\x20\x00\x00\x01\x00\x00\x00\x00\x00\x00" NAME A_IN, GATE_DNS_NOTIMP),
	ROW("\x12\x34\x28\x00\x00\x01\x00\x00\x00\x00\x00\x00" NAME A_IN, GATE_DNS_NOTIMP),
	/* Counts. */
	ROW("\x12\x34\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00", FORM),
	ROW("\x12\x34\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00" NAME A_IN NAME A_IN, FORM),
	ROW("\x12\x34\x01\x00\xff\xff\x00\x00\x00\x00\x00\x00" NAME A_IN, FORM),
	ROW("\x12\x34\x01\x00\x00\x01\x00\x01\x00\x00\x00\x00" NAME A_IN, FORM),
	ROW("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x01\x00\x00" NAME A_IN, FORM),
	ROW("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x02" NAME A_IN OPT OPT, FORM),
	ROW("\x12\x34\x03\x00\x00\x01\x00\x00\x00\x00\x00\x00" NAME A_IN, FORM), /* TC */
	/* Names. */
	ROW(HEAD, FORM),
	ROW(HEAD "\x03"
		 "ap",
	    FORM),
	ROW(HEAD "\x03"
		 "api",
	    FORM),
	ROW(HEAD "\x03"
		 "api"
		 "\x00",
	    FORM),
	ROW(HEAD NAME "\x00", FORM),
	ROW(HEAD NAME "\x00\x01\x00", FORM),
	ROW(HEAD "\xc0\x0c" A_IN, FORM), /* a pointer to itself */
	ROW(HEAD "\xc0\x00" A_IN, FORM),
	ROW(HEAD "\x03"
		 "api"
		 "\xc0\x0c" A_IN,
	    FORM),
	ROW(HEAD "\xc0", FORM),
	ROW(HEAD "\x40"
		 "a" A_IN,
	    FORM), /* reserved label types */
	ROW(HEAD "\x80"
		 "a" A_IN,
	    FORM),
	ROW(HEAD "\x41\x01"
		 "a" A_IN,
	    FORM),
	ROW(HEAD L63 L63 L63 L62 "\x00" A_IN, FORM), /* 256 bytes of name */
	ROW(HEAD L63 L63 L63 L63 L63 L63 L63 L63 "\x00" A_IN, FORM),
	/* Additional. */
	ROW(HEAD_OPT NAME A_IN, FORM),
	ROW(HEAD_OPT NAME A_IN "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00", FORM),
	ROW(HEAD_OPT NAME A_IN "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x01", FORM),
	ROW(HEAD_OPT NAME A_IN "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\xff\xff", FORM),
	ROW(HEAD_OPT NAME A_IN "\x01"
			       "a"
			       "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00",
	    FORM),
	ROW(HEAD_OPT NAME A_IN "\x00\x00\xfa\x04\xd0\x00\x00\x00\x00\x00\x00", FORM), /* TSIG */
	ROW(HEAD_OPT NAME A_IN "\x00\x00\x29\x04\xd0\x00\x01\x00\x00\x00\x00", GATE_DNS_BADVERS),
	ROW(HEAD NAME A_IN "\x00", FORM),
	ROW(HEAD NAME A_IN OPT, FORM),
	ROW(HEAD_OPT NAME A_IN OPT "\x00", FORM),
	/* Other classes. */
	ROW(HEAD NAME "\x00\x01\x00\x03", GATE_DNS_REFUSED),
	ROW(HEAD NAME "\x00\x01\x00\xff", GATE_DNS_REFUSED),
};

Test(gate_dns, every_query_gets_the_rcode_of_its_form)
{
	static const uint8_t address[] = { 198, 18, 0, 1 };

	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
		uint8_t *query = malloc(queries[i].len + 1); /* of its exact size, for ASan */
		uint8_t answer[GATE_DNS_ANSWER_MAX];
		struct gate_dns_question q;
		int rcode;
		size_t len;

		query = realloc(query, queries[i].len ? queries[i].len : 1);
		memcpy(query, queries[i].bytes, queries[i].len);
		rcode = gate_dns_parse(query, queries[i].len, &q);
		cr_expect_eq(rcode, queries[i].want, "row %zu: %d", i, rcode);
		if (rcode >= 0) {
			len = gate_dns_answer(&q, query, rcode, rcode ? NULL : address, answer);
			cr_expect(len >= 12 && len <= GATE_DNS_ANSWER_MAX, "row %zu", i);
			cr_expect(answer[2] & 0x80);
			cr_expect_eq(answer[3] & 15, rcode & 15);
			cr_expect_eq(memcmp(answer, query, 2), 0);
		}
		free(query);
	}
}

Test(gate_dns, every_prefix_and_every_flipped_byte_is_survived)
{
	static const char whole[] = HEAD_OPT NAME A_IN OPT;
	size_t len = sizeof(whole) - 1;
	uint8_t answer[GATE_DNS_ANSWER_MAX];
	struct gate_dns_question q;

	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *query = malloc(cut ? cut : 1);

		memcpy(query, whole, cut);
		cr_expect(gate_dns_parse(query, cut, &q) != OK, "%zu", cut);
		free(query);
	}
	for (size_t i = 0; i < len; i++) {
		for (unsigned value = 0; value < 256; value++) {
			uint8_t *query = malloc(len);
			int rcode;

			memcpy(query, whole, len);
			query[i] = (uint8_t)value;
			rcode = gate_dns_parse(query, len, &q);
			if (rcode >= 0)
				cr_expect(gate_dns_answer(&q, query, rcode, NULL, answer) <= 512);
			cr_expect(strlen(q.name) < sizeof(q.name));
			free(query);
		}
	}
}

#define NAMED(bytes, name, is_hostname)                     \
	{                                                   \
		bytes, sizeof(bytes) - 1, name, is_hostname \
	}

Test(gate_dns, names_are_folded_and_strange_bytes_are_no_hostname)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *name;
		bool is_hostname;
	} rows[] = {
		NAMED(HEAD NAME A_IN, "api.test", true),
		NAMED(HEAD "\x03"
			   "a.b"
			   "\x01"
			   "c"
			   "\x00" A_IN,
		      "a?b.c", false),
		NAMED(HEAD "\x02"
			   "a\0"
			   "\x01"
			   "c"
			   "\x00" A_IN,
		      "a?.c", false),
		NAMED(HEAD "\x01"
			   "*"
			   "\x01"
			   "c"
			   "\x00" A_IN,
		      "?.c", false),
		NAMED(HEAD "\x02"
			   "\xc3\xa9"
			   "\x00" A_IN,
		      "??", false),
		NAMED(HEAD "\x05"
			   "_a-9Z"
			   "\x00" A_IN,
		      "_a-9z", true),
	};
	struct gate_dns_question q;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_expect_eq(gate_dns_parse((const uint8_t *)rows[i].bytes, rows[i].len, &q), OK,
			     "row %zu", i);
		cr_expect_str_eq(q.name, rows[i].name);
		cr_expect_eq(q.is_hostname, rows[i].is_hostname, "row %zu", i);
	}
}

Test(gate_dns, an_answer_is_what_a_resolver_expects)
{
	static const char query[] = HEAD_OPT NAME A_IN OPT;
	static const char want[] =
		"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x01" NAME A_IN
		"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\xc6\x12\x00\x07"
		"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
	static const uint8_t address[] = { 198, 18, 0, 7 };
	uint8_t answer[GATE_DNS_ANSWER_MAX];
	struct gate_dns_question q;
	size_t len;

	cr_assert_eq(gate_dns_parse((const uint8_t *)query, sizeof(query) - 1, &q), OK);
	len = gate_dns_answer(&q, (const uint8_t *)query, OK, address, answer);
	cr_assert_eq(len, sizeof(want) - 1);
	cr_expect_eq(memcmp(answer, want, len), 0); /* the question as it was sent, case and all */
	len = gate_dns_answer(&q, (const uint8_t *)query, GATE_DNS_BADVERS, NULL, answer);
	cr_expect_eq(answer[3] & 15, 0);
	cr_expect_eq(answer[len - 6], 1, "the extended rcode's upper bits");
}

/* The lines that were written to the pipe, as one string. */
static char *drain(int fd)
{
	static char text[1 << 17];
	size_t used = 0;
	ssize_t n;

	while ((n = read(fd, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = '\0';
	return text;
}

Test(gate_audit, a_line_is_json_whatever_is_in_it)
{
	struct gate_audit audit;
	char host[6000];
	json_t *json;
	int fds[2];

	for (size_t i = 0; i < sizeof(host) - 1; i++)
		host[i] = (char)(1 + i % 255);
	host[sizeof(host) - 1] = '\0';
	cr_assert_eq(pipe2(fds, O_NONBLOCK), 0);
	gate_audit_init(&audit, fds[1], "run\"\\\n1");
	gate_audit_write(&audit, 0,
			 &(struct gate_event){ .verdict = "deny",
					       .reason = "not_routed",
					       .host = host,
					       .port = 443,
					       .address = host,
					       .detail = "x" });
	json = json_loads(drain(fds[0]), 0, NULL);
	cr_assert_not_null(json);
	cr_expect_str_eq(json_string_value(json_object_get(json, "run")), "run\"\\\n1");
	cr_expect_str_eq(json_string_value(json_object_get(json, "event")), "gate");
	cr_expect_eq(json_integer_value(json_object_get(json, "port")), 443);
	cr_expect_eq(strlen(json_string_value(json_object_get(json, "ts"))), 24);
	json_decref(json);
}

Test(gate_audit, a_flood_is_counted_and_a_stuck_reader_does_not_block)
{
	struct gate_audit audit;
	struct gate_event event = { .verdict = "deny", .reason = "not_routed", .host = "a.test" };
	char *text;
	int fds[2], lines = 0;

	cr_assert_eq(pipe2(fds, O_NONBLOCK), 0);
	gate_audit_init(&audit, fds[1], "r");
	for (int i = 0; i < 10000; i++)
		gate_audit_write(&audit, 5, &event);
	text = drain(fds[0]);
	for (const char *at = text; (at = strchr(at, '\n')); at++)
		lines++;
	cr_expect_eq(lines, 256);
	cr_expect_eq(audit.suppressed, 10000 - 256);
	gate_audit_write(&audit, 5 + 20, &event);
	cr_expect_not_null(strstr(drain(fds[0]), "\"suppressed\":9744"));
	/* Nobody reads: the pipe fills, lines are lost and counted. */
	for (int i = 0; i < 1000; i++)
		gate_audit_write(&audit, 100000 + 1000 * (uint64_t)i, &event);
	cr_expect_gt(audit.lost, 0);
	drain(fds[0]);
	gate_audit_finish(&audit);
	cr_expect_not_null(strstr(drain(fds[0]), "\"reason\":\"audit_lost\""));
	cr_expect(gate_audit_first_time(&audit, "x.test"));
	cr_expect_not(gate_audit_first_time(&audit, "x.test"));
	cr_expect(gate_audit_first_time(&audit, "y.test"));
}
