/* SPDX-License-Identifier: Apache-2.0
 *
 * The grammar of HTTP/1 heads; see http1_grammar.h. Runs in: the proxy's worker. Pure: holds nothing.
 *
 * Where the RFC lets a recipient be lenient this one is not, since the next recipient may be lenient in
 * another way: no bare CR or LF, no folded field, no space before a colon, no empty line before a
 * request.
 *
 * A head is a row of elements (method, target, version, name, value …). Each state skips the bytes of
 * its class, looks at the one that ends them, and hands over to the next; so the states change once for
 * each element and not for each byte. Where the input ends in the middle, place and state are kept in
 * the scan. A head that was resumed is followed once more from its front when its end is there, since
 * the spans of its earlier elements were not kept: at most two looks at any byte.
 */
#include "proxy/http1_grammar.h"

#include <errno.h>
#include <string.h>

enum {
	T = HTTP1_TOKEN | HTTP1_TARGET | HTTP1_VALUE,
	X = T | HTTP1_HEX,
	V = HTTP1_TARGET | HTTP1_VALUE,
	S = HTTP1_VALUE,
};

/* clang-format off */
const uint8_t http1_class[256] = {
	['\t'] = S, [' '] = S,
	['!'] = T, ['"'] = V, ['#'] = T, ['$'] = T, ['%'] = T, ['&'] = T, ['\''] = T, ['('] = V,
	[')'] = V, ['*'] = T, ['+'] = T, [','] = V, ['-'] = T, ['.'] = T, ['/'] = V,
	['0' ... '9'] = X, [':'] = V, [';'] = V, ['<'] = V, ['='] = V, ['>'] = V, ['?'] = V, ['@'] = V,
	['A' ... 'F'] = X, ['G' ... 'Z'] = T, ['['] = V, ['\\'] = V, [']'] = V, ['^'] = T, ['_'] = T,
	['`'] = T, ['a' ... 'f'] = X, ['g' ... 'z'] = T, ['{'] = V, ['|'] = T, ['}'] = V, ['~'] = T,
	[0x80 ... 0xff] = V,
};
/* clang-format on */

const char *http1_skip(const char *at, const char *end, uint8_t class)
{
	while (at < end && http1_class[(uint8_t)*at] & class)
		at++;
	return at;
}

/* Whether one of eight bytes is a control character: below 0x20, or 0x7f. HTAB counts as one too. */
static bool has_control(const char *at)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	uint64_t del = word ^ ones * 0x7f;
	return (((word - ones * 0x20) & ~word) | ((del - ones) & ~del)) & high;
}

const char *http1_skip_value(const char *at, const char *end)
{
	for (;;) {
		while (end - at >= 8 && !has_control(at))
			at += 8;
		at = http1_skip(at, end, HTTP1_VALUE);
		if (end - at < 8 || !(http1_class[(uint8_t)*at] & HTTP1_VALUE))
			return at;
	}
}

bool http1_is_token(struct span text)
{
	const char *end = text.at + text.len;

	return text.len && http1_skip(text.at, end, HTTP1_TOKEN) == end;
}

bool http1_is_field_value(struct span text)
{
	const char *end = text.at + text.len;

	return !text.len || http1_skip_value(text.at, end) == end;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool http1_equals(struct span text, struct span lower_text)
{
	if (text.len != lower_text.len)
		return false;
	for (size_t i = 0; i < text.len; i++)
		if (lower(text.at[i]) != lower_text.at[i])
			return false;
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct span http1_trim(struct span text)
{
	while (text.len && is_blank(text.at[0])) {
		text.at++;
		text.len--;
	}
	while (text.len && is_blank(text.at[text.len - 1]))
		text.len--;
	return text;
}

bool http1_next_element(struct span *list, struct span *ret_element)
{
	while (list->len) {
		const char *comma = memchr(list->at, ',', list->len);
		size_t len = comma ? (size_t)(comma - list->at) : list->len;
		struct span element = http1_trim((struct span){ list->at, len });
		len += comma != NULL;
		*list = (struct span){ list->at + len, list->len - len };
		if (element.len) {
			*ret_element = element;
			return true;
		}
	}
	return false;
}

static const struct {
	struct span name;
	enum http1_name is;
} names[] = {
	{ SPAN("host"), NAME_HOST },
	{ SPAN("content-length"), NAME_CONTENT_LENGTH },
	{ SPAN("transfer-encoding"), NAME_TRANSFER_ENCODING },
	{ SPAN("connection"), NAME_CONNECTION },
	{ SPAN("proxy-connection"), NAME_PROXY_CONNECTION },
	{ SPAN("expect"), NAME_EXPECT },
	{ SPAN("upgrade"), NAME_UPGRADE },
	{ SPAN("keep-alive"), NAME_HOP_BY_HOP },
	{ SPAN("te"), NAME_HOP_BY_HOP },
	{ SPAN("trailer"), NAME_HOP_BY_HOP },
	{ SPAN("proxy-authenticate"), NAME_HOP_BY_HOP },
	{ SPAN("proxy-authentication-info"), NAME_HOP_BY_HOP },
};

enum http1_name http1_name_of(struct span name)
{
	/* One bit for each length above: most fields of a head are none of these. */
	static const uint32_t lengths = 1u << 2 | 1u << 4 | 1u << 6 | 1u << 7 | 1u << 10 |
					1u << 14 | 1u << 16 | 1u << 17 | 1u << 18 | 1u << 25;

	if (name.len > 25 || !(lengths >> name.len & 1))
		return NAME_OTHER;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (http1_equals(name, names[i].name))
			return names[i].is;
	return NAME_OTHER;
}

int http1_parse_length(struct span text, uint64_t *ret_length)
{
	uint64_t length = 0;

	if (!text.len || text.len > 18)
		return -EINVAL;
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return -EINVAL;
		length = length * 10 + (uint64_t)(text.at[i] - '0');
	}
	*ret_length = length;
	return 0;
}

int http1_refuse(struct http1_error *ret_error, unsigned status, const char *reason,
		 const char *detail)
{
	*ret_error = (struct http1_error){ status, reason, detail };
	return -EPROTO;
}

/* Following a head. */

enum state {
	START, /* must be 0 */
	METHOD,
	TARGET,
	VERSION,
	STATUS,
	AFTER_STATUS,
	PHRASE,
	LINE_LF, /* after the CR that ends a line */
	LINE,	 /* at the front of a line after the first */
	NAME,
	VALUE,
	HEAD_LF, /* after the CR of the empty line */
	DONE,
};

struct follower {
	const char *at, *end;
	const char *
		element; /* where the present one began; after a resumption, anywhere before `at` */
	enum state state;
	unsigned matched;
	struct http1_head *head;
	struct http1_error *error;
};

static int refuse_newline(struct follower *f)
{
	return http1_refuse(f->error, 400, "bare_cr_or_lf",
			    "a line ends with CR LF and holds no other CR or LF");
}

static int refuse_field(struct follower *f)
{
	if (*f->at == '\n')
		return refuse_newline(f);
	return http1_refuse(f->error, 400, "bad_field",
			    "not `name: value` without control characters");
}

static int refuse_first_line(struct follower *f)
{
	const char *detail = f->head->is_response ? "not `HTTP/1.1 status phrase`"
						  : "not `METHOD target HTTP/1.1`";

	if (*f->at == '\n' && f->state != START)
		return refuse_newline(f);
	return http1_refuse(f->error, 400, "bad_request_line", detail);
}

static void enter(struct follower *f, enum state state)
{
	f->at++;
	f->element = f->at;
	f->state = state;
}

/* Ends an element at `at`; an empty one is refused by its caller. */
static struct span element(const struct follower *f)
{
	return (struct span){ f->element, (size_t)(f->at - f->element) };
}

static int follow_start(struct follower *f)
{
	if (!f->head->is_response && !(http1_class[(uint8_t)*f->at] & HTTP1_TOKEN))
		return refuse_first_line(f);
	f->element = f->at;
	f->state = f->head->is_response ? STATUS : METHOD;
	f->matched = 0;
	return 0;
}

static int follow_method(struct follower *f)
{
	f->at = http1_skip(f->at, f->end, HTTP1_TOKEN);
	if (f->at == f->end)
		return 0;
	if (*f->at != ' ')
		return refuse_first_line(f);
	f->head->method = element(f);
	enter(f, TARGET);
	/* `matched` tells an empty target from one whose first bytes came in an earlier call. */
	f->matched = 0;
	return 0;
}

static int follow_target(struct follower *f)
{
	const char *from = f->at;

	f->at = http1_skip(f->at, f->end, HTTP1_TARGET);
	f->matched |= f->at > from;
	if (f->at == f->end)
		return 0;
	if (*f->at != ' ' || !f->matched)
		return refuse_first_line(f);
	f->head->target = element(f);
	enter(f, VERSION);
	f->matched = 0;
	return 0;
}

/* Matches a line's fixed part: `m` is the minor version, `s` and `d` are digits, of which `s` is none
 * that begins with 0. Returns whether it is through. */
static bool match(struct follower *f, const char *pattern)
{
	for (; f->at < f->end && pattern[f->matched]; f->at++, f->matched++) {
		char want = pattern[f->matched], c = *f->at;
		bool fits = want == 'm'	  ? c == '0' || c == '1'
			    : want == 's' ? c >= '1' && c <= '9'
			    : want == 'd' ? c >= '0' && c <= '9'
					  : c == want;
		if (!fits)
			return false;
	}
	return !pattern[f->matched];
}

static int follow_fixed(struct follower *f, const char *pattern, enum state next)
{
	if (!match(f, pattern))
		return f->at < f->end ? refuse_first_line(f) : 0;
	f->head->version = element(f);
	f->state = next;
	return 0;
}

/* The CR of a first line. */
static int follow_first_end(struct follower *f)
{
	if (*f->at != '\r')
		return refuse_first_line(f);
	enter(f, LINE_LF);
	return 0;
}

static int follow_after_status(struct follower *f)
{
	f->head->phrase = (struct span){ f->at, 0 };
	if (*f->at != ' ')
		return follow_first_end(f);
	enter(f, PHRASE);
	return 0;
}

static int follow_phrase(struct follower *f)
{
	f->at = http1_skip_value(f->at, f->end);
	if (f->at == f->end)
		return 0;
	f->head->phrase = element(f);
	return follow_first_end(f);
}

static int follow_lf(struct follower *f, enum state next)
{
	if (*f->at != '\n')
		return refuse_newline(f);
	enter(f, next);
	return 0;
}

static int follow_line(struct follower *f)
{
	if (*f->at == '\r') {
		enter(f, HEAD_LF);
		return 0;
	}
	if (is_blank(*f->at))
		return http1_refuse(f->error, 400, "obs_fold", "a folded header field");
	if (!(http1_class[(uint8_t)*f->at] & HTTP1_TOKEN))
		return refuse_field(f);
	f->element = f->at;
	f->state = NAME;
	return 0;
}

static int follow_name(struct follower *f)
{
	f->at = http1_skip(f->at, f->end, HTTP1_TOKEN);
	if (f->at == f->end)
		return 0;
	if (*f->at != ':')
		return refuse_field(f);
	if (f->head->field_count == HTTP1_FIELDS_MAX)
		return http1_refuse(f->error, 431, "head_too_large", "too many header fields");
	f->head->fields[f->head->field_count].name = element(f);
	enter(f, VALUE);
	return 0;
}

static int follow_value(struct follower *f)
{
	f->at = http1_skip_value(f->at, f->end);
	if (f->at == f->end)
		return 0;
	if (*f->at != '\r')
		return refuse_field(f);
	/* Resumed within a value, its name was in another pass: nothing here is used then. */
	if (f->head->field_count < HTTP1_FIELDS_MAX)
		f->head->fields[f->head->field_count++].value = http1_trim(element(f));
	enter(f, LINE_LF);
	return 0;
}

static int follow_element(struct follower *f)
{
	switch (f->state) {
	case START:
		return follow_start(f);
	case METHOD:
		return follow_method(f);
	case TARGET:
		return follow_target(f);
	case VERSION:
		return follow_fixed(f, "HTTP/1.m", AFTER_STATUS);
	case STATUS:
		return follow_fixed(f, "HTTP/1.m sdd", AFTER_STATUS);
	case AFTER_STATUS:
		return f->head->is_response ? follow_after_status(f) : follow_first_end(f);
	case PHRASE:
		return follow_phrase(f);
	case LINE_LF:
		return follow_lf(f, LINE);
	case LINE:
		return follow_line(f);
	case NAME:
		return follow_name(f);
	case VALUE:
		return follow_value(f);
	case HEAD_LF:
		return follow_lf(f, DONE);
	case DONE:
		break;
	}
	return 0;
}

/* One pass from where the scan stands. Returns the head's length, 0 or -EPROTO. */
static ssize_t follow(const char *bytes, size_t len, struct http1_scan *scan,
		      struct http1_head *head, struct http1_error *ret_error)
{
	struct follower f = { .at = bytes + scan->at,
			      .end = bytes + len,
			      .element = bytes + scan->at,
			      .state = scan->state,
			      .matched = scan->matched,
			      .head = head,
			      .error = ret_error };

	head->field_count = 0;
	while (f.at < f.end && f.state != DONE)
		TRY(follow_element(&f));
	*scan = (struct http1_scan){ (size_t)(f.at - bytes), (uint8_t)f.state, (uint8_t)f.matched };
	return f.state == DONE ? f.at - bytes : 0;
}

ssize_t http1_follow_head(const char *bytes, size_t len, struct http1_scan *scan,
			  struct http1_head *head, struct http1_error *ret_error)
{
	size_t seen = len < HTTP1_HEAD_MAX ? len : HTTP1_HEAD_MAX;
	bool is_resumed = scan->at > 0;
	ssize_t used = follow(bytes, seen, scan, head, ret_error);

	if (used == 0 && seen == HTTP1_HEAD_MAX)
		return http1_refuse(ret_error, 431, "head_too_large", "a head of more than 64 KiB");
	if (used > 0 && is_resumed) {
		*scan = (struct http1_scan){ 0 };
		used = follow(bytes, seen, scan, head, ret_error);
	}
	if (used > 0)
		*scan = (struct http1_scan){ 0 };
	return used;
}
