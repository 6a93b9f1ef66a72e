/* SPDX-License-Identifier: Apache-2.0
 *
 * Bodies on their way in. Runs in: the proxy's worker. Pure: holds nothing.
 *
 * A chunked body is followed byte by byte between its chunks and taken whole within them. Nothing of its
 * framing is passed on: the writer frames the content anew, so extensions and trailers are checked and
 * end here. RFC 9112, 7.1, strictly: the size is 1 to 15 hexadecimal digits, a line ends with CR LF and
 * holds no other CR or LF, a chunk is as long as it said. Old servers pad the size with spaces, which an
 * answer may.
 */
#include <errno.h>
#include <string.h>

#include "proxy/http1_grammar.h"

enum {
	SIZE_DIGITS = 15, /* below 2^60: no sum of sizes and lengths overflows */
	LINE_BYTES_MAX = 1024,
	TRAILER_BYTES_MAX = 16 * 1024,
};

enum state {
	SIZE,
	PADDING, /* blanks after the size */
	EXTENSION,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER, /* at the front of a line after the last chunk */
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	END_LF,
};

void http1_body_start(struct http1_body *body, enum body_kind kind, uint64_t content_length,
		      bool is_request)
{
	*body = (struct http1_body){
		.kind = kind,
		.left = kind == BODY_LENGTH ? content_length : 0,
		.state = SIZE,
		.is_request = is_request,
		.done = kind == BODY_NONE || (kind == BODY_LENGTH && !content_length),
	};
}

static int refuse(const struct http1_body *body, const char *reason, const char *detail,
		  struct http1_error *ret_error)
{
	if (!body->is_request)
		return http1_refuse(ret_error, 502, "upstream_protocol", detail);
	return http1_refuse(ret_error, 400, reason, detail);
}

static int refuse_chunk(const struct http1_body *body, const char *detail,
			struct http1_error *ret_error)
{
	return refuse(body, "bad_chunk", detail, ret_error);
}

static unsigned hex_value(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* After the digits: a CR, blanks, or an extension. */
static int follow_size_end(struct http1_body *body, char c, struct http1_error *ret_error)
{
	if (c == '\r' && (body->state == SIZE || !body->is_request))
		body->state = SIZE_LF;
	else if (c == ';')
		body->state = EXTENSION;
	else if (is_blank(c))
		body->state = PADDING;
	else
		return refuse_chunk(body, "a chunk size that is no hexadecimal number", ret_error);
	return 0;
}

static int follow_size(struct http1_body *body, char c, struct http1_error *ret_error)
{
	if (body->line_bytes && !(http1_class[(uint8_t)c] & HTTP1_HEX))
		return follow_size_end(body, c, ret_error);
	if (!(http1_class[(uint8_t)c] & HTTP1_HEX))
		return refuse_chunk(body, "a chunk size that is no hexadecimal number", ret_error);
	if (body->line_bytes == SIZE_DIGITS)
		return refuse_chunk(body, "a chunk size beyond all bounds", ret_error);
	body->left = body->left << 4 | hex_value(c);
	return 0;
}

static int follow_extension(struct http1_body *body, char c, struct http1_error *ret_error)
{
	if (c == '\r')
		body->state = SIZE_LF;
	else if (!(http1_class[(uint8_t)c] & HTTP1_VALUE))
		return refuse_chunk(body, "a chunk extension with a control character", ret_error);
	return 0;
}

static int follow_trailer(struct http1_body *body, char c, struct http1_error *ret_error)
{
	if (c == '\r')
		body->state = END_LF;
	else if (is_blank(c))
		return refuse(body, "obs_fold", "a folded trailer", ret_error);
	else if (!(http1_class[(uint8_t)c] & HTTP1_TOKEN))
		return refuse(body, "bad_field", "a trailer that is no `name: value`", ret_error);
	else
		body->state = TRAILER_NAME;
	return 0;
}

static int follow_trailer_name(struct http1_body *body, char c, struct http1_error *ret_error)
{
	if (c == ':')
		body->state = TRAILER_VALUE;
	else if (!(http1_class[(uint8_t)c] & HTTP1_TOKEN))
		return refuse(body, "bad_field", "a trailer that is no `name: value`", ret_error);
	return 0;
}

static int follow_trailer_value(struct http1_body *body, char c, struct http1_error *ret_error)
{
	if (c == '\r')
		body->state = TRAILER_LF;
	else if (!(http1_class[(uint8_t)c] & HTTP1_VALUE))
		return refuse(body, "bad_field", "a trailer with a control character", ret_error);
	return 0;
}

/* Goes on to `next` if the byte is `want`; `line_bytes` begins anew with each line but a trailer's. */
static int follow_fixed(struct http1_body *body, char c, char want, enum state next,
			struct http1_error *ret_error)
{
	const char *detail = body->state == DATA_CR || body->state == DATA_LF
				     ? "a chunk longer than it said"
				     : "a bare CR between chunks";

	if (c != want)
		return refuse_chunk(body, detail, ret_error);
	body->state = next;
	return 0;
}

static int follow_byte(struct http1_body *body, char c, struct http1_error *ret_error)
{
	switch ((enum state)body->state) {
	case SIZE:
		return follow_size(body, c, ret_error);
	case PADDING:
		return follow_size_end(body, c, ret_error);
	case EXTENSION:
		return follow_extension(body, c, ret_error);
	case SIZE_LF:
		return follow_fixed(body, c, '\n', body->left ? DATA : TRAILER, ret_error);
	case DATA_CR:
		return follow_fixed(body, c, '\r', DATA_LF, ret_error);
	case DATA_LF:
		return follow_fixed(body, c, '\n', SIZE, ret_error);
	case TRAILER:
		return follow_trailer(body, c, ret_error);
	case TRAILER_NAME:
		return follow_trailer_name(body, c, ret_error);
	case TRAILER_VALUE:
		return follow_trailer_value(body, c, ret_error);
	case TRAILER_LF:
		return follow_fixed(body, c, '\n', TRAILER, ret_error);
	case END_LF:
		TRY(follow_fixed(body, c, '\n', TRAILER, ret_error));
		body->done = true;
		break;
	case DATA:
		break;
	}
	return 0;
}

/* One byte of framing, counted. */
static int follow_framing(struct http1_body *body, char c, struct http1_error *ret_error)
{
	enum state before = (enum state)body->state;
	bool is_trailer = before >= TRAILER;

	if (body->line_bytes >= (is_trailer ? TRAILER_BYTES_MAX : LINE_BYTES_MAX))
		return refuse_chunk(body,
				    is_trailer ? "trailers too long" : "a chunk's line too long",
				    ret_error);
	TRY(follow_byte(body, c, ret_error));
	body->line_bytes++;
	if (before == SIZE_LF || before == DATA_LF)
		body->line_bytes = 0;
	return 0;
}

/* Up to the next content, through it, or to the end of what is there. */
static int read_chunked(struct http1_body *body, const char *bytes, size_t len, size_t *ret_used,
			size_t *ret_data_len, struct http1_error *ret_error)
{
	size_t at = 0, data_len = 0;

	while (at < len && body->state != DATA && !body->done)
		TRY(follow_framing(body, bytes[at++], ret_error));
	if (body->state == DATA && at < len) {
		data_len = len - at < body->left ? len - at : body->left;
		body->left -= data_len;
		at += data_len;
		if (!body->left)
			body->state = DATA_CR;
	}
	*ret_used = at;
	*ret_data_len = data_len;
	return 0;
}

static size_t read_length(struct http1_body *body, size_t len)
{
	size_t used = len < body->left ? len : body->left;

	body->left -= used;
	body->done = !body->left;
	return used;
}

int http1_body_read(struct http1_body *body, const char *bytes, size_t len, size_t *ret_used,
		    const char **ret_data, size_t *ret_data_len, struct http1_error *ret_error)
{
	size_t used = 0, data_len = 0;

	if (body->done)
		used = 0;
	else if (body->kind == BODY_CHUNKED)
		TRY(read_chunked(body, bytes, len, &used, &data_len, ret_error));
	else
		used = data_len = body->kind == BODY_LENGTH ? read_length(body, len) : len;
	*ret_used = used;
	*ret_data_len = data_len;
	*ret_data = bytes + used - data_len;
	return 0;
}

size_t http1_body_content(const struct http1_body *body)
{
	if (body->done)
		return 0;
	if (body->kind == BODY_STREAM)
		return SIZE_MAX;
	return body->kind == BODY_LENGTH || body->state == DATA ? body->left : 0;
}

bool http1_body_end(struct http1_body *body)
{
	if (body->kind == BODY_STREAM)
		body->done = true;
	return body->done;
}
