/* SPDX-License-Identifier: Apache-2.0
 *
 * The pure parts of proxy/ as a filter, for tests/mitmproxy/test_same.py. Standard input is a series of
 * questions and standard output one answer for each, in the same form: a list of texts, as their number
 * and then each one's length (32 bits, little-endian) and bytes. The first text of a question is its
 * name; see QUESTIONS. The tokens come from the environment, as in the proxy.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "proxy/answer.h"
#include "proxy/authority.h"
#include "proxy/decision.h"

enum { TEXTS_MAX = 600, BYTES_MAX = 1 << 20 };

static struct tokens tokens;
static struct routetable *routes;

struct question {
	struct span texts[TEXTS_MAX];
	size_t count, next;
	char bytes[BYTES_MAX];
};

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "proxy_pure: %s\n", what);
	exit(1);
}

static bool read_u32(size_t *ret)
{
	unsigned char b[4];

	if (fread(b, 1, sizeof(b), stdin) != sizeof(b))
		return false;
	*ret = b[0] | (size_t)b[1] << 8 | (size_t)b[2] << 16 | (size_t)b[3] << 24;
	return true;
}

/* Each text is followed by a NUL that is not part of it. */
static bool read_question(struct question *question)
{
	size_t used = 0, len;

	question->next = 0;
	if (!read_u32(&question->count))
		return false;
	if (question->count > TEXTS_MAX)
		fail("too many texts");
	for (size_t i = 0; i < question->count; i++) {
		if (!read_u32(&len) || len >= BYTES_MAX - used ||
		    fread(question->bytes + used, 1, len, stdin) != len)
			fail("a question cut short, or too long");
		question->texts[i] = (struct span){ question->bytes + used, len };
		question->bytes[used + len] = '\0';
		used += len + 1;
	}
	return true;
}

static struct span take(struct question *question)
{
	if (question->next == question->count)
		fail("a text is missing");
	return question->texts[question->next++];
}

static const char *take_text(struct question *question)
{
	return take(question).at;
}

static unsigned take_number(struct question *question)
{
	return (unsigned)strtoul(take_text(question), NULL, 10);
}

/* An answer, grown text by text. */
struct reply {
	struct buf body;
	size_t count;
};

static void put_u32(struct buf *out, size_t number)
{
	const unsigned char b[4] = { (unsigned char)number, (unsigned char)(number >> 8),
				     (unsigned char)(number >> 16), (unsigned char)(number >> 24) };

	buf_append(out, b, sizeof(b));
}

static void put(struct reply *reply, const void *bytes, size_t len)
{
	put_u32(&reply->body, len);
	buf_append(&reply->body, bytes, len);
	reply->count++;
}

static void put_text(struct reply *reply, const char *text)
{
	put(reply, text ? text : "", text ? strlen(text) : 0);
}

static void put_number(struct reply *reply, unsigned number)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", number);
	put_text(reply, text);
}

static void ask_routes(struct question *question, struct reply *reply)
{
	struct proxy_routes parsed = { 0 };
	struct span yaml = take(question);
	struct err err = { "" };

	if (routes_parse(&parsed, "routes.yaml", yaml.at, yaml.len, &err) < 0)
		fail(err.text);
	size_t count = parsed.count; /* the table takes them */
	routetable_unref(routes);
	routes = routetable_new(&parsed);
	if (!routes)
		fail("out of memory");
	put_number(reply, (unsigned)count);
}

static void put_verdict(struct reply *reply, const struct verdict *verdict)
{
	put_number(reply, verdict->is_allowed);
	put_number(reply, verdict->status);
	put_text(reply, verdict->reason);
	put_text(reply, verdict->detail);
	put_text(reply, verdict->place.host);
	put_number(reply, verdict->place.port);
	put_text(reply, verdict->route ? verdict->route->host : "");
}

static void take_authority(struct question *question, struct authority *ret)
{
	snprintf(ret->host, sizeof(ret->host), "%s", take_text(question));
	ret->port = (uint16_t)take_number(question);
}

static void ask_connect(struct question *question, struct reply *reply)
{
	struct authority target;
	struct verdict verdict;

	take_authority(question, &target);
	decide_connect(&target, routes, &verdict);
	put_verdict(reply, &verdict);
}

static void put_credential(struct reply *reply, struct span token, const char *scheme)
{
	size_t size = tokens_credential_bound(token);
	cleanup_free char *value = malloc(size);
	int len = value ? tokens_write_credential(token, scheme, value, size) : -1;

	if (len < 0)
		fail("no room for a credential");
	put(reply, value, (size_t)len);
}

static void put_fields(struct reply *reply, const struct request *request,
		       const struct verdict *verdict)
{
	const struct proxy_route *route = verdict->route;

	put_number(reply, verdict->is_websocket);
	put_number(reply, verdict->wants_close);
	for (size_t i = 0; i < request->fields.count; i++) {
		const struct field *field = &request->fields.items[i];
		if (!decision_keeps_field(request, verdict, field))
			continue;
		put(reply, field->name.at, field->name.len);
		put(reply, field->value.at, field->value.len);
	}
	if (decision_has_credential(request, verdict)) {
		put_text(reply, route->auth_header);
		put_credential(reply, tokens_find(&tokens, route->token_env), route->auth_scheme);
	}
}

/* flags (letters: s https, 2 HTTP/2, 1 HTTP/1.1, c CONNECT, n SNI), method, target, the pair of CONNECT,
 * SNI, how many authorities, each pair, then names and values of the fields. */
static void ask_decide(struct question *question, struct reply *reply)
{
	const char *flags = take_text(question);
	struct request request = { .is_https = strchr(flags, 's'),
				   .is_http2 = strchr(flags, '2'),
				   .is_http11 = strchr(flags, '1') };
	struct field fields[TEXTS_MAX / 2];
	struct authority connect;
	struct verdict verdict;

	request.method = take(question);
	request.target = take(question);
	take_authority(question, &connect);
	request.connect = strchr(flags, 'c') ? &connect : NULL;
	request.sni = take_text(question);
	request.sni = strchr(flags, 'n') ? request.sni : NULL;
	request.named_count = take_number(question);
	if (request.named_count > 2)
		fail("more than two authorities");
	for (size_t i = 0; i < request.named_count; i++)
		take_authority(question, &request.named[i]);
	request.fields.items = fields;
	while (question->next < question->count) {
		struct field *field = &fields[request.fields.count++];
		field->name = take(question);
		field->value = take(question);
	}
	decide(&request, routes, &tokens, &verdict);
	put_verdict(reply, &verdict);
	if (verdict.is_allowed)
		put_fields(reply, &request, &verdict);
}

static void ask_authority(struct question *question, struct reply *reply)
{
	struct authority parsed;
	char shown[AUTHORITY_BYTES];
	const char *problem = "";

	if (authority_parse_or_say(take(question), &parsed, &problem) < 0) {
		put_text(reply, problem);
		return;
	}
	put_text(reply, parsed.host);
	put_number(reply, parsed.port);
	for (int is_https = 0; is_https <= 1; is_https++)
		put(reply, shown, authority_render(&parsed, is_https, shown, sizeof(shown)));
}

static void ask_answer(struct question *question, struct reply *reply)
{
	cleanup_with(buf_clear) struct buf body = { 0 };
	unsigned status = take_number(question);
	const char *reason = take_text(question), *detail = take_text(question);
	struct authority place;

	take_authority(question, &place);
	struct span path = take(question);
	const char *rule = take_text(question);
	answer_body(&body, status, reason, detail, &place, path, rule);
	put(reply, body.data, body.len);
}

static void ask_credential(struct question *question, struct reply *reply)
{
	struct span scheme = take(question);

	put_credential(reply, take(question), scheme.len ? scheme.at : NULL);
}

/* An address → its class, as a number, and the range that decided. */
static void ask_address(struct question *question, struct reply *reply)
{
	struct address ip;
	const char *range;
	enum address_class class;

	if (!address_parse(take_text(question), &ip))
		fail("no address");
	class = address_classify(&ip, &range);
	put_number(reply, class);
	put_text(reply, range);
}

static const struct {
	const char *name;
	void (*ask)(struct question *question, struct reply *reply);
} QUESTIONS[] = {
	{ "routes", ask_routes },   { "connect", ask_connect },
	{ "decide", ask_decide },   { "authority", ask_authority },
	{ "answer", ask_answer },   { "credential", ask_credential },
	{ "address", ask_address },
};

static void ask(struct question *question)
{
	cleanup_with(buf_clear) struct buf out = { 0 };
	struct reply reply = { 0 };
	const char *name = take_text(question);

	for (size_t i = 0; i < sizeof(QUESTIONS) / sizeof(QUESTIONS[0]); i++)
		if (!strcmp(QUESTIONS[i].name, name))
			QUESTIONS[i].ask(question, &reply);
	put_u32(&out, reply.count);
	buf_append(&out, reply.body.data, reply.body.len);
	buf_clear(&reply.body);
	if (out.failed || fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
		fail("the answer could not be written");
}

int main(void)
{
	static struct question question;
	struct err err;

	if (tokens_take(&tokens, &err) < 0)
		fail(err.text);
	while (read_question(&question))
		ask(&question);
	routetable_unref(routes);
	tokens_wipe(&tokens);
	return 0;
}
