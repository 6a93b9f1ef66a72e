/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing request heads; see upstream_head.h. Runs in: the proxy's worker. Holds: a credential, from here
 * to the write that sends it (outbound.c wipes it then).
 *
 * A credential is the last field, and room is made before it is written: a buffer that grew afterwards
 * would leave a copy in freed memory.
 */
#include "proxy/upstream_head.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proxy/authority.h"
#include "proxy/http1.h"
#include "proxy/settings.h"
#include "proxy/tokens.h"

static void put(struct buf *buf, struct span span)
{
	buf_append(buf, span.at, span.len);
}

static struct span text(const char *string)
{
	return (struct span){ string, strlen(string) };
}

/* Makes room without a trace of what is to come. */
static bool make_room(struct buf *buf, size_t more)
{
	static const char zeros[256];
	size_t len = buf->len;

	while (!buf->failed && buf->cap - len <= more)
		buf_append(buf, zeros, sizeof(zeros));
	buf->len = len;
	return !buf->failed;
}

static void put_credential(struct outbound *out, const char *name, const char *token_env,
			   const char *scheme)
{
	struct span token = tokens_find(proxy_tokens, token_env);
	size_t bound = tokens_credential_bound(token);
	struct buf *buf = &out->buf;
	int len;

	put(buf, text(name));
	put(buf, SPAN(": "));
	if (!make_room(buf, bound + 8))
		return;
	len = tokens_write_credential(token, scheme, buf->data + buf->len, bound);
	buf->failed |= len < 0;
	buf->len += len < 0 ? 0 : (size_t)len;
	out->holds_secret = true;
	put(buf, SPAN("\r\n"));
}

static void put_parent_credential(struct outbound *out)
{
	const struct parent_proxy *parent = &proxy_settings->upstream;

	if (parent->token_env)
		put_credential(out, "Proxy-Authorization", parent->token_env, parent->token_scheme);
}

static void put_id(struct buf *buf, const char *id)
{
	http1_write_field(buf, SPAN("bottle-request-id"), text(id));
}

int upstream_write_connect(struct outbound *out, const struct upstream_conn *conn)
{
	const struct authority *place = &conn->key.place;
	bool is_v6 = strchr(place->host, ':');
	char target[AUTHORITY_BYTES];

	snprintf(target, sizeof(target), "%s%s%s:%u", is_v6 ? "[" : "", place->host,
		 is_v6 ? "]" : "", place->port);
	TRY(outbound_begin(out));
	put(&out->buf, SPAN("CONNECT "));
	put(&out->buf, text(target));
	put(&out->buf, SPAN(" HTTP/1.1\r\n"));
	http1_write_field(&out->buf, SPAN("Host"), text(target));
	put_id(&out->buf, conn->request_id);
	put_parent_credential(out);
	put(&out->buf, SPAN("\r\n"));
	return out->buf.failed ? -ENOMEM : 0;
}

/* Absolute form only goes to a proxy. */
static bool is_absolute(const struct exchange *exchange)
{
	return exchange->is_through && !exchange->request.is_https;
}

static void put_request_line(struct buf *buf, const struct exchange *exchange,
			     struct span authority)
{
	const struct request *request = &exchange->request;

	put(buf, request->method);
	put(buf, SPAN(" "));
	if (is_absolute(exchange)) {
		put(buf, SPAN("http://"));
		put(buf, authority);
	}
	/* RFC 9112, 3.2.4: for the server as a whole a URL without a path. */
	if (!is_absolute(exchange) || request->target.at[0] == '/')
		put(buf, request->target);
	put(buf, SPAN(" HTTP/1.1\r\n"));
	http1_write_field(buf, SPAN("Host"), authority);
}

enum body_kind upstream_framing(const struct request *request)
{
	return request->body == BODY_STREAM ? BODY_CHUNKED : request->body;
}

/* RFC 9110, 8.6: methods that mean a body say so when there is none. */
static bool means_body(struct span method)
{
	return (method.len == 4 && !memcmp(method.at, "POST", 4)) ||
	       (method.len == 3 && !memcmp(method.at, "PUT", 3)) ||
	       (method.len == 5 && !memcmp(method.at, "PATCH", 5));
}

static void put_framing(struct buf *buf, const struct request *request)
{
	enum body_kind kind = upstream_framing(request);
	char digits[24];
	int len;

	if (kind == BODY_CHUNKED) {
		put(buf, SPAN("Transfer-Encoding: chunked\r\n"));
	} else if (kind == BODY_LENGTH || means_body(request->method)) {
		len = snprintf(digits, sizeof(digits), "%llu",
			       (unsigned long long)request->content_length);
		http1_write_field(buf, SPAN("Content-Length"),
				  (struct span){ digits, (size_t)len });
	}
}

int upstream_write_request(struct outbound *out, const struct exchange *exchange)
{
	const struct request *request = &exchange->request;
	const struct verdict *verdict = &exchange->verdict;
	char authority[AUTHORITY_BYTES];
	size_t len = authority_render(&verdict->place, request->is_https, authority,
				      sizeof(authority));
	struct buf *buf = &out->buf;

	TRY(outbound_begin(out));
	put_request_line(buf, exchange, (struct span){ authority, len });
	for (size_t i = 0; i < request->fields.count; i++)
		http1_write_field(buf, request->fields.items[i].name,
				  request->fields.items[i].value);
	put_framing(buf, request);
	if (verdict->is_websocket)
		put(buf, SPAN("Connection: Upgrade\r\nUpgrade: websocket\r\n"));
	if (is_absolute(exchange)) {
		put_id(buf, exchange->request_id);
		put_parent_credential(out);
	}
	if (decision_has_credential(request, verdict))
		put_credential(out, verdict->route->auth_header, verdict->route->token_env,
			       verdict->route->auth_scheme);
	put(buf, SPAN("\r\n"));
	return buf->failed ? -ENOMEM : 0;
}
