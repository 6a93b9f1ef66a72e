/* SPDX-License-Identifier: Apache-2.0
 *
 * The decoy and the attack; see handed.h.
 *
 * A connected socket belongs to the network namespace it was made in, wherever it is passed to. Without a
 * filter, connect(2) with AF_UNSPEC dissolves the connection, and after it connect(2), or sendto(2) with
 * MSG_FASTOPEN, reaches anything that the host reaches, its loopback first of all (connect(2), tcp(7)).
 *
 * Runs in: launcher (the decoy), proxy's process (the attack). Power: none is needed.
 */
#include "runtime/handed.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

int handed_decoy_open(int ret_fds[static 2], struct err *err)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	cleanup_fd int listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(at);

	if (listen_fd < 0 || fd < 0 || bind(listen_fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(listen_fd, 1) < 0 || getsockname(listen_fd, (struct sockaddr *)&at, &len) < 0 ||
	    connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return err_sys(err, errno, "connect over the host's loopback");
	/* Another process of the host may have been quicker to connect; to us it is all the same. */
	ret_fds[1] = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (ret_fds[1] < 0)
		return err_sys(err, errno, "connect over the host's loopback");
	ret_fds[0] = take_fd(&fd);
	return 0;
}

/* Where the attempts would lead it: a port that nobody is known to listen on. */
static const struct sockaddr_in elsewhere = { .sin_family = AF_INET };
static const struct sockaddr nowhere = { .sa_family = AF_UNSPEC };

static int dissolve(int fd)
{
	return connect(fd, &nowhere, sizeof(nowhere));
}

static int reconnect(int fd)
{
	return connect(fd, (const struct sockaddr *)&elsewhere, sizeof(elsewhere));
}

static int send_elsewhere(int fd)
{
	return (int)sendto(fd, "", 1, MSG_NOSIGNAL, (const struct sockaddr *)&elsewhere,
			   sizeof(elsewhere));
}

static int fast_open(int fd)
{
	return (int)sendto(fd, "", 1, MSG_NOSIGNAL | MSG_FASTOPEN,
			   (const struct sockaddr *)&elsewhere, sizeof(elsewhere));
}

static int fast_open_without_address(int fd)
{
	return (int)sendto(fd, "", 1, MSG_NOSIGNAL | MSG_FASTOPEN, NULL, 0);
}

static int send_message(int fd)
{
	struct sockaddr_in to = elsewhere;
	struct iovec part = { "", 1 };
	const struct msghdr message = {
		.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &part, .msg_iovlen = 1
	};

	return (int)sendmsg(fd, &message, MSG_NOSIGNAL | MSG_FASTOPEN);
}

static int send_messages(int fd)
{
	struct mmsghdr none = { .msg_len = 0 };

	return sendmmsg(fd, &none, 0, MSG_FASTOPEN);
}

static int rebind(int fd)
{
	return bind(fd, (const struct sockaddr *)&elsewhere, sizeof(elsewhere));
}

static int listen_instead(int fd)
{
	return listen(fd, 1);
}

static int fast_open_option(int fd)
{
	int on = 1;

	return setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on));
}

static int another_device(int fd)
{
	return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", 0);
}

static int another_protocol(int fd)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 4);
}

static const struct attempt {
	const char *what;
	int (*make)(int fd);
	int want_errno; /* which the kernel alone would not give for a socket in this state */
} attempts[] = {
	{ "connect(AF_UNSPEC)", dissolve, EPERM },
	{ "connect", reconnect, EPERM },
	{ "sendto with an address", send_elsewhere, EPERM },
	{ "MSG_FASTOPEN", fast_open, EPERM },
	{ "MSG_FASTOPEN without an address", fast_open_without_address, EPERM },
	{ "sendmsg", send_message, EPERM },
	{ "sendmmsg", send_messages, EPERM },
	{ "bind", rebind, EPERM },
	{ "listen", listen_instead, EPERM },
	{ "TCP_FASTOPEN_CONNECT", fast_open_option, ENOSYS },
	{ "SO_BINDTODEVICE", another_device, ENOSYS },
	{ "TCP_ULP", another_protocol, ENOSYS },
};

static int peer_of(int fd, struct sockaddr_in *ret_peer, struct err *err)
{
	socklen_t len = sizeof(*ret_peer);

	memset(ret_peer, 0, sizeof(*ret_peer));
	return getpeername(fd, (struct sockaddr *)ret_peer, &len) < 0
		       ? err_sys(err, errno, "a socket of the host's: getpeername")
		       : 0;
}

int handed_prove(const int decoy_fds[static 2], struct err *err)
{
	struct sockaddr_in before, after;
	char byte;

	TRY(peer_of(decoy_fds[0], &before, err));
	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
		errno = 0;
		if (attempts[i].make(decoy_fds[0]) >= 0 || errno != attempts[i].want_errno)
			return err_set(err, EPROTO,
				       "a socket of the host's is not safe with the proxy: %s gave "
				       "errno %d, not %d",
				       attempts[i].what, errno, attempts[i].want_errno);
	}
	TRY(peer_of(decoy_fds[0], &after, err));
	if (memcmp(&before, &after, sizeof(before)) != 0)
		return err_set(
			err, EPROTO,
			"a socket of the host's is not safe with the proxy: it leads elsewhere");
	/* And what it is given for works. */
	if (send(decoy_fds[0], "x", 1, MSG_NOSIGNAL) != 1)
		return err_sys(err, errno, "a socket of the host's: send");
	if (recv(decoy_fds[0], &byte, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN)
		return err_set(err, EPROTO, "a socket of the host's: recv gave errno %d, not %d",
			       errno, EAGAIN);
	return 0;
}
