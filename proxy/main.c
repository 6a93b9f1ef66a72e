/* SPDX-License-Identifier: Apache-2.0
 *
 * The native egress proxy: the image's contract (docs/architecture.md) in one small static program.
 *
 * Runs in: two processes. The worker, one thread with one epoll loop, holds the tokens, the leaves' key and
 * every connection; the signer holds the CA's private key and nothing else (signer.h).
 *
 * The start below stands in the order in which things become known and power is given up. Whatever may
 * be put off is put off to the first request that needs it: the trust store, the resolver, the leaves.
 * The environment is the only input; its variables are those of settings.h. Where it says so, the secrets
 * come on standard input, before anything is read (stdin_secrets.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "proxy/audit.h"
#include "proxy/dial.h"
#include "proxy/exchange.h"
#include "proxy/listen.h"
#include "proxy/loop.h"
#include "proxy/reload.h"
#include "proxy/settings.h"
#include "proxy/stdin_secrets.h"
#include "proxy/tls.h"
#include "proxy/tokens.h"

static struct settings settings;
static struct tokens tokens;
static int exit_status;

/* 1, not 0: where core_pattern names a program, 1 alone keeps the kernel from piping a core to it
 * (core(5)). A hard limit of 0 from outside stays. */
static int forbid_cores(void)
{
	struct rlimit core;

	if (getrlimit(RLIMIT_CORE, &core) < 0)
		return -1;
	if (core.rlim_max > 1)
		core.rlim_max = 1;
	core.rlim_cur = core.rlim_max;
	return setrlimit(RLIMIT_CORE, &core);
}

/* No other process of this uid reads our memory or environment, no core is written; as many
 * connections as we may have. The signer inherits it. */
static int close_memory(struct err *err)
{
	struct rlimit files;

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || forbid_cores() < 0)
		return err_sys(err, errno, "core dumps cannot be turned off");
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &files) < 0)
			return err_sys(err, errno, "RLIMIT_NOFILE");
	}
	return 0;
}

/* Without it a client that trusts nothing yet known would wait for ever: better no proxy. */
static void signer_lost(const char *why)
{
	fprintf(stderr, "egress-proxy: %s\n", why);
	exit_status = EXIT_FAILURE;
	loop_stop();
}

static int start_tls(struct err *err)
{
	const struct tls_config config = {
		.ca_path = settings.ca_path,
		.trust_store = settings.trust_store,
		.extra_ca = &settings.extra_ca,
		.upstream_ca = settings.upstream.ca,
		.offers_h2 = true,
		.on_signer_lost = signer_lost,
	};

	return tls_init(&config, err);
}

static int tell_ready(struct err *err)
{
	static const char line[] = "READY=1\n";
	int rc;

	if (settings.ready_fd < 0)
		return 0;
	rc = fd_write_all(settings.ready_fd, line, sizeof(line) - 1);
	if (settings.ready_fd > STDERR_FILENO)
		close(settings.ready_fd);
	return rc < 0 ? err_sys(err, -rc, "EGRESS_PROXY_READY_FD") : 0;
}

/* One place or the other: a token that stands where nobody looks would be one that nobody wipes. */
static int take_secrets(struct err *err)
{
	cleanup_fd int root_fd = -1;
	bool by_stdin;

	TRY(tokens_take(&tokens, err));
	TRY(stdin_secrets_wanted(&by_stdin, err));
	if (!by_stdin)
		return 0;
	if (tokens.count)
		return err_set(err, EINVAL,
			       "EGRESS_PROXY_TOKEN_… in the environment, and EGRESS_PROXY_SECRETS");
	tokens_wipe(&tokens);
	root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return err_sys(err, errno, "/");
	TRY(stdin_secrets_take(STDIN_FILENO, root_fd, &tokens, err));
	return stdin_secrets_close(err);
}

static int run(struct err *err)
{
	int rc;

	TRY(close_memory(err));
	TRY(take_secrets(err));
	TRY(settings_read(&tokens, &settings, err));
	proxy_settings = &settings;
	proxy_tokens = &tokens;
	TRY(reload_init(&settings, err));

	/* The signer is a copy of this process: it gets no token (MADV_DONTFORK) and no socket yet. */
	TRY(loop_init(err));
	TRY(start_tls(err));

	audit_start(settings.audit_fd);
	TRY(dial_init(settings.gate_fd, !settings.gate_relays, err));
	TRY(reload_watch_signals(err));
	TRY(listen_start(&settings, err));
	TRY(tell_ready(err));
	rc = loop_run(err);
	exchange_end_all(); /* whatever ended it */
	return rc;
}

int main(int argc, char **argv)
{
	struct err err;

	(void)argv;
	if (argc > 1) {
		fputs("egress-proxy: takes no arguments; docs/proxy.md has the environment's "
		      "variables\n",
		      stderr);
		return 64; /* EX_USAGE */
	}
	signal(SIGPIPE, SIG_IGN);
	if (run(&err) < 0) {
		fprintf(stderr, "egress-proxy: %s\n", err.text);
		exit_status = EXIT_FAILURE;
	}
	tokens_wipe(&tokens);
	return exit_status;
}
