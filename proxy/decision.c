/* SPDX-License-Identifier: Apache-2.0
 *
 * The one decision; see decision.h. Runs in: the proxy's worker. Pure. Holds: asks whether a token is
 * there, never for its value.
 *
 * decide() is the list of steps of docs/architecture.md in their order. Each step returns 0, or writes
 * the refusal into the verdict and returns -EACCES, and the first refusal counts.
 */
#include "proxy/decision.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proxy/authority.h"
#include "proxy/path.h"

/* The bytes of a method and of a field's name (RFC 9110, 5.6.2). */
static const char TOKEN_BYTES[256] = {
	['!'] = 1,	   ['#' ... '\''] = 1, ['*'] = 1,	  ['+'] = 1, ['-'] = 1, ['.'] = 1,
	['0' ... '9'] = 1, ['A' ... 'Z'] = 1,  ['^' ... 'z'] = 1, ['|'] = 1, ['~'] = 1,
};

static const char *const HOP_BY_HOP[] = {
	"connection", "keep-alive", "te", "trailer", "upgrade", "http2-settings",
};

/* Fields that every recipient needs: whoever asks a proxy to drop them wants to be misread. */
static const char *const NEVER_NAMED[] = { "host", "content-length", "transfer-encoding" };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int refuse(struct verdict *verdict, unsigned status, const char *reason, const char *detail)
{
	verdict->status = status;
	verdict->reason = reason;
	snprintf(verdict->detail, sizeof(verdict->detail), "%s", detail);
	return -EACCES;
}

static bool is_exactly(struct span text, const char *word)
{
	return text.len == strlen(word) && !memcmp(text.at, word, text.len);
}

/* Without regard to case; `word` is lower case. */
static bool is_word(struct span text, const char *word)
{
	return text.len == strlen(word) && !strncasecmp(text.at, word, text.len);
}

static bool is_one_of(struct span text, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (is_word(text, words[i]))
			return true;
	return false;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* As is_word, with `_` read as `-`, which CGI and its heirs do not tell apart. */
static bool is_alias(struct span text, const char *word)
{
	size_t i = 0;

	for (; i < text.len && word[i]; i++) {
		char a = lower(text.at[i]), b = lower(word[i]);
		if ((a == '_' ? '-' : a) != (b == '_' ? '-' : b))
			return false;
	}
	return i == text.len && !word[i];
}

static bool is_token(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!TOKEN_BYTES[(unsigned char)text.at[i]])
			return false;
	return text.len > 0;
}

static bool is_value_byte(unsigned char c)
{
	return (c >= ' ' && c != 0x7f) || c == '\t';
}

/* Whether some of eight bytes may be a control character: the borrow of a subtraction marks each byte
 * below 0x20, and each that is 0x7f. Never misses one. */
static bool may_have_control(const char bytes[static 8])
{
	const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones * 0x80;
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	uint64_t del = word ^ ones * 0x7f;
	return (((word - ones * ' ') & ~word) | ((del - ones) & ~del)) & tops;
}

/* Whether a field's value has no control character but tabs. */
static bool is_field_value(struct span value)
{
	size_t i = 0;

	while (i < value.len) {
		if (value.len - i >= 8 && !may_have_control(value.at + i))
			i += 8;
		else if (!is_value_byte((unsigned char)value.at[i++]))
			return false;
	}
	return true;
}

/* Where the request is for as far as one can tell: CONNECT's place, or the first that was named. Before any step,
 * so that a refusal by whichever says where. */
static void name_place(const struct request *request, struct verdict *verdict)
{
	const struct authority *place = request->connect;

	if (!place && request->named_count)
		place = &request->named[0];
	if (!place)
		return;
	memcpy(verdict->place.host, place->host, strlen(place->host) + 1);
	verdict->place.port = place->port ? place->port : 80; /* CONNECT's is never 0 */
}

/* Step 1, for what did not come through the HTTP/1 grammar: HTTP/2 can carry any byte in a field,
 * and the next hop may speak HTTP/1. */
static int check_fields(const struct request *request, struct verdict *verdict)
{
	if (!is_token(request->method))
		return refuse(verdict, 400, "bad_field", "a method that is no token");
	for (size_t i = 0; i < request->fields.count; i++) {
		const struct field *field = &request->fields.items[i];
		if (!is_token(field->name) || !is_field_value(field->value))
			return refuse(verdict, 400, "bad_field",
				      "a header field with a control character");
	}
	return 0;
}

static bool sni_is(const char *sni, const char *host)
{
	char name[HOST_BYTES];

	return authority_canonical_host((struct span){ sni, strlen(sni) }, name) == 0 &&
	       !strcmp(name, host);
}

/* Step 2: CONNECT target, SNI, Host and URL name one place. */
static int check_place(const struct request *request, struct verdict *verdict)
{
	const struct authority *place = &verdict->place;

	if (!request->connect && !request->named_count)
		return refuse(verdict, 400, "no_host", "no host is named");
	for (size_t i = 0; i < request->named_count; i++) {
		const struct authority *other = &request->named[i];
		if (strcmp(other->host, place->host) != 0 ||
		    (other->port && other->port != place->port))
			return refuse(verdict, 421, "authority_mismatch",
				      "URL, Host and CONNECT name several hosts");
	}
	if (request->sni && !sni_is(request->sni, place->host))
		return refuse(verdict, 421, "sni_mismatch",
			      "the TLS server name is not the CONNECT host");
	return 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Takes the next element off a comma-separated list (RFC 9110, 5.6.1); it may be empty. */
static struct span take_element(struct span *list)
{
	const char *comma = memchr(list->at, ',', list->len);
	struct span element = { list->at, comma ? (size_t)(comma - list->at) : list->len };
	size_t used = element.len + (comma != NULL);

	*list = (struct span){ list->at + used, list->len - used };
	while (element.len && is_blank(element.at[0]))
		element = (struct span){ element.at + 1, element.len - 1 };
	while (element.len && is_blank(element.at[element.len - 1]))
		element.len--;
	return element;
}

static bool is_connection(struct span name)
{
	return is_word(name, "connection") || is_word(name, "proxy-connection");
}

/* One of 64 bits for a name: most fields are told from those in Connection by it alone. */
static uint64_t filter_bit(struct span name)
{
	unsigned char first = (unsigned char)lower(name.at[0]);

	return UINT64_C(1) << ((first * 7u + name.len) & 63);
}

/* Step 3: the names in Connection. */
static int read_connection(const struct request *request, struct verdict *verdict)
{
	for (size_t i = 0; i < request->fields.count; i++) {
		struct span list = request->fields.items[i].value;
		if (!is_connection(request->fields.items[i].name))
			continue;
		while (list.len) {
			struct span name = take_element(&list);
			if (is_one_of(name, NEVER_NAMED, COUNT(NEVER_NAMED)))
				return refuse(verdict, 400, "bad_connection",
					      "Connection names a field that frames the message");
			verdict->named |= name.len ? filter_bit(name) : 0;
			verdict->wants_close |= is_word(name, "close");
		}
	}
	return 0;
}

static bool is_named(const struct request *request, const struct verdict *verdict, struct span name)
{
	if (!name.len || !(verdict->named & filter_bit(name)))
		return false;
	for (size_t i = 0; i < request->fields.count; i++) {
		struct span list = request->fields.items[i].value;
		if (!is_connection(request->fields.items[i].name))
			continue;
		while (list.len) {
			struct span element = take_element(&list);
			if (element.len == name.len && !strncasecmp(element.at, name.at, name.len))
				return true;
		}
	}
	return false;
}

static int refuse_trace(const struct request *request, struct verdict *verdict)
{
	if (is_word(request->method, "trace"))
		return refuse(verdict, 403, "trace", "TRACE would send the credentials back");
	return 0;
}

/* Step 4. */
static int find_route(const struct routetable *routes, struct verdict *verdict)
{
	const struct authority *place = &verdict->place;
	char detail[sizeof(verdict->detail)];

	verdict->route = routetable_find(routes, place->host, place->port);
	if (verdict->route)
		return 0;
	if (!routetable_has_host(routes, place->host))
		return refuse(verdict, 403, "host_not_allowed", "the host is on no route");
	snprintf(detail, sizeof(detail), "port %u of this host is on no route", place->port);
	return refuse(verdict, 403, "port_not_allowed", detail);
}

/* Step 5, the method. */
static int check_method(const struct request *request, struct verdict *verdict)
{
	const struct strlist *methods = &verdict->route->methods;

	for (size_t i = 0; i < methods->len; i++)
		if (is_exactly(request->method, methods->items[i]))
			return 0;
	if (!methods->len)
		return 0;
	return refuse(verdict, 403, "method_not_allowed", "the route does not list the method");
}

/* Steps 5, the path, and 6. */
static int check_path(const struct request *request, struct verdict *verdict)
{
	const struct proxy_route *route = verdict->route;
	struct path_judgement path;

	if (is_exactly(request->target, "*"))
		return route->path_allowlist.len
			       ? refuse(verdict, 403, "path_not_allowed", "the route lists paths")
			       : 0;
	if (path_judge(request->target, &route->path_allowlist, &path) < 0)
		return refuse(verdict, 502, "upstream_error", "out of memory");
	if (path.problem)
		return refuse(verdict, 400, "bad_path", path.problem);
	if (!path.is_allowed)
		return refuse(verdict, 403, "path_not_allowed",
			      "a reading of the path is on no path_allowlist");
	if (path.is_git_push && !route->git_push)
		return refuse(verdict, 403, "git_push", "the route does not allow `git push`");
	return 0;
}

/* Step 7. A preflight (OPTIONS) carries no credentials in a browser, and gets none here. */
static int check_credential(const struct request *request, const struct tokens *tokens,
			    struct verdict *verdict)
{
	const struct proxy_route *route = verdict->route;

	if (!route->auth_header)
		return 0;
	if (!request->is_https)
		return refuse(verdict, 403, "auth_needs_tls",
			      "this route has a credential; use https");
	if (!decision_has_credential(request, verdict))
		return 0;
	if (!tokens_find(tokens, route->token_env).len)
		return refuse(verdict, 502, "no_token", "the route's token slot has no value");
	return 0;
}

/* What a WebSocket handshake has (RFC 6455, 4.1). */
struct handshake {
	unsigned upgrades, versions, keys, lengths;
	bool is_websocket, is_version_13;
};

static void count_handshake_field(const struct field *field, struct handshake *seen)
{
	if (is_word(field->name, "upgrade")) {
		seen->upgrades++;
		seen->is_websocket = is_word(field->value, "websocket");
	} else if (is_word(field->name, "sec-websocket-version")) {
		seen->versions++;
		seen->is_version_13 = is_exactly(field->value, "13");
	} else if (is_word(field->name, "sec-websocket-key")) {
		seen->keys++;
	} else if (is_word(field->name, "content-length") ||
		   is_word(field->name, "transfer-encoding")) {
		seen->lengths++;
	}
}

static bool asks_websocket(const struct request *request, const struct verdict *verdict)
{
	struct handshake seen = { 0 };

	if (request->is_http2 || !request->is_http11 || request->body != BODY_NONE ||
	    !is_exactly(request->method, "GET") || !is_named(request, verdict, SPAN("upgrade")))
		return false;
	for (size_t i = 0; i < request->fields.count; i++)
		count_handshake_field(&request->fields.items[i], &seen);
	return seen.upgrades == 1 && seen.is_websocket && seen.versions == 1 &&
	       seen.is_version_13 && seen.keys == 1 && !seen.lengths;
}

static int judge(const struct request *request, const struct routetable *routes,
		 const struct tokens *tokens, struct verdict *verdict)
{
	name_place(request, verdict);
	TRY(check_fields(request, verdict));
	TRY(check_place(request, verdict));
	TRY(read_connection(request, verdict));
	TRY(refuse_trace(request, verdict));
	TRY(find_route(routes, verdict));
	TRY(check_method(request, verdict));
	TRY(check_path(request, verdict));
	return check_credential(request, tokens, verdict);
}

/* A verdict that refuses until something allows it. */
static void start_verdict(struct verdict *verdict)
{
	*verdict = (struct verdict){ .reason = "" };
}

void decide(const struct request *request, const struct routetable *routes,
	    const struct tokens *tokens, struct verdict *ret_verdict)
{
	start_verdict(ret_verdict);
	if (judge(request, routes, tokens, ret_verdict) < 0)
		return;
	ret_verdict->is_websocket = asks_websocket(request, ret_verdict);
	ret_verdict->is_allowed = true;
}

/* CONNECT: only the pair can be judged yet. */
void decide_connect(const struct authority *target, const struct routetable *routes,
		    struct verdict *ret_verdict)
{
	start_verdict(ret_verdict);
	ret_verdict->place = *target;
	if (find_route(routes, ret_verdict) == 0) {
		ret_verdict->is_allowed = true;
		ret_verdict->status = 200;
	}
}

bool decision_has_credential(const struct request *request, const struct verdict *verdict)
{
	return verdict->route && verdict->route->auth_header &&
	       !is_word(request->method, "options");
}

static bool is_credential(struct span name, const struct proxy_route *route)
{
	return is_alias(name, "authorization") ||
	       (name.len >= 6 && is_alias((struct span){ name.at, 6 }, "proxy-")) ||
	       (route->auth_header && is_alias(name, route->auth_header));
}

static bool is_framing(struct span name)
{
	for (size_t i = 0; i < COUNT(NEVER_NAMED); i++)
		if (is_alias(name, NEVER_NAMED[i]))
			return true;
	return false;
}

bool decision_keeps_field(const struct request *request, const struct verdict *verdict,
			  const struct field *field)
{
	if (request->is_http2 && is_word(field->name, "te") && is_exactly(field->value, "trailers"))
		return true; /* gRPC servers insist on it */
	if (is_word(field->name, "expect") && !is_word(field->value, "100-continue"))
		return false;
	return !is_one_of(field->name, HOP_BY_HOP, COUNT(HOP_BY_HOP)) && !is_framing(field->name) &&
	       !is_credential(field->name, verdict->route) &&
	       !is_named(request, verdict, field->name);
}
