/* SPDX-License-Identifier: Apache-2.0
 *
 * The event loop of a run in Docker: the proxy's attached streams, the signals, the ends of the two attached
 * CLIs. Runs in: the launcher of the Docker backend.
 *
 * On the proxy's standard output come the line READY=1 and its audit records, which begin with a brace;
 * everything else there, and all of its standard error, is its own talk: of that the end is kept.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "runtime/docker_run.h"
#include "runtime/docker_signals.h"

enum { GRACE_MS = 10000 };

/* ---- what the proxy says ---- */

static void take_err(struct docker_run *run, const char *bytes, size_t len)
{
	tail_append(&run->tail, bytes, len);
}

static void end_line(struct docker_run *run)
{
	static const char ready[] = "READY=1";

	if (run->line_is_passed_on || (run->line_len && run->line[0] == '{')) {
		audit_feed(&run->audit, AUDIT_PROXY, run->line, run->line_len);
		audit_feed(&run->audit, AUDIT_PROXY, "\n", 1);
	} else if (run->line_len == strlen(ready) && memcmp(run->line, ready, strlen(ready)) == 0) {
		run->proxy_ready = run->proxy_ready || run->plan->docker.proxy_image.knows_ready;
	} else {
		tail_append(&run->tail, run->line, run->line_len);
		tail_append(&run->tail, "\n", 1);
	}
	run->line_len = 0;
	run->line_is_passed_on = false;
}

/* A line that does not fit goes on to the audit log in pieces, which notes that it was too long. */
static void add_to_line(struct docker_run *run, const char *bytes, size_t len)
{
	while (len) {
		size_t room = sizeof(run->line) - run->line_len;
		size_t n = len < room ? len : room;

		memcpy(run->line + run->line_len, bytes, n);
		run->line_len += n;
		bytes += n;
		len -= n;
		if (run->line_len == sizeof(run->line)) {
			audit_feed(&run->audit, AUDIT_PROXY, run->line, run->line_len);
			run->line_is_passed_on = true;
			run->line_len = 0;
		}
	}
}

static void take_out(struct docker_run *run, const char *bytes, size_t len)
{
	const char *end = bytes + len;

	while (bytes < end) {
		const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
		const char *stop = newline ? newline : end;

		add_to_line(run, bytes, (size_t)(stop - bytes));
		if (newline)
			end_line(run);
		bytes = newline ? newline + 1 : end;
	}
}

/* Takes what is there; closes at the end. */
static void on_stream(struct docker_run *run, int *fd,
		      void (*take)(struct docker_run *, const char *, size_t))
{
	char bytes[16384];
	ssize_t n = read(*fd, bytes, sizeof(bytes));

	if (n > 0)
		take(run, bytes, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		fd_close(fd);
}

/* Standard input is closed when all of it is written: a key is sent once. */
static void send_secrets(struct docker_run *run)
{
	if (docker_tar_send(&run->tar, &run->tar_sent, run->proxy.in_fd) != 0)
		fd_close(&run->proxy.in_fd);
}

/* ---- signals ---- */

static bool asks_to_end(int number)
{
	return number == SIGTERM || number == SIGHUP || number == SIGQUIT;
}

static const char *signal_name(int number)
{
	static const struct {
		int number;
		const char *name;
	} names[] = { { SIGINT, "INT" },   { SIGTERM, "TERM" }, { SIGHUP, "HUP" },
		      { SIGQUIT, "QUIT" }, { SIGUSR1, "USR1" }, { SIGUSR2, "USR2" } };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].number == number)
			return names[i].name;
	return "TERM";
}

/* The agent gets every signal; one that asks it to end starts a clock, and a second one ends it at once.
 * What the terminal sent, the attached CLI has as well and hands on, unless the agent has a terminal. */
static void pass_on(struct docker_run *run, struct docker_signal s)
{
	struct err err;

	if (!s.from_terminal || run->plan->docker.is_tty)
		if (DOCKER_CALL("signal", NULL, &err, "kill", "--signal", signal_name(s.number),
				run->plan->docker.agent_name) < 0)
			(void)!strlist_add(&run->warnings, err.text);
	if (!asks_to_end(s.number))
		return;
	if (run->asked_by)
		run->signalled = s.number;
	else
		run->grace_end_ms = clock_now_ms() + GRACE_MS;
	run->asked_by = s.number;
}

static void on_signal(struct docker_run *run, struct docker_signal s)
{
	if (run->agent_started && !run->agent_ended)
		pass_on(run, s);
	else if (s.number != SIGUSR1 && s.number != SIGUSR2 &&
		 !run->ending) /* else: it ends as it did */
		run->signalled = s.number;
}

static void take_signals(struct docker_run *run)
{
	int during_a_call;

	for (struct docker_signal s = docker_signals_take(); s.number; s = docker_signals_take())
		on_signal(run, s);
	during_a_call = docker_cli_signalled();
	if (during_a_call)
		on_signal(run, (struct docker_signal){ .number = during_a_call });
}

/* ---- the loop ---- */

static void dispatch(struct docker_run *run, int wait_ms)
{
	struct pollfd fds[] = { { .fd = docker_signals_fd(), .events = POLLIN },
				{ .fd = run->proxy.in_fd, .events = POLLOUT },
				{ .fd = run->proxy.out_fd, .events = POLLIN },
				{ .fd = run->proxy.err_fd, .events = POLLIN } };

	if (poll(fds, sizeof(fds) / sizeof(fds[0]), wait_ms) < 0)
		return;
	if (fds[1].revents)
		send_secrets(run);
	if (fds[2].revents)
		on_stream(run, &run->proxy.out_fd, take_out);
	if (fds[3].revents)
		on_stream(run, &run->proxy.err_fd, take_err);
	take_signals(run);
}

/* Before each wait: a call in between may have taken the byte that told of an end. The proxy's is looked at
 * when what it said before is read. */
static void look_for_ends(struct docker_run *run)
{
	if (run->proxy.out_fd < 0 && run->proxy.err_fd < 0)
		run->proxy_ended = run->proxy_ended || docker_attached_ended(&run->proxy);
	if (run->agent_started)
		run->agent_ended = run->agent_ended || docker_attached_ended(&run->agent);
}

static int proxy_failed(const struct docker_run *run, struct err *err)
{
	char tail[2048];

	tail_text(&run->tail, tail, sizeof(tail));
	return err_set(err, ECHILD, "proxy: it ended with status %d%s%.700s",
		       WIFEXITED(run->proxy.status) ? WEXITSTATUS(run->proxy.status)
						    : 128 + WTERMSIG(run->proxy.status),
		       tail[0] ? "; its last lines: " : " and printed nothing", tail);
}

static int check(struct docker_run *run, struct err *err)
{
	if (run->ending)
		return 0;
	if (run->signalled)
		return err_set(err, EINTR, "ended by signal %d", run->signalled);
	if (run->proxy_ended)
		return proxy_failed(run, err);
	if (run->audit.write_errno)
		return audit_write_failed(&run->audit, err);
	if (run->grace_end_ms && clock_now_ms() >= run->grace_end_ms) {
		run->signalled = run->asked_by;
		return err_set(err, EINTR, "did not end when asked to by signal %d", run->asked_by);
	}
	return 0;
}

static int sleep_ms(const struct docker_run *run, int64_t deadline)
{
	int64_t until = deadline;

	if (!run->ending && run->grace_end_ms && (until < 0 || run->grace_end_ms < until))
		until = run->grace_end_ms;
	return clock_left_ms(until);
}

int docker_session_wait(struct docker_run *run, const bool *done, int timeout_ms, struct err *err)
{
	int64_t deadline = timeout_ms < 0 ? -1 : clock_now_ms() + timeout_ms;

	take_signals(run); /* those that came during a call */
	for (;;) {
		look_for_ends(run);
		if (*done)
			return 0;
		TRY(check(run, err));
		if (deadline >= 0 && clock_now_ms() >= deadline)
			return -ETIME;
		dispatch(run, sleep_ms(run, deadline));
	}
}

void docker_session_drain(struct docker_run *run, int timeout_ms)
{
	struct err err;

	run->ending = true;
	if (run->proxy.out_fd >= 0 || run->proxy.err_fd >= 0)
		(void)!docker_session_wait(run, &run->proxy_ended, timeout_ms, &err);
	if (run->line_len)
		end_line(run);
}
