/* SPDX-License-Identifier: Apache-2.0
 * Believed: a change of uid clears PR_SET_PDEATHSIG, so it is set again after each; a new user
 * namespace and the dropping of capabilities do not clear it. */
#include <signal.h>
#include <sys/prctl.h>

#include "platform.h"

static int pdeathsig(void)
{
	int sig = -1;

	EXPECT(prctl(PR_GET_PDEATHSIG, &sig) == 0);
	return sig;
}

static int other_uid(void)
{
	EXPECT(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
	EXPECT(setresuid(1, 1, 1) == 0);
	EXPECT(pdeathsig() == 0);
	return 0;
}

int main(void)
{
	if (geteuid() == 0)
		EXPECT(child(other_uid) == 0);
	else
		printf("note: another uid is tried as root only\n");
	EXPECT(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
	EXPECT(pdeathsig() == SIGKILL);
	enter_userns(0, 0);
	EXPECT(pdeathsig() == SIGKILL);
	keep_caps(0);
	EXPECT(pdeathsig() == SIGKILL);
	return 0;
}
