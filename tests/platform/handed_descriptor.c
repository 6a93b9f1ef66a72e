/* SPDX-License-Identifier: Apache-2.0
 * Believed: a socket handed into a network namespace still belongs to the one it was made in: without
 * a filter, connect(AF_UNSPEC) and connect() or sendto(MSG_FASTOPEN) on it reach the host's loopback. */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "platform.h"

static struct sockaddr_in listen_somewhere(int *ret_fd)
{
	struct sockaddr_in own = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(own);

	*ret_fd = socket(AF_INET, SOCK_STREAM, 0);
	EXPECT(bind(*ret_fd, (struct sockaddr *)&own, sizeof(own)) == 0);
	EXPECT(listen(*ret_fd, 4) == 0);
	EXPECT(getsockname(*ret_fd, (struct sockaddr *)&own, &len) == 0);
	return own;
}

static void detach(int fd)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	EXPECT(connect(fd, &none, sizeof(none)) == 0);
}

int main(void)
{
	int allowed_fd, secret_fd, handed, own;
	struct sockaddr_in allowed = listen_somewhere(&allowed_fd);
	struct sockaddr_in secret = listen_somewhere(&secret_fd);

	handed = socket(AF_INET, SOCK_STREAM, 0);
	EXPECT(connect(handed, (struct sockaddr *)&allowed, sizeof(allowed)) == 0);
	enter_userns(CLONE_NEWNET, 0);
	own = socket(AF_INET, SOCK_STREAM, 0);
	EXPECT(connect(own, (struct sockaddr *)&secret, sizeof(secret)) < 0);
	detach(handed);
	EXPECT(connect(handed, (struct sockaddr *)&secret, sizeof(secret)) == 0);
	EXPECT(accept(secret_fd, NULL, NULL) >= 0);
	detach(handed);
	EXPECT(sendto(handed, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&secret, sizeof(secret)) ==
	       1);
	EXPECT(accept(secret_fd, NULL, NULL) >= 0);
	return 0;
}
