/* SPDX-License-Identifier: Apache-2.0
 * Calls of Docker's CLI; see docker_cli.h. Runs in: launcher of the Docker backend.
 *
 * The end of a call is the end of the process (SIGCHLD on the pipe of docker_signals.h), not the end of
 * its output: a program that it started in the background may keep that open. */
#include "runtime/docker_cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "runtime/docker_cli_env.h"
#include "runtime/docker_signals.h"

enum { OUT_MAX_BYTES = 16 << 20, SAID_MAX_BYTES = 4096, SHOWN_BYTES = 700 };

extern char **environ;

static int signalled;

const char *docker_cli_name(void)
{
	const char *name = getenv("BOTTLE_DOCKER");

	return name && *name ? name : "docker";
}

int docker_cli_signalled(void)
{
	int number = signalled;

	signalled = 0;
	return number;
}

void docker_cli_note_signal(int number)
{
	if (!signalled)
		signalled = number;
}

/* ---- the process ---- */

struct spawn {
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
};

static void spawn_clear(struct spawn *spawn)
{
	posix_spawn_file_actions_destroy(&spawn->actions);
	posix_spawnattr_destroy(&spawn->attr);
}

/* Nothing of our own handling of signals is inherited; a group of its own keeps the terminal's ^C from a
 * call that is to be finished. */
static int spawn_init(struct spawn *spawn, bool own_group)
{
	short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
	sigset_t defaults, none;

	sigemptyset(&none);
	docker_signals_defaults(&defaults);
	posix_spawn_file_actions_init(&spawn->actions);
	posix_spawnattr_init(&spawn->attr);
	posix_spawnattr_setsigmask(&spawn->attr, &none);
	posix_spawnattr_setsigdefault(&spawn->attr, &defaults);
	if (own_group)
		posix_spawnattr_setpgroup(&spawn->attr, 0);
	return -posix_spawnattr_setflags(
		&spawn->attr, own_group ? (short)(flags | POSIX_SPAWN_SETPGROUP) : flags);
}

/* fds[i] becomes descriptor i; -1: /dev/null; i itself: stays. */
static int wire(struct spawn *spawn, const int fds[static 3])
{
	for (int i = 0; i < 3; i++) {
		int rc = 0;

		if (fds[i] < 0)
			rc = posix_spawn_file_actions_addopen(&spawn->actions, i, "/dev/null",
							      i ? O_WRONLY : O_RDONLY, 0);
		else if (fds[i] != i)
			rc = posix_spawn_file_actions_adddup2(&spawn->actions, fds[i], i);
		if (rc)
			return -rc;
	}
	return 0;
}

static char **join_env(const char *const *extra)
{
	size_t own = 0, added = 0, len = 0;
	char **joined;

	while (environ && environ[own])
		own++;
	while (extra && extra[added])
		added++;
	joined = calloc(own + added + 1, sizeof(*joined));
	if (!joined)
		return NULL;
	/* Of two with one name Go takes the first. */
	for (size_t i = 0; i < added; i++)
		joined[len++] = (char *)(uintptr_t)extra[i];
	for (size_t i = 0; i < own; i++)
		if (docker_cli_env_is_given(environ[i]))
			joined[len++] = environ[i];
	return joined;
}

static char **join_argv(const struct strlist *words)
{
	char **argv = calloc(words->len + 2, sizeof(*argv));

	if (!argv)
		return NULL;
	argv[0] = (char *)(uintptr_t)docker_cli_name();
	if (words->len)
		memcpy(argv + 1, words->items, words->len * sizeof(*argv));
	return argv;
}

static int start(const char *step, const struct strlist *words, const char *const *extra_env,
		 const int fds[static 3], bool own_group, pid_t *ret_pid, struct err *err)
{
	cleanup_free char **argv = join_argv(words);
	cleanup_free char **env = join_env(extra_env);
	cleanup_with(spawn_clear) struct spawn spawn;
	int rc = spawn_init(&spawn, own_group);

	if (!argv || !env)
		return err_sys(err, ENOMEM, "%s", step);
	if (rc == 0)
		rc = wire(&spawn, fds);
	if (rc == 0)
		rc = -posix_spawnp(ret_pid, argv[0], &spawn.actions, &spawn.attr, argv, env);
	if (rc == -ENOENT)
		return err_set(err, ENOENT,
			       "%s: '%s' is not installed, or not on PATH (BOTTLE_DOCKER names "
			       "another CLI)",
			       step, argv[0]);
	return rc < 0 ? err_sys(err, -rc, "%s: start %s", step, argv[0]) : 0;
}

/* ---- one call ---- */

struct running {
	const struct docker_call *call;
	pid_t pid;
	int in_fd, out_fd, err_fd;
	size_t sent;
	struct buf said;
	bool ended, out_too_long;
	int status;
};

static void running_clear(struct running *r)
{
	if (!r->ended && r->pid > 0) {
		kill(-r->pid, SIGKILL);
		while (waitpid(r->pid, NULL, 0) < 0 && errno == EINTR)
			continue;
	}
	fd_close(&r->in_fd);
	fd_close(&r->out_fd);
	fd_close(&r->err_fd);
	buf_clear(&r->said);
}

static int nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

static int open_pipes(struct running *r, int ret_theirs[static 3], struct err *err)
{
	int pipes[3][2] = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
	int rc = 0;

	for (int i = r->call->input ? 0 : 1; i < 3 && rc == 0; i++)
		rc = fd_pipe(pipes[i]);
	ret_theirs[0] = pipes[0][0];
	ret_theirs[1] = pipes[1][1];
	ret_theirs[2] = pipes[2][1];
	r->in_fd = pipes[0][1];
	r->out_fd = pipes[1][0];
	r->err_fd = pipes[2][0];
	if (rc == 0 && r->in_fd >= 0)
		rc = nonblocking(r->in_fd);
	if (rc == 0)
		rc = nonblocking(r->out_fd);
	if (rc == 0)
		rc = nonblocking(r->err_fd);
	return rc < 0 ? err_sys(err, -rc, "%s: pipes", r->call->step) : 0;
}

static void feed(struct running *r)
{
	if (docker_tar_send(r->call->input, &r->sent, r->in_fd) != 0)
		fd_close(
			&r->in_fd); /* all of it, or it does not want the rest: its status says why */
}

/* Reads what is there; past `max` it is read and dropped, so that the writer goes on. */
static bool take(int *fd, struct buf *buf, size_t max)
{
	char bytes[16384];
	bool fits = true;

	for (;;) {
		ssize_t n = read(*fd, bytes, sizeof(bytes));

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return fits;
		if (n <= 0) {
			fd_close(fd);
			return fits;
		}
		if (!buf)
			continue;
		if (buf->len + (size_t)n > max)
			fits = false;
		else
			buf_append(buf, bytes, (size_t)n);
	}
}

static bool has_ended(struct running *r)
{
	if (!r->ended && waitpid(r->pid, &r->status, WNOHANG) == r->pid)
		r->ended = true;
	return r->ended;
}

static void on_signals(void)
{
	for (struct docker_signal s = docker_signals_take(); s.number; s = docker_signals_take())
		if (s.number != SIGUSR1 && s.number != SIGUSR2)
			docker_cli_note_signal(s.number);
}

static void serve(struct running *r, int wait_ms)
{
	struct pollfd fds[] = { { .fd = docker_signals_fd(), .events = POLLIN },
				{ .fd = r->in_fd, .events = POLLOUT },
				{ .fd = r->out_fd, .events = POLLIN },
				{ .fd = r->err_fd, .events = POLLIN } };

	if (poll(fds, sizeof(fds) / sizeof(fds[0]), wait_ms) <= 0)
		return;
	if (fds[0].revents)
		on_signals();
	if (fds[1].revents)
		feed(r);
	if (fds[2].revents && !take(&r->out_fd, r->call->ret_out, OUT_MAX_BYTES))
		r->out_too_long = true;
	if (fds[3].revents)
		(void)!take(&r->err_fd, &r->said, SAID_MAX_BYTES);
}

static int run_to_end(struct running *r, struct err *err)
{
	int timeout_ms = r->call->timeout_ms ? r->call->timeout_ms : DOCKER_CALL_MS;
	int64_t deadline = clock_now_ms() + timeout_ms;

	while (!has_ended(r)) {
		int left = clock_left_ms(deadline);

		if (!left)
			return err_set(err, ETIMEDOUT, "%s: %s %s gave no answer within %d s",
				       r->call->step, docker_cli_name(), r->call->argv->items[0],
				       timeout_ms / 1000);
		if (signalled && r->call->ends_on_signal)
			return err_set(err, EINTR, "%s: ended by signal %d", r->call->step,
				       signalled);
		serve(r, left);
	}
	/* What it wrote before its end is in the pipes. */
	if (r->out_fd >= 0 && !take(&r->out_fd, r->call->ret_out, OUT_MAX_BYTES))
		r->out_too_long = true;
	if (r->err_fd >= 0)
		(void)!take(&r->err_fd, &r->said, SAID_MAX_BYTES);
	return 0;
}

static int failed(const struct running *r, struct err *err)
{
	char said[SHOWN_BYTES], how[48];
	size_t len = r->said.len;

	while (len && (r->said.data[len - 1] == '\n' || r->said.data[len - 1] == ' '))
		len--;
	if (WIFSIGNALED(r->status))
		snprintf(how, sizeof(how), "ended by signal %d", WTERMSIG(r->status));
	else
		snprintf(how, sizeof(how), "status %d", WEXITSTATUS(r->status));
	return err_set(err, EREMOTEIO, "%s: %s %s%s%s: %s%s%s", r->call->step, docker_cli_name(),
		       r->call->argv->items[0], r->call->argv->len > 1 ? " " : "",
		       r->call->argv->len > 1 ? r->call->argv->items[1] : "", how, len ? ": " : "",
		       len ? str_escape(said, sizeof(said), r->said.data, len) : "");
}

/* "WARNING: …" lines of its standard error. */
static int keep_warnings(const struct running *r, struct err *err)
{
	char shown[SHOWN_BYTES];
	char *save = NULL;

	for (char *line = r->said.data && r->call->warnings ? strtok_r(r->said.data, "\n", &save)
							    : NULL;
	     line; line = strtok_r(NULL, "\n", &save))
		if (str_starts(line, "WARNING") &&
		    strlist_addf(r->call->warnings, "%s: %s", r->call->step,
				 str_escape(shown, sizeof(shown), line, strlen(line))) < 0)
			return err_sys(err, ENOMEM, "%s", r->call->step);
	return 0;
}

int docker_call(const struct docker_call *call, struct err *err)
{
	cleanup_with(running_clear) struct running r = {
		.call = call, .pid = -1, .in_fd = -1, .out_fd = -1, .err_fd = -1
	};
	int theirs[3] = { -1, -1, -1 };
	int rc = docker_signals_init(err);

	if (rc == 0)
		rc = open_pipes(&r, theirs, err);
	if (rc == 0)
		rc = start(call->step, call->argv, call->env, theirs, true, &r.pid, err);
	for (int i = 0; i < 3; i++)
		fd_close(&theirs[i]);
	TRY(rc);
	TRY(run_to_end(&r, err));
	if (!WIFEXITED(r.status) || WEXITSTATUS(r.status) != 0)
		return failed(&r, err);
	if (r.out_too_long || (call->ret_out && call->ret_out->failed))
		return err_set(err, EFBIG, "%s: %s %s printed more than fits", call->step,
			       docker_cli_name(), call->argv->items[0]);
	return keep_warnings(&r, err);
}

int docker_call_words(const char *step, struct buf *ret_out, struct err *err,
		      const char *const *words)
{
	cleanup_with(strlist_clear) struct strlist argv = { 0 };

	for (; *words; words++)
		if (strlist_add(&argv, *words) < 0)
			return err_sys(err, ENOMEM, "%s", step);
	return docker_call(&(struct docker_call){ .step = step, .argv = &argv, .ret_out = ret_out },
			   err);
}

/* ---- a CLI that stays ---- */

void docker_attached_init(struct docker_attached *attached)
{
	*attached = (struct docker_attached){ .pid = -1, .in_fd = -1, .out_fd = -1, .err_fd = -1 };
}

static int attach_with_pipes(const char *step, const struct strlist *argv,
			     struct docker_attached *a, struct err *err)
{
	static const struct docker_tar none;
	const struct docker_call call = { .step = step, .argv = argv, .input = &none };
	cleanup_with(running_clear) struct running r = {
		.call = &call, .pid = -1, .in_fd = -1, .out_fd = -1, .err_fd = -1
	};
	int theirs[3] = { -1, -1, -1 };
	int rc = open_pipes(&r, theirs, err);

	if (rc == 0)
		rc = start(step, argv, NULL, theirs, true, &a->pid, err);
	for (int i = 0; i < 3; i++)
		fd_close(&theirs[i]);
	TRY(rc);
	a->in_fd = take_fd(&r.in_fd);
	a->out_fd = take_fd(&r.out_fd);
	a->err_fd = take_fd(&r.err_fd);
	return 0;
}

int docker_attach(const char *step, const struct strlist *argv, enum docker_streams streams,
		  bool no_stdin, struct docker_attached *ret_attached, struct err *err)
{
	const int own[3] = { no_stdin ? -1 : 0, 1, 2 };

	docker_attached_init(ret_attached);
	if (streams == DOCKER_PIPES)
		return attach_with_pipes(step, argv, ret_attached, err);
	return start(step, argv, NULL, own, false, &ret_attached->pid, err);
}

bool docker_attached_ended(struct docker_attached *a)
{
	if (a->pid > 0 && waitpid(a->pid, &a->status, WNOHANG) == a->pid)
		a->pid = -1;
	return a->pid < 0;
}

void docker_attached_clear(struct docker_attached *a)
{
	if (a->pid > 0) {
		kill(a->pid, SIGKILL);
		while (waitpid(a->pid, &a->status, 0) < 0 && errno == EINTR)
			continue;
	}
	fd_close(&a->in_fd);
	fd_close(&a->out_fd);
	fd_close(&a->err_fd);
	docker_attached_init(a);
}
