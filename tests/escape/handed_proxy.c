/* SPDX-License-Identifier: Apache-2.0
 *
 * A proxy that was taken over. It asks the gate for the socket that its routes allow, then tries all it can
 * think of to reach a port of the host that no route names, and tells the first connection on its listener
 * what came of it, a line each. argv, by the environment of its image: none; the two ports stand in the
 * second path of its routes, "/allowed-port/forbidden-port".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/gate_wire.h"

static int out_fd;
static struct sockaddr_in forbidden = { .sin_family = AF_INET };

/* What a call gave, as "name: errno" or "name: worked". */
static void tell(const char *name, long rc)
{
	dprintf(out_fd, "%s: %s\n", name, rc < 0 ? strerrorname_np(errno) : "worked");
}

static int number(const char *name)
{
	const char *text = getenv(name);

	return text ? (int)strtol(text, NULL, 10) : -1;
}

static void read_port(void)
{
	static char routes[65536];
	int fd = open("/etc/egress-proxy/routes.yaml", O_RDONLY | O_CLOEXEC);
	const char *at;

	if (fd < 0 || read(fd, routes, sizeof(routes) - 1) <= 0)
		_exit(4);
	at = strstr(routes, "/forbidden-");
	forbidden.sin_port = htons(at ? (uint16_t)strtol(at + 11, NULL, 10) : 0);
	forbidden.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	close(fd);
}

/* The socket for (host, port), or -1 and the answer in *reply. */
static int ask(int gate_fd, uint32_t id, const char *host, uint16_t port, struct gate_reply *reply)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct gate_ask question = { .id = id, .port = port };
	struct iovec part = { reply, sizeof(*reply) };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = control.space,
				  .msg_controllen = sizeof(control.space) };
	int fd = -1;

	memset(reply, 0, sizeof(*reply));
	memcpy(question.host, host, strlen(host));
	if (send(gate_fd, &question, GATE_ASK_HEAD + strlen(host), MSG_NOSIGNAL) < 0 ||
	    recvmsg(gate_fd, &message, MSG_CMSG_CLOEXEC) < (ssize_t)GATE_REPLY_HEAD)
		return -1;
	if (CMSG_FIRSTHDR(&message))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

/* Through an allowed socket: what arrives and comes back. */
static void use(int fd)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	char answer[64] = "";

	tell("send on the socket", send(fd, "used", 4, MSG_NOSIGNAL));
	tell("an answer on it",
	     poll(&wait, 1, 10000) == 1 ? recv(fd, answer, sizeof(answer) - 1, 0) : -1);
	dprintf(out_fd, "it says: %s\n", answer);
}

static void lead_elsewhere(int fd)
{
	const struct sockaddr nowhere = { .sa_family = AF_UNSPEC };
	struct iovec part = { "stolen", 6 };
	struct msghdr message = { .msg_name = &forbidden,
				  .msg_namelen = sizeof(forbidden),
				  .msg_iov = &part,
				  .msg_iovlen = 1 };
	struct mmsghdr messages = { .msg_hdr = message };
	const struct sockaddr *to = (const struct sockaddr *)&forbidden;
	const char options[] = { 0x83, 7, 4, 127, 0, 0, 1, 0 }; /* loose source route */
	int on = 1;

	tell("connect(AF_UNSPEC)", connect(fd, &nowhere, sizeof(nowhere)));
	tell("connect", connect(fd, to, sizeof(forbidden)));
	tell("sendto", sendto(fd, "stolen", 6, MSG_NOSIGNAL, to, sizeof(forbidden)));
	tell("sendto fastopen",
	     sendto(fd, "stolen", 6, MSG_NOSIGNAL | MSG_FASTOPEN, to, sizeof(forbidden)));
	tell("sendmsg", sendmsg(fd, &message, MSG_NOSIGNAL | MSG_FASTOPEN));
	tell("sendmmsg", sendmmsg(fd, &messages, 1, MSG_NOSIGNAL | MSG_FASTOPEN));
	tell("bind", bind(fd, to, sizeof(forbidden)));
	tell("listen", listen(fd, 5));
	tell("fastopen option", setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on)));
	tell("repair option", setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)));
	tell("device option", setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
	tell("route option", setsockopt(fd, IPPROTO_IP, IP_OPTIONS, options, sizeof(options)));
	tell("protocol option", setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 4));
}

static void make_own(int fd)
{
	struct io_uring_params ring = { 0 };
	int pair[2];

	tell("socket", socket(AF_INET, SOCK_STREAM, 0));
	tell("socket of unix", socket(AF_UNIX, SOCK_STREAM, 0));
	tell("io_uring_setup", syscall(SYS_io_uring_setup, 4, &ring));
	tell("io_setup", syscall(SYS_io_setup, 4, &(unsigned long){ 0 }));
	tell("clone3", syscall(SYS_clone3, NULL, 0));
	tell("clone of a network",
	     syscall(SYS_clone, CLONE_NEWUSER | CLONE_NEWNET | CLONE_FS, 0, 0, 0, 0));
	tell("unshare", unshare(CLONE_NEWNET));
	tell("setns", setns(fd, CLONE_NEWNET));
	tell("ptrace", ptrace(PTRACE_SEIZE, 1, 0, 0));
	tell("pidfd_getfd", syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, 1, 0), 0, 0));
	tell("socketpair", socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
	tell("socketpair of inet", socketpair(AF_INET, SOCK_STREAM, 0, pair));
}

/* After a shutdown, and of a socket whose peer is gone, too. */
static void lead_a_closed_one_elsewhere(int fd)
{
	tell("shutdown", shutdown(fd, SHUT_RDWR));
	tell("connect after shutdown",
	     connect(fd, (struct sockaddr *)&forbidden, sizeof(forbidden)));
	tell("fastopen after shutdown", sendto(fd, "stolen", 6, MSG_NOSIGNAL | MSG_FASTOPEN,
					       (struct sockaddr *)&forbidden, sizeof(forbidden)));
	tell("listen after shutdown", listen(fd, 5));
}

int main(void)
{
	int gate_fd = number("EGRESS_PROXY_GATE_FD");
	struct pollfd wait = { .fd = 3, .events = POLLIN };
	const char *way = getenv("EGRESS_PROXY_GATE");
	struct gate_reply reply;
	int fd;

	read_port();
	if (write(number("EGRESS_PROXY_READY_FD"), "READY=1\n", 8) != 8 || poll(&wait, 1, -1) != 1)
		return 1;
	out_fd = accept4(3, NULL, NULL, SOCK_CLOEXEC);
	dprintf(out_fd, "gate: %s\n", gate_fd >= 0 ? "fd" : way ? way : "none");
	if (gate_fd >= 0) {
		fd = ask(gate_fd, 1, "raw.test", 443, &reply);
		tell("the gate's socket", fd);
		use(fd);
		lead_elsewhere(fd);
		make_own(fd);
		use(fd); /* it was not disturbed either */
		lead_a_closed_one_elsewhere(fd);
		errno = -(ask(gate_fd, 2, "127.0.0.1", ntohs(forbidden.sin_port), &reply) < 0
				  ? reply.rc
				  : 0);
		tell("the gate's socket to a forbidden place", reply.rc);
		dprintf(out_fd, "it says: %.*s\n", GATE_WIRE_DETAIL_MAX, reply.detail);
	}
	close(out_fd);
	for (;;)
		pause();
}
