/* SPDX-License-Identifier: Apache-2.0
 * The table of subcommands. Runs in: launcher. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "runtime/cmd_doctor.h"
#include "runtime/cmd_image.h"
#include "runtime/commands.h"
#include "runtime/options.h"
#include "runtime/state.h"
#include "runtime/stdio.h"
#include "runtime/title.h"

#define BOTTLE_VERSION "0.1.0"

static int cmd_version(int argc, char **argv);
static int cmd_help(int argc, char **argv);

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *usage;
	const char *help;
	bool helps_itself; /* knows --help, and has more to say */
} commands[] = {
	{ "run", cmd_run, "run [OPTION]... [--] COMMAND...", "run a command in a bottle", true },
	{ "trust", cmd_trust, "trust [FILE]", "show a manifest and accept it as it is", false },
	{ "stop", cmd_stop, "stop NAME", "end the bottles of that name, and what is left of them",
	  false },
	{ "prune", cmd_prune, "prune", "remove what killed bottles left", false },
#ifndef BOTTLE_DOCKER_ONLY /* Docker has its own store, and asks nothing of the host */
	{ "image", cmd_image, "image import|list|remove", "proxy images", true },
	{ "doctor", cmd_doctor, "doctor [--json]", "what this host can do, tried", false },
#endif
	{ "version", cmd_version, "version", "print the version", false },
	{ "help", cmd_help, "help [COMMAND]", "print this help, or a command's", false },
};
enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static bool asks_for_help(const char *word)
{
	return word && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0);
}

static int cmd_version(int argc, char **argv)
{
	(void)argv;
	if (argc > 1) {
		log_error("usage: bottle version");
		return EXIT_BOTTLE_FAILED;
	}
	printf("bottle %s\n", BOTTLE_VERSION);
	return 0;
}

static void usage(FILE *out)
{
	fputs("usage: bottle COMMAND ...\n\n", out);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(out, "  %-34s %s\n", commands[i].usage, commands[i].help);
	fputs("\nbottle(1) and bottle.yaml(5) have the rest.\n", out);
}

static int unknown_command(const char *word)
{
	const char *names[COMMAND_COUNT + 1] = { NULL };
	const char *nearest;

	for (size_t i = 0; i < COMMAND_COUNT; i++)
		names[i] = commands[i].name;
	nearest = str_nearest(word, names);
	if (nearest)
		log_error("%s: unknown command (did you mean '%s'?)", word, nearest);
	else
		log_error("%s: unknown command; 'bottle help' lists them", word);
	return EXIT_BOTTLE_FAILED;
}

static int cmd_help(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "run") == 0) {
		struct buf text = { 0 };

		run_options_help(&text);
		fputs(text.data ? text.data : "", stdout);
		buf_clear(&text);
		return 0;
	}
	for (size_t i = 0; argc > 1 && i < COMMAND_COUNT; i++)
		if (strcmp(argv[1], commands[i].name) == 0) {
			printf("usage: bottle %s\n\n%s\n", commands[i].usage, commands[i].help);
			return 0;
		}
	if (argc > 1)
		return unknown_command(argv[1]);
	usage(stdout);
	return 0;
}

static int answer(int argc, char **argv)
{
	if (asks_for_help(argv[1]))
		return cmd_help(1, argv + 1);
	if (strcmp(argv[1], "--version") == 0)
		return cmd_version(argc - 1, argv + 1);
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		if (!commands[i].helps_itself && asks_for_help(argv[2]))
			return cmd_help(2, argv);
		return commands[i].run(argc - 1, argv + 1);
	}
	return unknown_command(argv[1]);
}

/* Who reads what was printed would be misled by a part of it. */
static int close_stdout(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	log_error("stdout: not all of it could be written");
	return EXIT_BOTTLE_FAILED;
}

int main(int argc, char **argv)
{
	struct err err;

#ifndef BOTTLE_DOCKER_ONLY
	title_remember(argc, argv);
#endif
	signal(SIGCHLD,
	       SIG_DFL); /* a caller that ignores it would have our children reaped unseen */
	/* A limit on the size of files is to be an error like a full disk, which is said: an agent can make the
	 * audit log reach it, and would have the launcher die without a word. */
	signal(SIGXFSZ, SIG_IGN);
	state_set_umask();
	if (stdio_fill_closed(&err) < 0)
		return EXIT_BOTTLE_FAILED; /* there is nowhere to say it */
	/* Whatever the caller left open must not reach anything that is forked from here. */
	if (fd_all_cloexec() < 0) {
		log_error("close_range: this kernel is older than 5.15, which bottle needs");
		return EXIT_BOTTLE_FAILED;
	}
	if (argc < 2) {
		usage(stderr);
		return EXIT_BOTTLE_FAILED;
	}
	return close_stdout(answer(argc, argv));
}
