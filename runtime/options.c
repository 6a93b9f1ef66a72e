/* SPDX-License-Identifier: Apache-2.0
 * The options of `bottle run`; see options.h. Runs in: launcher, before anything has changed. */
#include "runtime/options.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

static const struct option_entry {
	const char *name;
	char letter;
	const char *argument;
	const char *help;
} option_table[] = {
#define X(id, name, letter, argument, help) [RUN_OPT_##id] = { name, letter, argument, help },
	RUN_OPTIONS(X)
#undef X
};
_Static_assert(sizeof(option_table) / sizeof(option_table[0]) == RUN_OPT_COUNT,
	       "one entry per option");

enum { OPTION_BASE = 1000 }; /* getopt_long's values, clear of every letter */

/* Where an argument goes that is taken as it is. */
static const char **text_of(struct run_options *o, enum run_option which)
{
	switch (which) {
	case RUN_OPT_FILE:
		return &o->file;
	case RUN_OPT_NAME:
		return &o->name;
	case RUN_OPT_WORKDIR:
		return &o->workdir;
	case RUN_OPT_BACKEND:
		return &o->backend;
	case RUN_OPT_AGENT_IMAGE:
		return &o->agent_image;
	case RUN_OPT_IDMAP:
		return &o->idmap;
	default:
		return NULL;
	}
}

static struct strlist *list_of(struct run_options *o, enum run_option which)
{
	switch (which) {
	case RUN_OPT_ALLOW:
		return &o->allow;
	case RUN_OPT_AUTH:
		return &o->auth;
	case RUN_OPT_ENV:
		return &o->env;
	case RUN_OPT_PASS_ENV:
		return &o->pass_env;
	case RUN_OPT_READ_ONLY:
		return &o->read_only;
	case RUN_OPT_READ_WRITE:
		return &o->read_write;
	default:
		return NULL;
	}
}

static bool *flag_of(struct run_options *o, enum run_option which)
{
	switch (which) {
	case RUN_OPT_NO_STDIN:
		return &o->no_stdin;
	case RUN_OPT_DRY_RUN:
		return &o->dry_run;
	case RUN_OPT_JSON:
		return &o->json;
	case RUN_OPT_FAIL_ON_DENIED:
		return &o->fail_on_denied;
	case RUN_OPT_TIMINGS:
		return &o->timings;
	case RUN_OPT_QUIET:
		return &o->quiet;
	case RUN_OPT_HELP:
		return &o->help;
	default:
		return NULL;
	}
}

/* Of the current folder "" would mean another than the one that was meant. */
static bool is_path(enum run_option which)
{
	return which == RUN_OPT_FILE || which == RUN_OPT_WORKDIR || which == RUN_OPT_READ_ONLY ||
	       which == RUN_OPT_READ_WRITE;
}

static int take_ca_key(struct run_options *o, const char *value, struct err *err)
{
	o->ca_rsa = strcmp(value, "rsa2048") == 0;
	if (o->ca_rsa || strcmp(value, "p256") == 0)
		return 0;
	return err_set(err, EINVAL, "--ca-key %s: unknown key type; use p256 or rsa2048", value);
}

static int take(struct run_options *o, enum run_option which, char *value, struct err *err)
{
	const char **text = text_of(o, which);
	struct strlist *list = list_of(o, which);
	bool *flag = flag_of(o, which);

	if (is_path(which) && !*value)
		return err_set(err, EINVAL, "--%s: is empty; an unset variable?",
			       option_table[which].name);
	if (which == RUN_OPT_FILE && strcmp(value, "-") == 0)
		return err_set(err, EINVAL,
			       "--file -: standard input is the command's, and no manifest is read "
			       "from it; -f <(COMMAND) takes a pipe, -f ./- a file of that name");
	if (text)
		*text = value;
	else if (flag)
		*flag = true;
	else if (list)
		return strlist_add(list, value);
	else
		return which == RUN_OPT_CA_KEY ? take_ca_key(o, value, err) : -EINVAL;
	return 0;
}

static int unknown_option(const char *word, struct err *err)
{
	const char *names[RUN_OPT_COUNT + 1] = { NULL };
	const char *nearest;

	for (size_t i = 0; i < RUN_OPT_COUNT; i++)
		names[i] = option_table[i].name;
	nearest = str_starts(word, "--") ? str_nearest(word + 2, names) : NULL;
	if (nearest)
		return err_set(err, EINVAL, "%s: unknown option (did you mean --%s?)", word,
			       nearest);
	return err_set(err, EINVAL, "%s: unknown option; 'bottle help run' lists them", word);
}

static enum run_option option_of(int value)
{
	for (size_t i = 0; i < RUN_OPT_COUNT; i++)
		if (value == OPTION_BASE + (int)i || value == option_table[i].letter)
			return (enum run_option)i;
	return RUN_OPT_COUNT;
}

/* What getopt did not know. A letter may stand among others in one word, which argv[optind - 1] is not yet. */
static int unknown_of(int letter, char **argv, struct err *err)
{
	const char word[] = { '-', (char)letter, '\0' };
	char shown[16];

	if (!letter ||
	    letter >= OPTION_BASE) /* a long one; known, but given a value that it does not take */
		return unknown_option(argv[optind - 1], err);
	return unknown_option(str_escape(shown, sizeof(shown), word, 2), err);
}

int run_options_parse(int argc, char **argv, struct run_options *ret_options, struct err *err)
{
	struct option longs[RUN_OPT_COUNT + 1] = { { 0 } };
	int value;

	for (int i = 0; i < RUN_OPT_COUNT; i++)
		longs[i] = (struct option){ option_table[i].name,
					    option_table[i].argument ? required_argument
								     : no_argument,
					    NULL, OPTION_BASE + i };
	optind = 1;
	optopt = 0;
	while ((value = getopt_long(argc, argv, "+:f:nqh", longs, NULL)) >= 0) {
		if (value == ':')
			return err_set(err, EINVAL, "%s: needs an argument", argv[optind - 1]);
		if (value == '?')
			return unknown_of(optopt, argv, err);
		TRY(take(ret_options, option_of(value), optarg, err));
	}
	if (ret_options->json && !ret_options->dry_run)
		return err_set(err, EINVAL, "--json: only with --dry-run");
	ret_options->command = argv + optind;
	return 0;
}

const char *run_options_misplaced(const struct run_options *options)
{
	static const char *const whole[] = { "--allow", "--file", "-f" };

	/* Behind "--" it is the command's, as was said. */
	if (!options->command[0] || strcmp(options->command[-1], "--") == 0)
		return NULL;
	for (char **word = options->command + 1; *word && strcmp(*word, "--") != 0; word++)
		for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
			size_t len = strlen(whole[i]);

			if (strncmp(*word, whole[i], len) == 0 &&
			    (!(*word)[len] || (len > 2 && (*word)[len] == '=')))
				return whole[i];
		}
	return NULL;
}

void run_options_clear(struct run_options *options)
{
	strlist_clear(&options->allow);
	strlist_clear(&options->auth);
	strlist_clear(&options->env);
	strlist_clear(&options->pass_env);
	strlist_clear(&options->read_only);
	strlist_clear(&options->read_write);
}

void run_options_help(struct buf *ret_text)
{
	buf_puts(ret_text,
		 "usage: bottle run [OPTION]... [--] COMMAND [ARGUMENT]...\n\n"
		 "Runs COMMAND in a bottle: it reaches what its routes allow, and nothing else.\n"
		 "Without -f and --allow: ./bottle.yaml if 'bottle trust' accepted it, else\n"
		 "~/.config/bottle/bottle.yaml.\n\n");
	for (size_t i = 0; i < RUN_OPT_COUNT; i++) {
		const struct option_entry *o = &option_table[i];
		struct buf left = { 0 };

		if (o->letter)
			buf_printf(&left, "-%c, ", o->letter);
		buf_printf(&left, "--%s%s%s", o->name, o->argument ? " " : "",
			   o->argument ? o->argument : "");
		buf_printf(ret_text, "  %-34s %s\n", left.data ? left.data : "", o->help);
		buf_clear(&left);
	}
	buf_puts(ret_text,
		 "\nExit status: the command's own; 128+n when a signal ended it; 127 not found;\n"
		 "126 not executable; 125 bottle itself failed; 123 with --fail-on-denied.\n");
}
