/* SPDX-License-Identifier: Apache-2.0
 * Believed: a listener on 0.0.0.0 with SO_BINDTODEVICE "lo" does not accept what comes in by a veth,
 * not even for an address that is local (AnyIP); one without it does. */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "platform.h"

#define IP "PATH=$PATH:/usr/sbin:/sbin; ip "

static int listen_on(unsigned short port, const char *device)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	EXPECT(!device || !setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, 3));
	EXPECT(bind(fd, (struct sockaddr *)&any, sizeof(any)) == 0 && listen(fd, 8) == 0);
	return fd;
}

static int dial(const char *address, unsigned short port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = inet_addr(address) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int rc = connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 ? 0 : errno;

	close(fd);
	return rc;
}

int main(void)
{
	int near_ns, far_ns;
	char command[256];

	if (system(IP "link help 2>/dev/null; command -v ip >/dev/null"))
		SKIP("no ip(8): iproute2 is not installed");
	enter_userns(CLONE_NEWNET, 0);
	far_ns = open("/proc/self/ns/net", O_RDONLY);
	EXPECT(far_ns >= 0 && unshare(CLONE_NEWNET) == 0);
	near_ns = open("/proc/self/ns/net", O_RDONLY);
	snprintf(command, sizeof(command),
		 IP "link set lo up && ip link add name near type veth peer name far netns "
		    "/proc/%d/fd/%d",
		 getpid(), far_ns);
	EXPECT(system(command) == 0);
	EXPECT(system(IP "addr add 10.9.9.1/30 dev near && ip link set near up &&"
			 " ip route add local default dev lo table main") == 0);
	listen_on(443, "lo");
	listen_on(444, NULL);
	EXPECT(dial("203.0.113.7", 443) == 0);
	EXPECT(setns(far_ns, CLONE_NEWNET) == 0);
	EXPECT(system(IP "addr add 10.9.9.2/30 dev far && ip link set far up &&"
			 " ip route add default via 10.9.9.1") == 0);
	EXPECT(dial("10.9.9.1", 444) == 0 && dial("203.0.113.7", 444) == 0);
	EXPECT(dial("10.9.9.1", 443) == ECONNREFUSED);
	EXPECT(dial("203.0.113.7", 443) == ECONNREFUSED);
	close(near_ns);
	return 0;
}
