/* SPDX-License-Identifier: Apache-2.0
 *
 * Routes in force and signals; see reload.h. Runs in: the proxy's worker.
 *
 *   SIGHUP           the file is read; a table that does not parse changes nothing
 *   SIGTERM, SIGINT  no new connections; idle ones end; what is under way has RELOAD_DRAIN_MS
 *   the second one   the end, at once
 *
 * Whatever ends it, each request that is still under way gets its line in the log (main.c).
 */
#include "proxy/reload.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "proxy/audit.h"
#include "proxy/client.h"
#include "proxy/listen.h"
#include "proxy/loop.h"
#include "proxy/pool.h"
#include "proxy/tls.h"

enum { ROUTES_FILE_MAX = 8 * 1024 * 1024 };

static const char *routes_path;
static struct routetable *table;

static struct source signals = { .fd = -1 };
static struct timer drain_limit;
static bool is_draining;

/* ---- routes ---- */

static int read_table(struct routetable **ret_table, size_t *ret_count, struct err *err)
{
	cleanup_with(routes_clear) struct proxy_routes routes = { 0 };
	cleanup_with(buf_clear) struct buf text = { 0 };

	TRY(file_read(AT_FDCWD, routes_path, ROUTES_FILE_MAX, &text, err));
	TRY(routes_parse(&routes, routes_path, text.data ? text.data : "", text.len, err));
	*ret_count = routes.count;
	*ret_table = routetable_new(&routes);
	return *ret_table ? 0 : err_sys(err, ENOMEM, "%s", routes_path);
}

int reload_init(const struct settings *settings, struct err *err)
{
	size_t count;

	routes_path = settings->routes_path;
	return read_table(&table, &count, err);
}

struct routetable *routes_now(void)
{
	return table;
}

static void reload(void)
{
	struct audit_record record = { .event = "reload", .verdict = "allow" };
	struct routetable *fresh;
	struct err err;

	if (read_table(&fresh, &record.routes, &err) < 0) {
		fprintf(stderr, "egress-proxy: routes kept as they were: %s\n", err.text);
		record = (struct audit_record){ .event = "reload",
						.verdict = "error",
						.reason = "bad_routes",
						.detail = err.text };
	} else {
		routetable_unref(table);
		table = fresh;
		/* Connections and sessions are kept by route, and these are no longer asked for. */
		pool_drain();
		tls_connect_forget();
	}
	audit_write(&record);
}

/* ---- the end ---- */

static void drain_limit_due(struct timer *timer)
{
	(void)timer;
	loop_stop();
}

static void drain(void)
{
	if (is_draining) {
		loop_stop();
		return;
	}
	is_draining = true;
	listen_stop();
	drain_limit.on_due = drain_limit_due;
	timer_set(&drain_limit, RELOAD_DRAIN_MS);
	pool_drain();
	client_drain();
	if (!client_count())
		loop_stop();
}

bool reload_is_draining(void)
{
	return is_draining;
}

void reload_clients_gone(void)
{
	if (is_draining)
		loop_stop();
}

/* ---- signals ---- */

static void signal_event(struct source *source, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	if (read(source->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP)
		reload();
	else
		drain();
}

int reload_watch_signals(struct err *err)
{
	sigset_t set;
	int rc;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(err, errno, "signals");
	signals.on_event = signal_event;
	signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals.fd < 0)
		return err_sys(err, errno, "signals");
	rc = loop_add_level(&signals);
	return rc < 0 ? err_sys(err, -rc, "signals") : 0;
}
