/* SPDX-License-Identifier: Apache-2.0
 *
 * The options of `bottle run`: one table for the parser, the help, the completions' check and the
 * man page's check. X(long, letter, argument, help); argument NULL: a flag.
 */
#ifndef RUNTIME_OPTIONS_H
#define RUNTIME_OPTIONS_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

#define RUN_OPTIONS(X)                                                                          \
	X(FILE, "file", 'f', "FILE", "read this manifest")                                      \
	X(ALLOW, "allow", 0, "HOST[:PORT][/PATH]", "add a route")                               \
	X(AUTH, "auth", 0, "HOST=SCHEME:ENV_NAME", "put a credential in for this host")         \
	X(NAME, "name", 0, "NAME", "name of the bottle (its audit log stands under it)")        \
	X(WORKDIR, "workdir", 0, "DIR", "the work folder, read-write inside")                   \
	X(ENV, "env", 0, "NAME=VALUE", "set a variable inside")                                 \
	X(PASS_ENV, "pass-env", 0, "NAME", "pass a variable of the caller on")                  \
	X(READ_ONLY, "read-only", 0, "PATH", "show a host path inside, read-only")              \
	X(READ_WRITE, "read-write", 0, "PATH", "show a host path inside, read-write")           \
	X(NO_STDIN, "no-stdin", 'n', NULL, "the command's stdin is /dev/null")                  \
	X(BACKEND, "backend", 0, "auto|namespaces|docker", "what the bottle is made with")      \
	X(AGENT_IMAGE, "agent-image", 0, "IMAGE", "with Docker: the image the command runs in") \
	X(IDMAP, "idmap", 0, "auto|single|subid", "how user ids are mapped")                    \
	X(CA_KEY, "ca-key", 0, "p256|rsa2048", "key type of the bottle's CA")                   \
	X(DRY_RUN, "dry-run", 0, NULL, "print the plan, change nothing")                        \
	X(JSON, "json", 0, NULL, "with --dry-run: print it as JSON")                            \
	X(FAIL_ON_DENIED, "fail-on-denied", 0, NULL, "exit 123 when a request was refused")     \
	X(TIMINGS, "timings", 0, NULL, "print the phases' times as one JSON line on stderr")    \
	X(QUIET, "quiet", 'q', NULL,                                                            \
	  "only errors, and what the agent made that must be looked at")                        \
	X(HELP, "help", 'h', NULL, "print this help")

enum run_option {
#define X(id, name, letter, argument, help) RUN_OPT_##id,
	RUN_OPTIONS(X)
#undef X
		RUN_OPT_COUNT
};

struct run_options {
	const char *file;
	struct strlist allow;
	struct strlist auth;
	const char *name;
	const char *workdir;
	struct strlist env;
	struct strlist pass_env;
	struct strlist read_only;
	struct strlist read_write;
	bool no_stdin;
	const char *backend;
	const char *agent_image;
	const char *idmap;
	bool ca_rsa;
	bool dry_run;
	bool json;
	bool fail_on_denied;
	bool timings;
	bool quiet;
	bool help;
	char **command; /* borrowed from argv, NULL-terminated; may be empty */
};

/* Parses the words after `run`. Borrows from argv. */
int run_options_parse(int argc, char **argv, struct run_options *ret_options,
		      struct err *err) MUST_CHECK;
void run_options_clear(struct run_options *options);

/* An option behind the command that would have said which routes there are, or NULL: for a message where
 * none did. Comes after run_options_parse, while argv is there. */
const char *run_options_misplaced(const struct run_options *options);

/* The help text of `bottle run`. */
void run_options_help(struct buf *ret_text);

#endif
