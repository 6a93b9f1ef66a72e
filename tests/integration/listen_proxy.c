/* SPDX-License-Identifier: Apache-2.0
 *
 * A proxy for tests of what a run gives a proxy that knows LISTEN_FDS (sd_listen_fds(3)). The name of the
 * one host on its routes says what it does besides being ready:
 *
 *   say.test    accepts one connection, tells it the variables of the contract, closes
 *   mute.test   is never ready
 *   fail.test   prints a line and ends with 3, not ready
 */
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

extern char **environ;

static int number(const char *name)
{
	const char *text = getenv(name);

	return text ? (int)strtol(text, NULL, 10) : -1;
}

static int is_told(const char *what)
{
	static char routes[65536];
	int fd = open("/etc/egress-proxy/routes.yaml", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, routes, sizeof(routes) - 1);

	if (fd >= 0)
		close(fd);
	return n > 0 && strstr(routes, what) != NULL;
}

/* The variables of the contract, one a line, and what descriptor 3 is. */
static int answer(void)
{
	struct pollfd wait = { .fd = 3, .events = POLLIN }; /* the listener does not block */
	int listening = 0, fd;
	char device[IFNAMSIZ + 1] = "";
	socklen_t len = sizeof(listening), device_len = IFNAMSIZ;

	if (poll(&wait, 1, -1) != 1 || (fd = accept(3, NULL, NULL)) < 0)
		return 1;
	for (char **item = environ; *item; item++)
		if (strncmp(*item, "EGRESS_PROXY_", 13) == 0 || strncmp(*item, "LISTEN_", 7) == 0)
			dprintf(fd, "%s\n", *item);
	(void)getsockopt(3, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len);
	(void)getsockopt(3, SOL_SOCKET, SO_BINDTODEVICE, device, &device_len);
	dprintf(fd, "pid=%d listening=%d device=%s\n", getpid(), listening, device);
	close(fd);
	return 0;
}

int main(void)
{
	if (is_told("fail.test")) {
		fprintf(stderr, "no wish to serve\n");
		return 3;
	}
	if (!is_told("mute.test") && write(number("EGRESS_PROXY_READY_FD"), "READY=1\n", 8) != 8)
		return 1;
	if (is_told("say.test") && answer() != 0)
		return 1;
	for (;;)
		pause();
}
