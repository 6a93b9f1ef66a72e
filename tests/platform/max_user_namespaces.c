/* SPDX-License-Identifier: Apache-2.0
 * Believed: user.max_user_namespaces=0, written inside U2, stops user namespaces below it, and cannot
 * be taken back once the capabilities are gone. */
#include "platform.h"

#define LIMIT "/proc/sys/user/max_user_namespaces"

static int nest(void)
{
	return unshare(CLONE_NEWUSER) == 0 ? 0 : errno;
}

int main(void)
{
	enter_userns(0, 0);
	enter_userns(0, 1000);
	EXPECT(child(nest) == 0);
	EXPECT(put(LIMIT, "0") == 0);
	EXPECT(child(nest) == ENOSPC);
	keep_caps(0);
	EXPECT(child(nest) == ENOSPC);
	EXPECT(put(LIMIT, "10") < 0 && (errno == EACCES || errno == EPERM));
	return 0;
}
