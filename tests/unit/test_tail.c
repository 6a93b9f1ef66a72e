/* SPDX-License-Identifier: Apache-2.0
 * runtime/tail.c: the last lines of what a proxy printed. */
#include <criterion/criterion.h>
#include <string.h>

#include "runtime/tail.h"

static struct tail tail;
static char text[4 * TAIL_BYTES];

static const char *shown(void)
{
	tail_text(&tail, text, sizeof(text));
	return text;
}

static void print(const char *bytes)
{
	tail_append(&tail, bytes, strlen(bytes));
}

Test(tail, nothing_is_nothing)
{
	cr_assert_str_empty(shown());
	print("\n\n");
	cr_assert_str_empty(shown());
}

Test(tail, the_last_three_lines_are_shown)
{
	print("one\ntwo\n");
	print("three\nfo");
	print("ur\n");
	cr_assert_null(strstr(shown(), "one"));
	cr_assert_eq(strstr(text, "two"), text);
	cr_assert_not_null(strstr(text, "three"));
	cr_assert_not_null(strstr(text, "four"));
}

Test(tail, a_long_line_is_cut_at_its_front)
{
	static char line[3 * TAIL_BYTES];

	memset(line, 'a', sizeof(line));
	line[sizeof(line) - 1] = 'z';
	tail_append(&tail, line, sizeof(line));
	cr_assert_eq(tail.len, (size_t)TAIL_BYTES);
	cr_assert_eq(strlen(shown()), 600u);
	cr_assert_eq(text[599], 'z');
	print("!");
	cr_assert_eq(tail.len, (size_t)TAIL_BYTES);
	cr_assert_eq(shown()[599], '!');
}

Test(tail, what_would_draw_on_a_terminal_is_escaped)
{
	print("\033[31mred\n");
	cr_assert_null(strchr(shown(), '\033'));
	cr_assert_not_null(strstr(text, "red"));
}
