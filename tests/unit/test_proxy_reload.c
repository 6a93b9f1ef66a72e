/* SPDX-License-Identifier: Apache-2.0
 * Signals, the routes in force, and the listener when descriptors run out. Each in a child of its own, with
 * the real loop; the log goes to a pipe. */
#include "proxy/reload.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "proxy/audit.h"
#include "proxy/client.h"
#include "proxy/listen.h"
#include "proxy/loop.h"
#include "tests/lib/in_child.h"

static const char one_route[] = "version: 1\nroutes:\n  - host: \"a.test\"\n    ports: [443]\n";
static const char two_routes[] = "version: 1\nroutes:\n  - host: \"a.test\"\n    ports: [443]\n"
				 "  - host: \"b.test\"\n    ports: [443]\n";

static struct settings settings = { .listen_fd = -1, .listen_host = "127.0.0.1" };
static char path[] = "/tmp/reload-test-XXXXXX";
static int log_fd;
static struct err err;

static int write_routes(const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	int rc = fd_write_all(fd, text, strlen(text));

	close(fd);
	return rc;
}

static int begin(void)
{
	int fds[2];

	CHILD_CHECK(mkstemp(path) >= 0 && write_routes(one_route) == 0);
	CHILD_CHECK(fd_pipe(fds) == 0 && fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
	log_fd = fds[0];
	audit_start(fds[1]);
	settings.routes_path = path;
	proxy_settings = &settings;
	CHILD_CHECK(loop_init(&err) == 0);
	CHILD_CHECK(reload_init(&settings, &err) == 0);
	CHILD_CHECK(reload_watch_signals(&err) == 0);
	return 0;
}

#define BEGIN()                     \
	do {                        \
		int rc_ = begin();  \
		if (rc_)            \
			return rc_; \
	} while (0)

static void stop_due(struct timer *timer)
{
	(void)timer;
	loop_stop();
}

/* Runs for `ms`; whether something else ended the loop before. */
static bool ended_within(uint64_t ms)
{
	struct timer limit = { .on_due = stop_due };
	bool is_set;

	timer_set(&limit, ms);
	if (loop_run(&err) < 0)
		return false;
	is_set = limit.heap_at != 0;
	timer_cancel(&limit);
	return is_set;
}

static const char *log_text(void)
{
	static char text[8192];
	ssize_t n = read(log_fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* ---- routes ---- */

static int routes_change(void *arg)
{
	struct routetable *before;

	(void)arg;
	BEGIN();
	before = routetable_ref(routes_now());
	CHILD_CHECK(routetable_find(before, "a.test", 443) &&
		    !routetable_find(before, "b.test", 443));
	CHILD_CHECK(write_routes(two_routes) == 0);
	raise(SIGHUP);
	CHILD_CHECK(!ended_within(50));
	CHILD_CHECK(strstr(log_text(), "\"event\":\"reload\",\"verdict\":\"allow\",\"routes\":2}"));
	CHILD_CHECK(routes_now() != before && routetable_find(routes_now(), "b.test", 443));
	/* Who was judged by the old one still holds it. */
	CHILD_CHECK(!strcmp(routetable_find(before, "a.test", 443)->host, "a.test"));
	routetable_unref(before);
	unlink(path);
	return 0;
}

Test(proxy_reload, sighup_puts_another_table_in_force)
{
	cr_assert_eq(in_child(routes_change, NULL), 0);
}

static int routes_stay(void *arg)
{
	const struct routetable *before;

	(void)arg;
	BEGIN();
	before = routes_now();
	CHILD_CHECK(write_routes("version: 1\nroutes: nonsense\n") == 0);
	raise(SIGHUP);
	CHILD_CHECK(!ended_within(50));
	CHILD_CHECK(strstr(log_text(), "\"verdict\":\"error\",\"reason\":\"bad_routes\""));
	CHILD_CHECK(routes_now() == before);
	unlink(path);
	raise(SIGHUP);
	CHILD_CHECK(!ended_within(50));
	CHILD_CHECK(strstr(log_text(), "No such file"));
	CHILD_CHECK(routes_now() == before);
	return 0;
}

Test(proxy_reload, a_file_that_does_not_parse_changes_nothing)
{
	cr_assert_eq(in_child(routes_stay, NULL), 0);
}

/* ---- the listener ---- */

static struct sockaddr_in here;

static int listen_here(void)
{
	socklen_t len = sizeof(here);

	settings.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	here = (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	CHILD_CHECK(bind(settings.listen_fd, (struct sockaddr *)&here, len) == 0);
	CHILD_CHECK(getsockname(settings.listen_fd, (struct sockaddr *)&here, &len) == 0);
	CHILD_CHECK(listen(settings.listen_fd, 200) == 0);
	CHILD_CHECK(listen_start(&settings, &err) == 0);
	return 0;
}

static int connect_here(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return connect(fd, (struct sockaddr *)&here, sizeof(here)) < 0 ? -1 : fd;
}

static bool is_closed(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static uint64_t cpu_us(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

/* The clients are this process's too, so they come first, and then the limit falls. */
static int out_of_descriptors(void *arg)
{
	enum { CLIENTS = 100, ROOM = 20 };
	struct rlimit limit;
	int fds[CLIENTS], closed = 0;
	uint64_t before;

	(void)arg;
	BEGIN();
	CHILD_CHECK(listen_here() == 0);
	for (int i = 0; i < CLIENTS; i++)
		CHILD_CHECK((fds[i] = connect_here()) >= 0);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = (rlim_t)fds[CLIENTS - 1] + 1 + ROOM;
	setrlimit(RLIMIT_NOFILE, &limit);
	CHILD_CHECK(!ended_within(300));
	for (int i = 0; i < CLIENTS; i++)
		closed += is_closed(fds[i]);
	CHILD_CHECK(closed == CLIENTS - ROOM && client_count() == ROOM);
	CHILD_CHECK(strstr(log_text(), "\"reason\":\"out_of_descriptors\""));
	before = cpu_us();
	CHILD_CHECK(!ended_within(300));
	CHILD_CHECK(cpu_us() - before < 100000); /* a loop that spins takes all of it */
	for (int i = 0; i < CLIENTS; i++)
		close(fds[i]);
	CHILD_CHECK(!ended_within(100) && client_count() == 0);
	CHILD_CHECK(connect_here() >= 0 && !ended_within(100) && client_count() == 1);
	unlink(path);
	return 0;
}

Test(proxy_reload, out_of_descriptors_connections_are_dropped_not_waited_for)
{
	cr_assert_eq(in_child(out_of_descriptors, NULL), 0);
}

/* ---- the end ---- */

static int ends_with_its_clients(void *arg)
{
	struct pollfd pfd = { .events = POLLIN };
	int idle;

	(void)arg;
	BEGIN();
	CHILD_CHECK(listen_here() == 0);
	CHILD_CHECK((idle = connect_here()) >= 0);
	CHILD_CHECK(!ended_within(50) && client_count() == 1 && !reload_is_draining());
	raise(SIGTERM);
	/* The idle client is told; it goes, and so does the last reason to stay. */
	CHILD_CHECK(!ended_within(50) || client_count() == 0);
	CHILD_CHECK(reload_is_draining() && connect_here() < 0);
	pfd.fd = idle;
	CHILD_CHECK(poll(&pfd, 1, 1000) == 1 && is_closed(idle));
	close(idle);
	CHILD_CHECK(client_count() == 0 || ended_within(5000));
	unlink(path);
	return 0;
}

Test(proxy_reload, sigterm_ends_idle_clients_and_then_the_loop)
{
	cr_assert_eq(in_child(ends_with_its_clients, NULL), 0);
}

static int ends_at_once(void *arg)
{
	(void)arg;
	BEGIN();
	CHILD_CHECK(listen_here() == 0 && connect_here() >= 0);
	CHILD_CHECK(!ended_within(50) && client_count() == 1);
	raise(SIGTERM);
	raise(SIGINT);
	CHILD_CHECK(ended_within(1000));
	unlink(path);
	return 0;
}

Test(proxy_reload, the_second_signal_ends_at_once)
{
	cr_assert_eq(in_child(ends_at_once, NULL), 0);
}

static int alone(void *arg)
{
	(void)arg;
	BEGIN();
	CHILD_CHECK(listen_here() == 0);
	raise(SIGINT);
	CHILD_CHECK(ended_within(1000));
	unlink(path);
	return 0;
}

Test(proxy_reload, without_clients_it_ends_at_once)
{
	cr_assert_eq(in_child(alone, NULL), 0);
}
