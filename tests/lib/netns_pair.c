/* SPDX-License-Identifier: Apache-2.0
 * A pair of namespaces for a test; see netns_pair.h. Runs in: a forked child of a test. */
#include "tests/lib/netns_pair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "netns/batch.h"
#include "tests/lib/in_child.h"

enum { WAIT_MS = 300 };

static int map_ids(void)
{
	char map[64];
	uid_t uid = getuid();
	gid_t gid = getgid();

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return -errno;
	TRY(file_write(AT_FDCWD, "/proc/self/setgroups", "deny"));
	snprintf(map, sizeof(map), "0 %u 1", uid);
	TRY(file_write(AT_FDCWD, "/proc/self/uid_map", map));
	snprintf(map, sizeof(map), "0 %u 1", gid);
	return file_write(AT_FDCWD, "/proc/self/gid_map", map);
}

static int open_net(void)
{
	return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

int pair_make(struct netns_pair *pair)
{
	int rc = map_ids();

	if (rc < 0) {
		fprintf(stderr, "skipped: no user namespaces here: %s\n", strerror(-rc));
		return IN_CHILD_SKIP;
	}
	pair->link = netns_link_default();
	pair->proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	pair->internal_fd = open_net();
	CHILD_CHECK(unshare(CLONE_NEWNET) == 0);
	pair->egress_fd = open_net();
	CHILD_CHECK(pair->proc_fd >= 0 && pair->egress_fd >= 0 && pair->internal_fd >= 0);
	return 0;
}

int pair_set_up(struct netns_pair *pair)
{
	static const uint16_t ports[] = { 443, 80 };
	struct err err = { 0 };
	int rc = pair_make(pair);

	if (rc)
		return rc;
	if (netns_setup(pair->proc_fd, pair->egress_fd, pair->internal_fd, &pair->link, &err) < 0 ||
	    netns_open_listeners(ports, 2, pair->lo_fds, &err) < 0 ||
	    netns_open_proxy_listener(&pair->link, PAIR_PROXY_PORT, &pair->proxy_fd, &err) < 0) {
		fprintf(stderr, "set-up: %s\n", err.text);
		return 1;
	}
	return 0;
}

int pair_become_agent_with_power(const struct netns_pair *pair)
{
	return setns(pair->internal_fd, CLONE_NEWNET);
}

int pair_become_agent(const struct netns_pair *pair)
{
	return pair_become_agent_with_power(pair) < 0 ? -1 : unshare(CLONE_NEWUSER);
}

union pair_address pair_address(const char *text, uint16_t port)
{
	union pair_address a = { .any.sa_family = strchr(text, ':') ? AF_INET6 : AF_INET };

	if (a.any.sa_family == AF_INET) {
		a.v4.sin_port = htons(port);
		inet_pton(AF_INET, text, &a.v4.sin_addr);
	} else {
		a.v6.sin6_port = htons(port);
		inet_pton(AF_INET6, text, &a.v6.sin6_addr);
	}
	return a;
}

int pair_tcp_connect(const char *text, uint16_t port, const char *device)
{
	union pair_address a = pair_address(text, port);
	cleanup_fd int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	int error = 0;
	socklen_t len = sizeof(error);

	if (device &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device) + 1) < 0)
		return errno;
	if (connect(fd, &a.any, sizeof(a)) < 0 && errno != EINPROGRESS)
		return errno;
	if (poll(&pfd, 1, WAIT_MS) != 1)
		return ETIMEDOUT;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	return error;
}

int pair_udp_send(const char *text, uint16_t port)
{
	union pair_address a = pair_address(text, port);
	cleanup_fd int fd = socket(a.any.sa_family, SOCK_DGRAM, 0);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char byte = 0;

	if (connect(fd, &a.any, sizeof(a)) < 0 || send(fd, &byte, 1, 0) < 0)
		return errno;
	if (poll(&pfd, 1, WAIT_MS) != 1)
		return ETIMEDOUT;
	return recv(fd, &byte, 1, 0) < 0 ? errno : 0;
}

bool pair_has_guest(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

bool pair_gate_is_idle(const struct netns_pair *pair)
{
	return !pair_has_guest(pair->lo_fds[0]) && !pair_has_guest(pair->lo_fds[1]) &&
	       !pair_has_guest(pair->lo_fds[2]);
}

int pair_add_default_route(const struct netns_pair *pair)
{
	cleanup_with(batch_clear) struct batch batch = { 0 };
	struct rtmsg header = {
		.rtm_family = AF_INET,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_type = RTN_UNICAST,
	};
	struct nl_msg *msg = batch_request(RTM_NEWROUTE, NLM_F_CREATE, &header, sizeof(header));
	struct err err = { 0 };

	TRY(batch_open(&batch, &err));
	batch_add(
		&batch, "default route", msg,
		nla_put(msg, RTA_GATEWAY, sizeof(pair->link.egress_addr), &pair->link.egress_addr));
	return batch_commit(&batch, &err);
}

int pair_listen_everywhere(uint16_t port)
{
	union pair_address a = pair_address("0.0.0.0", port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, &a.any, sizeof(a.v4)) < 0 || listen(fd, 1) < 0)
		return -1;
	return fd;
}
