/* SPDX-License-Identifier: Apache-2.0
 *
 * Paths; see path.h. Runs in: the proxy's worker. Pure. Holds: nothing.
 *
 * A target is looked at once with a table of what each byte can mean. Without a percent sign its path
 * has one form, which is judged where it lies. Otherwise the forms are made one after the other in a
 * copy, each decoded in place from the one before, and what was found wrong with any of them counts
 * as if all had been made first and then looked at: too many encodings come before a trick in the path.
 */
#include "proxy/path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

enum { SCRATCH_BYTES = 1024 }; /* a longer path or query with percent signs is copied to the heap */

/* What a byte can mean; see examine(). */
enum {
	CONTROL = 1 << 0,
	OUTSIDE = 1 << 1, /* no URI has it */
	HASH = 1 << 2,
	PERCENT = 1 << 3,
	BACKSLASH = 1 << 4,
	DOT = 1 << 5,
	LEAD = 1 << 6, /* may begin an overlong UTF-8 sequence */
};

static const unsigned char MEANING[256] = {
	[0 ... 0x1f] = CONTROL | OUTSIDE,
	[' '] = OUTSIDE,
	['#'] = HASH,
	['%'] = PERCENT,
	['\\'] = BACKSLASH,
	['.'] = DOT,
	[0x7f] = CONTROL | OUTSIDE,
	[0x80 ... 0xbf] = OUTSIDE,
	[0xc0 ... 0xc1] = OUTSIDE | LEAD,
	[0xc2 ... 0xdf] = OUTSIDE,
	[0xe0] = OUTSIDE | LEAD,
	[0xe1 ... 0xef] = OUTSIDE,
	[0xf0] = OUTSIDE | LEAD,
	[0xf1 ... 0xff] = OUTSIDE,
};

static const char TOO_OFTEN[] = "percent-encoded too often";

static unsigned examine(struct span text)
{
	unsigned seen = 0;

	for (size_t i = 0; i < text.len; i++)
		seen |= MEANING[(unsigned char)text.at[i]];
	return seen;
}

static struct span until(struct span text, char end)
{
	const char *found = text.len ? memchr(text.at, end, text.len) : NULL;

	return (struct span){ text.at, found ? (size_t)(found - text.at) : text.len };
}

/* What follows text[len] and the byte that ended it; empty when nothing does. */
static struct span after(struct span text, size_t len)
{
	size_t used = len < text.len ? len + 1 : text.len;

	return (struct span){ text.at + used, text.len - used };
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that text[at] begins an escape of, or -1. */
static int escaped_byte(struct span text, size_t at)
{
	if (text.at[at] != '%' || text.len - at < 3)
		return -1;
	int high = hex_value(text.at[at + 1]), low = hex_value(text.at[at + 2]);
	return high < 0 || low < 0 ? -1 : high << 4 | low;
}

static bool has_broken_escape(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.at[i] == '%' && escaped_byte(text, i) < 0)
			return true;
	return false;
}

/* Decodes in place, once. Returns whether anything changed. */
static bool decode_once(char *bytes, size_t *len)
{
	struct span text = { bytes, *len };
	size_t out = 0;

	for (size_t i = 0; i < text.len; i++) {
		int byte = escaped_byte(text, i);
		bytes[out++] = byte < 0 ? bytes[i] : (char)byte;
		i += byte < 0 ? 0 : 2;
	}
	*len = out;
	return out != text.len;
}

/* Lead bytes that valid UTF-8 never has: the overlong spellings of `.`, `/` and `\`. */
static bool has_overlong(struct span form)
{
	const unsigned char *byte = (const unsigned char *)form.at;

	for (size_t i = 0; i < form.len; i++) {
		unsigned next = i + 1 < form.len ? byte[i + 1] : 0;
		if (byte[i] == 0xc0 || byte[i] == 0xc1 ||
		    (byte[i] == 0xe0 && next >= 0x80 && next <= 0x9f) ||
		    (byte[i] == 0xf0 && next >= 0x80 && next <= 0x8f))
			return true;
	}
	return false;
}

/* `.` or `..` up to a `;` (parameters), and up to a `?` or `#` that only a decoding brought: a server
 * that cuts there after decoding has the dots at the end. */
static bool has_dot_segment(struct span form)
{
	bool at_start = true;

	for (size_t i = 0; i < form.len; i++) {
		if (at_start && form.at[i] == '.') {
			size_t end = i + 1 + (i + 1 < form.len && form.at[i + 1] == '.');
			if (end == form.len || memchr("/;?#", form.at[end], 4))
				return true;
		}
		at_start = form.at[i] == '/';
	}
	return false;
}

static const char *form_problem(struct span form, unsigned seen)
{
	if (seen & CONTROL)
		return "a control character";
	if (seen & BACKSLASH)
		return "a backslash";
	if (seen & LEAD && has_overlong(form))
		return "an overlong UTF-8 sequence";
	if (seen & DOT && has_dot_segment(form))
		return "a dot segment";
	return NULL;
}

static bool rule_matches(const char *rule, struct span form)
{
	size_t len = strlen(rule);

	if (len > form.len || memcmp(rule, form.at, len) != 0)
		return false;
	return form.len == len || form.at[len] == '/' || (len && rule[len - 1] == '/');
}

static bool is_allowed(const struct strlist *rules, struct span form)
{
	for (size_t i = 0; i < rules->len; i++)
		if (rule_matches(rules->items[i], form))
			return true;
	return !rules->len;
}

static bool is_word(struct span text, struct span word)
{
	return text.len == word.len && !strncasecmp(text.at, word.at, word.len);
}

/* Takes the last segment off a path, without its parameters; empty ones are passed over. */
static struct span take_last_segment(struct span *path)
{
	struct span segment = { path->at, 0 };

	while (!segment.len && path->len) {
		const char *slash = memrchr(path->at, '/', path->len);
		const char *start = slash ? slash + 1 : path->at;
		segment = (struct span){ start, (size_t)(path->at + path->len - start) };
		segment = until(segment, ';');
		path->len = slash ? (size_t)(slash - path->at) : 0;
	}
	return segment;
}

/* What bytes.strip() takes off, and a `+`, which stands for a space in a query. */
static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || c == '+';
}

static struct span without_blanks(struct span text)
{
	while (text.len && is_blank(text.at[0]))
		text = (struct span){ text.at + 1, text.len - 1 };
	while (text.len && is_blank(text.at[text.len - 1]))
		text.len--;
	return text;
}

static size_t pair_len(struct span query)
{
	size_t len = 0;

	while (len < query.len && !memchr("&;?", query.at[len], 3))
		len++;
	return len;
}

static bool has_receive_pack(struct span query)
{
	while (query.len) {
		struct span pair = { query.at, pair_len(query) };
		struct span name = until(pair, '=');
		if (is_word(without_blanks(name), SPAN("service")) &&
		    is_word(without_blanks(after(pair, name.len)), SPAN("git-receive-pack")))
			return true;
		query = after(query, pair.len);
	}
	return false;
}

/* A copy that can be decoded in place: in the caller's scratch where it fits. */
static char *copy_for_decoding(size_t len, char *scratch, char **ret_owned)
{
	if (len <= SCRATCH_BYTES)
		return scratch;
	return *ret_owned = malloc(len);
}

/* Whether any decoding of `query&inner` asks for git-receive-pack. 0, 1, -EINVAL: encoded too often,
 * -ENOMEM. */
static int asks_receive_pack(struct span query, struct span inner)
{
	char scratch[SCRATCH_BYTES];
	cleanup_free char *owned = NULL;
	size_t len = query.len + 1 + inner.len;
	char *copy = copy_for_decoding(len, scratch, &owned);
	int asks = 0;

	if (!copy)
		return -ENOMEM;
	if (query.len)
		memcpy(copy, query.at, query.len);
	copy[query.len] = '&';
	if (inner.len)
		memcpy(copy + query.len + 1, inner.at, inner.len);
	for (int decodings = 0; decodings <= PATH_DECODINGS_MAX; decodings++) {
		asks |= has_receive_pack((struct span){ copy, len });
		if (!decode_once(copy, &len))
			return asks;
	}
	return -EINVAL;
}

/* Whether a form is one of the two requests of a `git push`. As asks_receive_pack. */
static int is_git_push(struct span form, struct span query)
{
	struct span path = until(form, '?'); /* from a %3f, which a second reader may split at */
	struct span inner = after(form, path.len);
	struct span last = take_last_segment(&path);

	if (is_word(last, SPAN("git-receive-pack")))
		return 1;
	if (!is_word(last, SPAN("refs")) || !is_word(take_last_segment(&path), SPAN("info")))
		return 0;
	return asks_receive_pack(query, inner);
}

/* What was found in the forms so far. */
struct findings {
	const char *problem;	 /* of the first form that has one */
	const char *git_problem; /* counts only where no form has a problem */
	bool is_allowed, is_git_push;
};

/* Adds what is found in one more form. 0 or -ENOMEM. */
static int look_at_form(struct span form, unsigned seen, struct span query,
			const struct strlist *rules, struct findings *findings)
{
	if (!findings->problem)
		findings->problem = form_problem(form, seen);
	findings->is_allowed = findings->is_allowed && is_allowed(rules, form);
	if (findings->problem || findings->git_problem || findings->is_git_push)
		return 0;
	int push = is_git_push(form, query);
	if (push == -ENOMEM)
		return push;
	findings->git_problem = push < 0 ? TOO_OFTEN : NULL;
	findings->is_git_push = push > 0;
	return 0;
}

/* All forms of a path with escapes. */
static int look_at_forms(struct span path, struct span query, const struct strlist *rules,
			 struct findings *findings)
{
	char scratch[SCRATCH_BYTES];
	cleanup_free char *owned = NULL;
	size_t len = path.len;
	char *copy = copy_for_decoding(len, scratch, &owned);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, path.at, path.len);
	for (int decodings = 0; decodings <= PATH_DECODINGS_MAX; decodings++) {
		struct span form = { copy, len };
		TRY(look_at_form(form, examine(form), query, rules, findings));
		if (!decode_once(copy, &len))
			return 0;
	}
	findings->problem = TOO_OFTEN;
	return 0;
}

static const char *target_problem(struct span path, unsigned in_path, unsigned in_query)
{
	if ((in_path | in_query) & OUTSIDE)
		return "a byte that no URI has";
	if ((in_path | in_query) & HASH)
		return "a fragment";
	if (!path.len || path.at[0] != '/')
		return "no `/` at its start";
	if (in_path & PERCENT && has_broken_escape(path))
		return "a broken percent-escape";
	return NULL;
}

int path_judge(struct span target, const struct strlist *rules, struct path_judgement *ret)
{
	struct span path = until(target, '?');
	struct span query = after(target, path.len);
	unsigned seen = examine(path);
	struct findings findings = { .is_allowed = true };

	findings.problem = target_problem(path, seen, examine(query));
	if (!findings.problem && seen & PERCENT)
		TRY(look_at_forms(path, query, rules, &findings));
	else if (!findings.problem)
		TRY(look_at_form(path, seen, query, rules, &findings));
	*ret = (struct path_judgement){
		.problem = findings.problem ? findings.problem : findings.git_problem,
		.is_allowed = findings.is_allowed,
		.is_git_push = findings.is_git_push,
	};
	return 0;
}
