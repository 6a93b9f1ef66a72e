/* SPDX-License-Identifier: Apache-2.0
 * Believed: a user namespace that maps its parent's uid 0 takes its map only from who has CAP_SETFCAP
 * there (since 5.12), so U2 is mapped before any capability goes; without it the map stays unset. */
#include "platform.h"

static int map_below(void)
{
	if (unshare(CLONE_NEWUSER) < 0)
		return 2;
	return put("/proc/self/uid_map", "1000 0 1") == 0 ? 0 : 3;
}

static int map_without_setfcap(void)
{
	keep_caps(~(1ULL << CAP_SETFCAP));
	if (map_below() != 3 || errno != EPERM)
		return 1;
	return getuid() == 65534 ? 0 : 1; /* still nobody: the map is unset */
}

int main(void)
{
	enter_userns(0, 0);
	EXPECT(child(map_below) == 0);
	EXPECT(child(map_without_setfcap) == 0);
	return 0;
}
