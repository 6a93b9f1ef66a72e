/* SPDX-License-Identifier: Apache-2.0
 * runtime/options.c: the words after `bottle run`. */
#include "runtime/options.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <string.h>

static struct run_options options;
static struct err err;

/* The options borrow from argv, which an ARGV inside an assertion would not outlive. */
static int parse(char **argv)
{
	static char *words[16];
	int argc = 0;

	while (argv[argc]) {
		cr_assert_lt(argc, 15);
		words[argc] = argv[argc];
		argc++;
	}
	words[argc] = NULL;
	return run_options_parse(argc, words, &options, &err);
}

static void clear(void)
{
	run_options_clear(&options);
	memset(&options, 0, sizeof(options));
}

TestSuite(options, .fini = clear);

#define ARGV(...) ((char *[]){ "run", __VA_ARGS__, NULL })

Test(options, the_command_begins_at_the_first_word_that_is_no_option)
{
	cr_assert_eq(parse(ARGV("--allow", "a.test", "curl", "--json", "-f", "x")), 0);
	cr_assert_eq(options.allow.len, 1);
	cr_assert(!options.json && !options.file);
	cr_assert_str_eq(options.command[0], "curl");
	cr_assert_str_eq(options.command[3], "x");
}

Test(options, two_dashes_end_the_options)
{
	cr_assert_eq(parse(ARGV("-f", "m.yaml", "--", "--weird")), 0);
	cr_assert_str_eq(options.file, "m.yaml");
	cr_assert_str_eq(options.command[0], "--weird");
}

Test(options, lists_keep_their_order)
{
	cr_assert_eq(parse(ARGV("--env", "A=1", "--env=B=2", "x")), 0);
	cr_assert_str_eq(options.env.items[0], "A=1");
	cr_assert_str_eq(options.env.items[1], "B=2");
}

Test(options, stdin_is_left_by_either_name)
{
	cr_assert_eq(parse(ARGV("-n", "cat", "-n")), 0);
	cr_assert(options.no_stdin);
	cr_assert_str_eq(options.command[1], "-n");
	clear();
	cr_assert_eq(parse(ARGV("--no-stdin", "cat")), 0);
	cr_assert(options.no_stdin);
	clear();
	cr_assert_eq(parse(ARGV("cat", "-n")), 0);
	cr_assert_not(options.no_stdin);
}

struct bad {
	char words[3][32];
	char sentence[96];
};

ParameterizedTestParameters(options, refused)
{
	static struct bad table[] = {
		{ { "--alow", "x" }, "--alow: unknown option (did you mean --allow?)" },
		{ { "--zzzzzzzz" }, "--zzzzzzzz: unknown option; 'bottle help run' lists them" },
		{ { "-qzx", "--", "x" }, "-z: unknown option; 'bottle help run' lists them" },
		{ { "-z" }, "-z: unknown option; 'bottle help run' lists them" },
		{ { "--quiet=1" }, "--quiet=1: unknown option (did you mean --quiet?)" },
		{ { "--workdir=" }, "--workdir: is empty; an unset variable?" },
		{ { "--file=", "x" }, "--file: is empty; an unset variable?" },
		{ { "--read-only=", "x" }, "--read-only: is empty; an unset variable?" },
		{ { "--allow" }, "--allow: needs an argument" },
		{ { "--ca-key", "dsa" }, "--ca-key dsa: unknown key type; use p256 or rsa2048" },
		{ { "--json", "x" }, "--json: only with --dry-run" },
	};

	return cr_make_param_array(struct bad, table, sizeof(table) / sizeof(table[0]));
}

ParameterizedTest(struct bad *bad, options, refused)
{
	char *argv[5] = { "run" };

	for (size_t i = 0; i < 3 && bad->words[i][0]; i++)
		argv[i + 1] = bad->words[i];
	cr_assert_lt(parse(argv), 0);
	cr_assert_str_eq(err.text, bad->sentence);
}

Test(options, no_manifest_is_read_from_standard_input)
{
	cr_assert_lt(parse(ARGV("-f", "-", "true")), 0);
	cr_assert_not_null(strstr(err.text, "no manifest is read from it"), "%s", err.text);
}

Test(options, routes_behind_the_command_are_found)
{
	cr_assert_eq(parse(ARGV("true", "--allow", "a.test")), 0);
	cr_assert_str_eq(run_options_misplaced(&options), "--allow");
	cr_assert_eq(parse(ARGV("true", "x", "--file=m.yaml")), 0);
	cr_assert_str_eq(run_options_misplaced(&options), "--file");
	cr_assert_eq(parse(ARGV("--", "true", "--allow", "a.test")), 0);
	cr_assert_null(run_options_misplaced(&options));
	cr_assert_eq(parse(ARGV("true", "--allowed", "--", "-f")), 0);
	cr_assert_null(run_options_misplaced(&options));
	cr_assert_eq(parse(ARGV("--quiet")), 0);
	cr_assert_null(run_options_misplaced(&options));
}

Test(options, help_names_every_option)
{
	struct buf text = { 0 };

	run_options_help(&text);
#define X(id, name, letter, argument, help) \
	cr_assert_not_null(strstr(text.data, "--" name), "--" name);
	RUN_OPTIONS(X)
#undef X
	buf_clear(&text);
}
