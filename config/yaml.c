/* SPDX-License-Identifier: Apache-2.0
 *
 * Strict YAML; see yaml.h. Runs in: launcher (manifest), proxy (routes.yaml). Holds: the text.
 *
 * Built on libyaml's events, not on its documents: only there anchors, tags and positions can be
 * seen. The recursion is bounded by YAML_DEPTH, the memory by YAML_VALUES; libyaml's own nesting
 * (yaml 0.2.5 stops at 1000) is never reached, since its scanner runs only a few tokens ahead.
 */
#include "config/yaml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/cleanup.h"
#include "base/str.h"

struct source {
	yaml_parser_t parser;
	const char *name;
	const char *text;
	size_t len;
	size_t value_count;
	struct err *err;
};

static void event_clear(yaml_event_t *event)
{
	yaml_event_delete(event);
}

static void source_clear(struct source *source)
{
	yaml_parser_delete(&source->parser);
}

static int fail(struct source *source, yaml_mark_t at, const char *sentence)
{
	return err_set(source->err, EINVAL, "%s:%zu:%zu: %s", source->name, at.line + 1,
		       at.column + 1, sentence);
}

/* libyaml's reader gives an offset and no mark. */
static yaml_mark_t mark_of_offset(const struct source *source, size_t offset)
{
	yaml_mark_t mark = { .index = offset };

	for (size_t i = 0; i < offset && i < source->len; i++) {
		unsigned char c = (unsigned char)source->text[i];

		if (c == '\n') {
			mark.line++;
			mark.column = 0;
		} else if ((c & 0xc0) != 0x80) {
			mark.column++;
		}
	}
	return mark;
}

/* What to try, for the mistakes that libyaml's sentence does not explain. `at` is the byte where it
 * stopped. */
static const char *hint_for(const struct source *source, const char *context)
{
	size_t at = source->parser.problem_mark.index;
	/* The mark's index counts characters; they are bytes unless the text is not ASCII. */
	char c = at < source->len ? source->text[at] : '\0';

	if (context && strstr(context, "alias"))
		return "; a bare * begins an alias, so put a text like \"*.example.com\" in quotes";
	if (context && strstr(context, "anchor"))
		return "; a bare & begins an anchor, so put the text in quotes";
	if (context && strstr(context, "tag"))
		return "; a bare ! begins a tag, so put the text in quotes";
	if (c == '\t')
		return "; YAML is indented with spaces, not with tabs";
	if (c == '@' || c == '`' || c == '%')
		return "; a text that begins with this character needs quotes";
	if (c == ':')
		return "; a text with ': ' in it needs quotes";
	return "";
}

static int fail_syntax(struct source *source)
{
	const yaml_parser_t *parser = &source->parser;
	const char *problem = parser->problem ? parser->problem : "not understood";
	const char *context = parser->context;
	char sentence[512];

	if (parser->error == YAML_MEMORY_ERROR)
		return err_sys(source->err, ENOMEM, "%s", source->name);
	if (parser->error == YAML_READER_ERROR) {
		snprintf(sentence, sizeof(sentence), "not plain UTF-8 text: %s", problem);
		return fail(source, mark_of_offset(source, parser->problem_offset), sentence);
	}
	if (context && parser->context_mark.line != parser->problem_mark.line)
		snprintf(sentence, sizeof(sentence),
			 "not valid YAML: %s, %s that begins in line %zu%s", problem, context,
			 parser->context_mark.line + 1, hint_for(source, context));
	else
		snprintf(sentence, sizeof(sentence), "not valid YAML: %s%s%s%s", problem,
			 context ? ", " : "", context ? context : "", hint_for(source, context));
	return fail(source, parser->problem_mark, sentence);
}

/* The next event, with what is never allowed in any event refused. */
static int next_event(struct source *source, yaml_event_t *event)
{
	const void *anchor = NULL, *tag = NULL;

	if (!yaml_parser_parse(&source->parser, event))
		return fail_syntax(source);
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		anchor = event->data.scalar.anchor;
		tag = event->data.scalar.tag;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = event->data.sequence_start.anchor;
		tag = event->data.sequence_start.tag;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = event->data.mapping_start.anchor;
		tag = event->data.mapping_start.tag;
		break;
	case YAML_ALIAS_EVENT:
		return fail(
			source, event->start_mark,
			"aliases (*name) are not allowed; write the value out, or put a text that "
			"begins with * in quotes");
	default:
		break;
	}
	if (anchor)
		return fail(
			source, event->start_mark,
			"anchors (&name) are not allowed; write the value out where it is needed");
	if (tag)
		return fail(source, event->start_mark,
			    "tags (!name) are not allowed; leave the tag out, or put a text that "
			    "begins "
			    "with ! in quotes");
	return 0;
}

static int take_scalar(struct source *source, const yaml_event_t *event, size_t max_bytes,
		       char **ret_text)
{
	const char *bytes = (const char *)event->data.scalar.value;
	size_t len = event->data.scalar.length;

	if (memchr(bytes, '\0', len))
		return fail(source, event->start_mark, "a NUL byte cannot stand in a text");
	if (len > max_bytes)
		return fail(source, event->start_mark,
			    max_bytes == YAML_KEY_BYTES ? "key longer than 128 bytes"
							: "text longer than 64 KiB");
	*ret_text = strndup(bytes, len);
	return *ret_text ? 0 : err_sys(source->err, ENOMEM, "%s", source->name);
}

static int append(struct source *source, struct yaml_value *parent, struct yaml_value *child)
{
	struct yaml_value *grown;

	/* Grown when the count is a power of two. */
	if (!(parent->count & (parent->count - 1))) {
		size_t room = parent->count ? 2 * parent->count : 1;

		grown = reallocarray(parent->items, room, sizeof(*grown));
		if (!grown)
			return err_sys(source->err, ENOMEM, "%s", source->name);
		parent->items = grown;
	}
	parent->items[parent->count++] = *child;
	*child = (struct yaml_value){ 0 };
	return 0;
}

static int read_value(struct source *source, const yaml_event_t *event, unsigned depth,
		      struct yaml_value *value);

static int refuse_duplicate(struct source *source, const struct yaml_value *map, const char *key,
			    yaml_mark_t at)
{
	const struct yaml_value *first = yaml_value_find(map, key);
	char sentence[4 * YAML_KEY_BYTES], escaped[2 * YAML_KEY_BYTES];

	if (!first)
		return 0;
	snprintf(sentence, sizeof(sentence), "key '%s' stands twice, first in line %u; remove one",
		 str_escape(escaped, sizeof(escaped), key, strlen(key)), first->key_line);
	return fail(source, at, sentence);
}

/* Takes the key of a pair out of its event into child->key. */
static int read_key(struct source *source, const yaml_event_t *event, const struct yaml_value *map,
		    struct yaml_value *child)
{
	bool plain;

	if (event->type != YAML_SCALAR_EVENT)
		return fail(
			source, event->start_mark,
			"a key must be a plain word, not a list or a map; a value that begins with "
			"{ or [ needs quotes when it is text");
	TRY(take_scalar(source, event, YAML_KEY_BYTES, &child->key));
	plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	if (!*child->key)
		return fail(source, event->start_mark, "a key is missing before ':'");
	if (plain && strcmp(child->key, "<<") == 0)
		return fail(source, event->start_mark,
			    "merge keys (<<) are not allowed; write the keys out");
	child->key_line = (unsigned)event->start_mark.line + 1;
	child->key_column = (unsigned)event->start_mark.column + 1;
	return refuse_duplicate(source, map, child->key, event->start_mark);
}

/* Reads the children of a map or list up to its end. */
static int read_children(struct source *source, unsigned depth, struct yaml_value *value)
{
	for (;;) {
		cleanup_with(event_clear) yaml_event_t event = { 0 };
		cleanup_with(event_clear) yaml_event_t value_event = { 0 };
		cleanup_with(yaml_value_clear) struct yaml_value child = { 0 };
		const yaml_event_t *at = &event;

		TRY(next_event(source, &event));
		if (event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT)
			return 0;
		if (value->count == YAML_ITEMS)
			return fail(source, event.start_mark, "more than 4096 entries");
		if (value->kind == YAML_MAP) {
			TRY(read_key(source, &event, value, &child));
			TRY(next_event(source, &value_event));
			at = &value_event;
		}
		TRY(read_value(source, at, depth, &child));
		TRY(append(source, value, &child));
	}
}

static int read_value(struct source *source, const yaml_event_t *event, unsigned depth,
		      struct yaml_value *value)
{
	value->line = (unsigned)event->start_mark.line + 1;
	value->column = (unsigned)event->start_mark.column + 1;
	if (++source->value_count > YAML_VALUES)
		return fail(source, event->start_mark, "more than 20000 values");
	if (event->type == YAML_SCALAR_EVENT) {
		value->kind = YAML_SCALAR;
		value->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
		return take_scalar(source, event, YAML_SCALAR_BYTES, &value->text);
	}
	if (depth == YAML_DEPTH)
		return fail(source, event->start_mark, "nested deeper than 16 levels");
	value->kind = event->type == YAML_MAPPING_START_EVENT ? YAML_MAP : YAML_LIST;
	return read_children(source, depth + 1, value);
}

static int read_document(struct source *source, struct yaml_value *root)
{
	cleanup_with(event_clear) yaml_event_t start = { 0 };
	cleanup_with(event_clear) yaml_event_t first = { 0 };

	TRY(next_event(source, &start));
	if (start.type == YAML_STREAM_END_EVENT)
		return err_set(source->err, EINVAL, "%s: the file is empty", source->name);
	if (start.data.document_start.version_directive ||
	    start.data.document_start.tag_directives.start !=
		    start.data.document_start.tag_directives.end)
		return fail(source, start.start_mark, "directives (%YAML, %TAG) are not allowed");
	TRY(next_event(source, &first));
	return read_value(source, &first, 0, root);
}

static int read_stream(struct source *source, struct yaml_value *root)
{
	cleanup_with(event_clear) yaml_event_t stream_start = { 0 };
	cleanup_with(event_clear) yaml_event_t document_end = { 0 };
	cleanup_with(event_clear) yaml_event_t stream_end = { 0 };

	TRY(next_event(source, &stream_start));
	TRY(read_document(source, root));
	TRY(next_event(source, &document_end));
	TRY(next_event(source, &stream_end));
	if (stream_end.type != YAML_STREAM_END_EVENT)
		return fail(source, stream_end.start_mark,
			    "a second document begins here; only one is allowed");
	return 0;
}

/* YAML ends a line, and so a comment, also at a lone CR, at NEL, LS and PS, which no editor or pager does:
 * what stands behind one would be read as a comment and count as a key. */
static int refuse_odd_breaks(struct source *source)
{
	static const struct {
		const char *bytes, *sentence;
	} breaks[] = {
		{ "\r", "a carriage return (\\r) that no line feed follows, which would end the "
			"line unseen; take it out" },
		{ "\xc2\x85",
		  "a next line character (U+0085), which would end the line unseen; take "
		  "it out" },
		{ "\xe2\x80\xa8",
		  "a line separator (U+2028), which would end the line unseen; take "
		  "it out" },
		{ "\xe2\x80\xa9",
		  "a paragraph separator (U+2029), which would end the line unseen; "
		  "take it out" },
	};

	for (size_t at = 0; at < source->len; at++) {
		const char *text = source->text + at;
		size_t left = source->len - at;

		if (left >= 2 && memcmp(text, "\r\n", 2) == 0)
			continue;
		for (size_t i = 0; i < sizeof(breaks) / sizeof(breaks[0]); i++) {
			size_t len = strlen(breaks[i].bytes);

			if (len <= left && memcmp(text, breaks[i].bytes, len) == 0)
				return fail(source, mark_of_offset(source, at), breaks[i].sentence);
		}
	}
	return 0;
}

int yaml_value_read(struct yaml_value *ret_root, const char *name, const char *text, size_t len,
		    struct err *err)
{
	/* Editors of another system begin a file with a byte order mark; to libyaml it is a column of the first
	 * line, which indents that. */
	const size_t mark = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
	cleanup_with(source_clear) struct source source = {
		.name = name, .text = text + mark, .len = len - mark, .err = err
	};
	cleanup_with(yaml_value_clear) struct yaml_value root = { 0 };

	if (len > YAML_TEXT_BYTES)
		return err_set(err, EFBIG, "%s: larger than 1 MiB", name);
	TRY(refuse_odd_breaks(&source));
	if (!yaml_parser_initialize(&source.parser))
		return err_sys(err, ENOMEM, "%s", name);
	/* Said, not guessed: a byte order mark could otherwise make the same bytes UTF-16. */
	yaml_parser_set_encoding(&source.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&source.parser, (const unsigned char *)source.text,
				     source.len);
	TRY(read_stream(&source, &root));
	*ret_root = root;
	root = (struct yaml_value){ 0 };
	return 0;
}

void yaml_value_clear(struct yaml_value *value)
{
	for (size_t i = 0; i < value->count; i++)
		yaml_value_clear(&value->items[i]);
	free(value->items);
	free(value->key);
	free(value->text);
	*value = (struct yaml_value){ 0 };
}

const struct yaml_value *yaml_value_find(const struct yaml_value *map, const char *key)
{
	for (size_t i = 0; i < map->count; i++)
		if (strcmp(map->items[i].key, key) == 0)
			return &map->items[i];
	return NULL;
}
