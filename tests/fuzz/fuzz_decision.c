/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: the decision. Whatever is asked, what was allowed lies on a route, below its paths by every
 * reading, without the client's own credentials; what was refused has a status, a reason and a sentence.
 * The input is a flag byte, then lines: authority, SNI, method, target, and the fields as `name:value`.
 */
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "proxy/answer.h"
#include "proxy/authority.h"
#include "proxy/decision.h"
#include "proxy/http1.h"
#include "proxy/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FIELDS_MAX = 32 };

static const char ROUTES[] = "version: 1\n"
			     "routes:\n"
			     "  - host: \"a.test\"\n"
			     "    ports: [80, 443]\n"
			     "    path_allowlist: [\"/v1/\", \"/git\"]\n"
			     "    git_push: false\n"
			     "  - host: \"*.a.test\"\n"
			     "    ports: [443]\n"
			     "    methods: [\"GET\"]\n"
			     "    auth_header: \"x-api_key\"\n"
			     "    token_env: \"EGRESS_PROXY_TOKEN_0\"\n"
			     "    git_push: true\n";

static void hold(bool promise)
{
	if (!promise)
		abort();
}

static const struct routetable *table(void)
{
	static struct routetable *made;
	struct proxy_routes routes = { 0 };
	struct err err;

	if (!made) {
		hold(routes_parse(&routes, "routes", ROUTES, sizeof(ROUTES) - 1, &err) == 0);
		made = routetable_new(&routes);
		hold(made);
	}
	return made;
}

static struct span take_line(struct span *rest)
{
	const char *end = rest->len ? memchr(rest->at, '\n', rest->len) : NULL;
	struct span line = { rest->at, end ? (size_t)(end - rest->at) : rest->len };
	size_t used = line.len + (end != NULL);

	*rest = (struct span){ rest->at + used, rest->len - used };
	return line;
}

static void take_fields(struct span *rest, struct fields *fields)
{
	while (rest->len && fields->count < FIELDS_MAX) {
		struct span line = take_line(rest);
		const char *colon = line.len ? memchr(line.at, ':', line.len) : NULL;
		size_t name = colon ? (size_t)(colon - line.at) : line.len;
		fields->items[fields->count++] = (struct field){
			.name = { line.at, name },
			.value = { line.at + name + !!colon, line.len - name - !!colon },
		};
	}
}

static void decode(char *form)
{
	char *out = form;

	for (const char *in = form; *in; in++) {
		bool is_escape = *in == '%' && isxdigit((unsigned char)in[1]) &&
				 isxdigit((unsigned char)in[2]);
		*out++ = is_escape ? (char)strtoul((char[]){ in[1], in[2], '\0' }, NULL, 16) : *in;
		in += is_escape ? 2 : 0;
	}
	*out = '\0';
}

/* Every reading of an allowed path is below /v1/ or is /git and what lies below. */
static void hold_path(struct span target)
{
	const char *query = memchr(target.at, '?', target.len);
	char *form = strndup(target.at, query ? (size_t)(query - target.at) : target.len);

	for (int decodings = 0; form && decodings <= 2 * PATH_DECODINGS_MAX; decodings++) {
		hold(!strncmp(form, "/v1/", 4) || !strcmp(form, "/git") ||
		     !strncmp(form, "/git/", 5));
		hold(!strstr(form, "/../") && !strstr(form, "/./") && !strchr(form, '\\'));
		decode(form);
	}
	free(form);
}

static bool is_name(struct span name, const char *word)
{
	return name.len == strlen(word) && !strncasecmp(name.at, word, name.len);
}

static void hold_fields(const struct request *request, const struct verdict *verdict)
{
	static const char *const NEVER[] = { "authorization",  "proxy-authorization",
					     "connection",     "host",
					     "content-length", "content_length",
					     "upgrade" };

	for (size_t i = 0; i < request->fields.count; i++) {
		const struct field *field = &request->fields.items[i];
		if (!decision_keeps_field(request, verdict, field))
			continue;
		for (size_t j = 0; j < sizeof(NEVER) / sizeof(NEVER[0]); j++)
			hold(!is_name(field->name, NEVER[j]));
		hold(!verdict->route->auth_header ||
		     (!is_name(field->name, "x-api-key") && !is_name(field->name, "x_api_key")));
	}
}

static void hold_allowed(const struct request *request, const struct verdict *verdict)
{
	const struct proxy_route *route = verdict->route;

	hold(route == routetable_find(table(), verdict->place.host, verdict->place.port));
	hold(!route->auth_header || (request->is_https && is_name(request->method, "options")));
	hold(!verdict->is_websocket || is_name(request->method, "get"));
	if (route->path_allowlist.len)
		hold_path(request->target);
	hold_fields(request, verdict);
}

static void hold_refused(const struct request *request, const struct verdict *verdict)
{
	cleanup_with(buf_clear) struct buf body = { 0 }, line = { 0 };

	hold(verdict->status >= 400 && verdict->reason[0] && verdict->detail[0]);
	http1_write_status(&line, verdict->status, (struct span){ 0 });
	hold(line.len > strlen("HTTP/1.1 403 \r\n")); /* a phrase of its own */
	answer_body(&body, verdict->status, verdict->reason, verdict->detail, &verdict->place,
		    request->target, verdict->route ? verdict->route->host : NULL);
	for (size_t i = 0; i + 1 < body.len; i++)
		hold(body.data[i] >= ' ' && body.data[i] <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tokens no_tokens;
	struct span rest = { (const char *)data, size };
	struct field fields[FIELDS_MAX];
	struct request request = { .fields = { .items = fields } };
	struct verdict verdict;
	const char *problem;

	struct span flags = take_line(&rest);
	request.is_https = flags.len && flags.at[0] & 1;
	request.is_http2 = flags.len && flags.at[0] & 2;
	request.is_http11 = flags.len && flags.at[0] & 4;
	request.named_count = authority_parse_or_say(take_line(&rest), &request.named[0],
						     &problem) == 0;
	struct span sni = take_line(&rest);
	cleanup_free char *name = strndup(sni.len ? sni.at : "", sni.len);
	request.sni = sni.len ? name : NULL;
	request.method = take_line(&rest);
	request.target = take_line(&rest);
	take_fields(&rest, &request.fields);
	decide(&request, table(), &no_tokens, &verdict);
	if (verdict.is_allowed)
		hold_allowed(&request, &verdict);
	else
		hold_refused(&request, &verdict);
	return 0;
}
