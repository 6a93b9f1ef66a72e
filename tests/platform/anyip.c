/* SPDX-License-Identifier: Apache-2.0
 * Believed: `local default dev lo` in the main table makes every address local; a connection to any of
 * them arrives at a listener on lo, and getsockname() gives the address that was dialled. */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "platform.h"

int main(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(443) }, own, to = any;
	socklen_t len = sizeof(own);
	int listener, client, accepted;

	enter_userns(CLONE_NEWNET, 0);
	if (system("PATH=$PATH:/usr/sbin:/sbin; command -v ip >/dev/null"))
		SKIP("no ip(8): iproute2 is not installed");
	EXPECT(system("PATH=$PATH:/usr/sbin:/sbin; ip link set lo up &&"
		      " ip route add local default dev lo table main") == 0);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	EXPECT(setsockopt(listener, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) == 0);
	EXPECT(bind(listener, (struct sockaddr *)&any, sizeof(any)) == 0 &&
	       listen(listener, 1) == 0);
	client = socket(AF_INET, SOCK_STREAM, 0);
	to.sin_addr.s_addr = inet_addr("203.0.113.77");
	EXPECT(connect(client, (struct sockaddr *)&to, sizeof(to)) == 0);
	accepted = accept(listener, NULL, NULL);
	EXPECT(accepted >= 0 && getsockname(accepted, (struct sockaddr *)&own, &len) == 0);
	EXPECT(own.sin_addr.s_addr == to.sin_addr.s_addr && own.sin_port == to.sin_port);
	return 0;
}
