/* SPDX-License-Identifier: Apache-2.0
 *
 * The proxy's own answers; see answer.h. Runs in: the proxy's worker. Pure. Holds: nothing.
 *
 * The JSON is written by hand: it has six keys, and a library would need the hostile bytes turned into
 * UTF-8 and a tree of objects for each refusal. It is ASCII, so it reads the same in every encoding.
 */
#include "proxy/answer.h"

#include <stdio.h>
#include <string.h>

enum { SHOWN_MAX = 1024 }; /* of a host or path */

/* What to do about it; {host}, {port} and {rule} stand for what the refusal was about. */
static const struct hint {
	const char *reason, *text;
} HINTS[] = {
	{ "host_not_allowed", "add `- host: {host}` under egress.routes in bottle.yaml" },
	{ "port_not_allowed", "add {port} to `ports` of the route for {host}" },
	{ "path_not_allowed", "add the path to path_allowlist of the route for {rule}" },
	{ "method_not_allowed", "add the method to `methods` of the route for {rule}" },
	{ "git_push", "set `git: {push: true}` on the route for {rule}" },
	{ "auth_needs_tls", "use https://{host}/" },
	{ "no_token", "set the variable that the route's token_ref names" },
	{ "sni_mismatch", "send the TLS server name of the host that CONNECT named" },
	{ "authority_mismatch", "name one host in URL, Host and CONNECT" },
	{ "not_a_proxy_request", "send an absolute http:// URL, or CONNECT and then TLS" },
};

/* The body's `error`; of every other status it is upstream_failed. */
static const struct {
	unsigned status;
	const char *error;
} ERRORS[] = {
	{ 400, "bad_request" },
	{ 403, "egress_denied" },
	{ 421, "misdirected_request" },
	{ 431, "bad_request" },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *error_of(unsigned status)
{
	for (size_t i = 0; i < COUNT(ERRORS); i++)
		if (ERRORS[i].status == status)
			return ERRORS[i].error;
	return "upstream_failed";
}

static struct span span_of(const char *text)
{
	return (struct span){ text, text ? strlen(text) : 0 };
}

static void put_escape(struct buf *out, unsigned char c)
{
	static const char LETTERS[] =
		"\"\"\\\\\bb\ff\nn\rr\tt"; /* a byte, then what stands for it */

	for (size_t i = 0; i < sizeof(LETTERS) - 1; i += 2) {
		if ((unsigned char)LETTERS[i] == c) {
			buf_append(out, (const char[]){ '\\', LETTERS[i + 1] }, 2);
			return;
		}
	}
	buf_printf(out, "\\u%04x", c);
}

/* The inside of a JSON string. */
static void put_text(struct buf *out, struct span text)
{
	size_t plain = 0;

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.at[i];
		if (c >= ' ' && c <= '~' && c != '"' && c != '\\')
			continue;
		buf_append(out, text.at + plain, i - plain);
		put_escape(out, c);
		plain = i + 1;
	}
	if (plain < text.len)
		buf_append(out, text.at + plain, text.len - plain);
}

static void put_key(struct buf *out, const char *key)
{
	buf_printf(out, ", \"%s\": ", key);
}

static void put_member(struct buf *out, const char *key, struct span text)
{
	put_key(out, key);
	buf_puts(out, "\"");
	put_text(out, text);
	buf_puts(out, "\"");
}

/* null where there is none. */
static void put_shown(struct buf *out, const char *key, struct span text)
{
	if (text.len > SHOWN_MAX)
		text.len = SHOWN_MAX;
	if (text.at) {
		put_member(out, key, text);
	} else {
		put_key(out, key);
		buf_puts(out, "null");
	}
}

static const char *find_hint(const char *reason)
{
	for (size_t i = 0; i < COUNT(HINTS); i++)
		if (!strcmp(HINTS[i].reason, reason))
			return HINTS[i].text;
	return NULL;
}

/* What the words in braces of a hint stand for. */
struct subject {
	const char *name, *value;
};

/* Fills a hint in. Braces that are none of the words stand for themselves. */
static void put_hint(struct buf *out, const char *hint, const struct subject *subjects,
		     size_t count)
{
	while (*hint) {
		size_t len = strcspn(hint + 1, "{") + 1;
		for (size_t i = 0; i < count; i++) {
			size_t name = strlen(subjects[i].name);
			if (strncmp(hint, subjects[i].name, name) != 0)
				continue;
			put_text(out, span_of(subjects[i].value));
			hint += name;
			len -= name;
			break;
		}
		put_text(out, (struct span){ hint, len });
		hint += len;
	}
}

void answer_body(struct buf *out, unsigned status, const char *reason, const char *detail,
		 const struct authority *place, struct span path, const char *rule)
{
	const char *hint = find_hint(reason);
	const char *host = place && place->host[0] ? place->host : NULL;
	char port[sizeof("65535")] = "";

	if (place && place->port)
		snprintf(port, sizeof(port), "%u", place->port);
	const struct subject subjects[] = { { "{host}", host },
					    { "{port}", port },
					    { "{rule}", rule } };
	buf_printf(out, "{\"error\": \"%s\"", error_of(status));
	put_member(out, "reason", span_of(reason));
	put_shown(out, "host", span_of(host));
	put_shown(out, "path", path);
	put_key(out, "hint");
	buf_puts(out, "\"");
	if (hint)
		put_hint(out, hint, subjects, COUNT(subjects));
	else
		put_text(out, span_of(detail));
	buf_puts(out, "\"");
	put_member(out, "detail", span_of(detail));
	buf_puts(out, "}\n");
}
