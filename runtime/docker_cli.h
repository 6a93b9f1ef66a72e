/* SPDX-License-Identifier: Apache-2.0
 *
 * The one way to Docker: its CLI, by posix_spawn(3) with an argument list, never through a shell. Every
 * call has a time limit; what the CLI wrote to stderr is in the error, with the name of the step.
 *
 * A secret goes to the CLI in one of two ways: on its standard input, or in its environment, which holds
 * the strings of `env` besides ours. posix_spawn does not copy our memory, so they stay where they are:
 * in the locked mapping.
 *
 * Runs in: the launcher of the Docker backend, `bottle stop` and `bottle prune`.
 */
#ifndef RUNTIME_DOCKER_CLI_H
#define RUNTIME_DOCKER_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"
#include "runtime/docker_tar.h"

enum {
	DOCKER_CALL_MS = 60 * 1000,	/* what takes the daemon an instant, on a busy machine */
	DOCKER_LONG_MS = 20 * 60 * 1000 /* what loads or builds an image */
};

struct docker_call {
	const char *step;		/* for the error */
	const struct strlist *argv;	/* without the CLI's own name */
	const char *const *env;		/* "NAME=value", NULL-terminated, or NULL */
	const struct docker_tar *input; /* its standard input; NULL: /dev/null */
	int timeout_ms;			/* 0: DOCKER_CALL_MS */
	bool ends_on_signal; /* a signal that asks for the end kills it: -EINTR. Only for what leaves
			      * nothing behind that the daemon could still be at */
	struct strlist *warnings; /* gets what it warned of though it succeeded (a limit that this
				   * kernel does not hold); NULL: dropped */
	struct buf *ret_out;	  /* appended: what it printed; NULL: dropped */
};

/* The CLI: $BOTTLE_DOCKER, else "docker". Borrowed. */
const char *docker_cli_name(void);

/* 0 when the CLI ended with 0. -EREMOTEIO with "step: docker …: what it said" when it did not;
 * -ETIMEDOUT, -ENOENT (no such program), -EINTR; else a system error. */
int docker_call(const struct docker_call *call, struct err *err) MUST_CHECK;

/* As docker_call, of words that are all there: for calls with a fixed shape. */
int docker_call_words(const char *step, struct buf *ret_out, struct err *err,
		      const char *const *words) MUST_CHECK;
#define DOCKER_CALL(step, ret_out, err, ...) \
	docker_call_words(step, ret_out, err, (const char *const[]){ __VA_ARGS__, NULL })

/* The signal that ended a docker_call with ends_on_signal, or that came meanwhile; 0: none. Given once. */
int docker_cli_signalled(void);
void docker_cli_note_signal(int number);

/* A CLI that stays: attached to a container. */
struct docker_attached {
	pid_t pid; /* -1: none, or reaped */
	int status;
	int in_fd, out_fd, err_fd; /* our ends, non-blocking but for in_fd; -1: none */
};

enum docker_streams { DOCKER_PIPES, DOCKER_CALLERS };

void docker_attached_init(struct docker_attached *attached);

/* Starts it with pipes, in a process group of its own; or with the caller's own streams in the caller's
 * group, so that the terminal is its own as well (stdin is /dev/null where `no_stdin`). */
int docker_attach(const char *step, const struct strlist *argv, enum docker_streams streams,
		  bool no_stdin, struct docker_attached *ret_attached, struct err *err) MUST_CHECK;

/* Reaps it if it has ended: true, now or before. */
bool docker_attached_ended(struct docker_attached *attached);

/* Kills what still runs, closes all. */
void docker_attached_clear(struct docker_attached *attached);

#endif
