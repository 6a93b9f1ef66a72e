/* SPDX-License-Identifier: Apache-2.0
 *
 * init: pid 1 of the bottle's outer pid namespace, root of U1. It makes both network namespaces and
 * the reapers, and then only lives: when it dies, by any cause, the kernel kills every process of the
 * bottle and with the last of them go namespaces and mounts. So nothing has to be tidied.
 *
 * Runs in: init, forked by the launcher with CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS |
 * CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS. Power: all capabilities over U1 until the reapers are
 * made, none afterwards. Never has: a token, the CA key, a socket of the host's network.
 *
 * It dies with the launcher by PDEATHSIG, set before anything else, and by the launcher's pidfd in
 * its loop, which closes the race between the fork and the prctl.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "netns/netns.h"
#include "runtime/caps.h"
#include "runtime/landlock.h"
#include "runtime/launch.h"
#include "runtime/seccomp.h"
#include "runtime/secrets.h"
#include "runtime/title.h"
#include "runtime/wire.h"

enum { PORT_TRY_INTERVAL_MS = 10 };

static int die_with_launcher(const struct launch *launch, struct err *err)
{
	struct pollfd launcher = { .fd = launch->launcher_pidfd, .events = POLLIN };

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return err_sys(err, errno, "PR_SET_PDEATHSIG");
	if (poll(&launcher, 1, 0) != 0)
		return err_set(err, ESRCH, "the launcher is gone");
	return 0;
}

static int wait_for_launcher(const struct launch *launch, struct err *err)
{
	int rc = wire_send(launch->init_ctl[1], WIRE_MAPS_WANTED, 0, NULL, 0);

	if (rc < 0)
		return err_sys(err, -rc, "ask the launcher");
	return wire_expect(launch->init_ctl[1], WIRE_MAPS_DONE, err);
}

static int map_ids(const struct launch *launch, struct err *err)
{
	const struct plan *plan = launch->plan;

	/* newuidmap looks at who owns /proc/<pid>, which is root while we are not dumpable. */
	if (plan->idmap == IDMAP_SUBID && prctl(PR_SET_DUMPABLE, 1) < 0)
		return err_sys(err, errno, "PR_SET_DUMPABLE");
	if (plan->waits_for_launcher)
		TRY(wait_for_launcher(launch, err));
	if (plan->idmap == IDMAP_SUBID)
		return secrets_no_dump(err);
	return idmap_write_single(AT_FDCWD, 0,
				  &(struct idmap_single){ .outside_uid = plan->host.uid,
							  .outside_gid = plan->host.gid },
				  err);
}

struct netns_pair {
	int egress_fd;
	int internal_fd;
};

/* init stays in the egress namespace; the internal one is reached by descriptor. */
static int make_networks(const struct launch *launch, struct netns_pair *pair, struct err *err)
{
	cleanup_fd int proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (proc_fd < 0)
		return err_sys(err, errno, "open /proc");
	pair->egress_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (pair->egress_fd < 0)
		return err_sys(err, errno, "open the egress network namespace");
	if (unshare(CLONE_NEWNET) < 0)
		return err_sys(err, errno, "make the internal network namespace");
	pair->internal_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (pair->internal_fd < 0 || setns(pair->egress_fd, CLONE_NEWNET) < 0)
		return err_sys(err, errno, "enter the egress network namespace");
	return netns_setup(proc_fd, pair->egress_fd, pair->internal_fd, &launch->plan->link, err);
}

static int hand_listeners_up(const struct launch *launch, struct err *err)
{
	const struct plan *plan = launch->plan;
	int fds[FD_PASS_MAX];
	size_t count = plan->port_count + 1;
	int rc;

	if (count > FD_PASS_MAX)
		return err_set(err, E2BIG, "the routes name %zu distinct ports; at most %d fit",
			       plan->port_count, FD_PASS_MAX - 1);
	TRY(netns_open_listeners(plan->ports, plan->port_count, fds, err));
	rc = wire_send(launch->init_ctl[1], WIRE_LISTENERS, 0, fds, count);
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	return rc < 0 ? err_sys(err, -rc, "hand the gate's sockets up") : 0;
}

static int make_reapers(const struct launch *launch, const struct netns_pair *pair, struct err *err)
{
	cleanup_fd int listen_fd = -1;

	if (launch->plan->proxy_fds.listen >= 0)
		TRY(netns_open_proxy_listener(&launch->plan->link,
					      launch->plan->manifest.proxy_port, &listen_fd, err));
	TRY(reaper_fork(launch, ROLE_PROXY, -1, listen_fd, err));
	return reaper_fork(launch, ROLE_AGENT, pair->internal_fd, -1, err);
}

/* From here on init only waits. */
static int give_up_power(struct err *err)
{
	int abi;

	TRY(caps_drop_all(err));
	TRY(caps_prove_none(err));
	TRY(landlock_gate(&abi, err));
	TRY(seccomp_load(SECCOMP_INIT, err));
	return seccomp_prove(SECCOMP_INIT, err);
}

static int set_up(const struct launch *launch, const char **ret_step, struct err *err)
{
	struct netns_pair pair = { -1, -1 };
	int keep[] = { launch->launcher_pidfd, launch->init_ctl[1] };

	*ret_step = "start";
	TRY(die_with_launcher(launch, err));
	environ_wipe();
	title_set("bottle: init");
	*ret_step = "ids";
	TRY(map_ids(launch, err));
	*ret_step = "network";
	TRY(make_networks(launch, &pair, err));
	TRY(hand_listeners_up(launch, err));
	*ret_step = "namespaces";
	TRY(make_reapers(launch, &pair, err));
	*ret_step = "confine";
	TRY(stdio_release(err));
	if (dup2(0, 2) < 0 || fd_close_except(keep, sizeof(keep) / sizeof(keep[0])) < 0)
		return err_sys(err, errno, "close what init does not need");
	return give_up_power(err);
}

/* For an image that cannot say it is ready: its port is tried. A refused connection on loopback
 * answers at once, and nothing tells when a foreign process begins to listen. */
static bool port_accepts(const struct launch *launch)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons(launch->plan->manifest.proxy_port),
				       .sin_addr = launch->plan->link.egress_addr };
	cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

noreturn static void live(const struct launch *launch)
{
	bool watching = false;
	sigset_t chld;
	int signal_fd;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	signal_fd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	for (;;) {
		struct pollfd fds[] = { { .fd = launch->launcher_pidfd, .events = POLLIN },
					{ .fd = launch->init_ctl[1], .events = POLLIN },
					{ .fd = signal_fd, .events = POLLIN } };
		struct signalfd_siginfo info;
		struct wire_msg msg;
		size_t fd_count = 0;
		int status;

		(void)poll(fds, 3, watching ? PORT_TRY_INTERVAL_MS : -1);
		if (fds[0].revents)
			_exit(0);
		if (fds[1].revents) {
			if (wire_recv(launch->init_ctl[1], &msg, NULL, 0, &fd_count) <= 0)
				_exit(0);
			watching = msg.type == WIRE_WATCH_PORT;
		}
		while (read(signal_fd, &info, sizeof(info)) > 0)
			continue;
		while (waitpid(-1, &status, WNOHANG) > 0)
			(void)!wire_send(launch->init_ctl[1], WIRE_EXITED, status, NULL, 0);
		if (watching && port_accepts(launch)) {
			watching = false;
			(void)!wire_send(launch->init_ctl[1], WIRE_PORT_OPEN, 0, NULL, 0);
		}
	}
}

noreturn void init_main(const struct launch *launch)
{
	struct err err = { 0 };
	const char *step = "start";
	int rc = set_up(launch, &step, &err);

	if (rc < 0) {
		wire_send_failed(launch->init_ctl[1], step, rc, &err);
		_exit(125);
	}
	live(launch);
}
