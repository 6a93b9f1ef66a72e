/* SPDX-License-Identifier: Apache-2.0
 * Believed: a file written 0400 by U1's uid 0 is owned by 1000 in U2 that maps 1000 to it, and is read
 * by 1000 there without a capability; another uid that U2 maps cannot read it. */
#include <sys/stat.h>

#include "platform.h"

static char path[] = "/tmp/platform-key.XXXXXX";

static int read_as_1000(void)
{
	struct stat st;
	char byte;
	int fd;

	keep_caps(0);
	EXPECT(stat(path, &st) == 0 && st.st_uid == 1000 && (st.st_mode & 0777) == 0400);
	fd = open(path, O_RDONLY);
	EXPECT(fd >= 0 && read(fd, &byte, 1) == 1 && byte == 'k');
	return 0;
}

static int read_as_1001(void)
{
	EXPECT(setresuid(1001, 1001, 1001) == 0);
	keep_caps(0);
	EXPECT(open(path, O_RDONLY) < 0 && errno == EACCES);
	return 0;
}

/* A new user namespace whose map is written from outside it, as more than one id needs. */
static void enter_mapped_from_outside(const char *map)
{
	char uids[64], gids[64], byte;
	int ready[2], status;
	pid_t writer;

	snprintf(uids, sizeof(uids), "/proc/%d/uid_map", getpid());
	snprintf(gids, sizeof(gids), "/proc/%d/gid_map", getpid());
	EXPECT(pipe(ready) == 0);
	writer = fork();
	if (writer == 0) {
		close(ready[1]);
		_exit(read(ready[0], &byte, 1) || put(uids, map) < 0 || put(gids, map) < 0);
	}
	if (unshare(CLONE_NEWUSER) < 0)
		SKIP("no user namespaces here: %m");
	close(ready[1]);
	EXPECT(waitpid(writer, &status, 0) == writer && status == 0);
}

static int two_ids(void)
{
	enter_mapped_from_outside("0 0 2");
	enter_mapped_from_outside("1000 0 1\n1001 1 1");
	EXPECT(child(read_as_1001) == 0);
	return 0;
}

static int one_id(void)
{
	enter_userns(0, 0);
	enter_userns(0, 1000);
	EXPECT(child(read_as_1000) == 0);
	return 0;
}

int main(void)
{
	int fd = mkstemp(path), one, two = 0;

	EXPECT(fd >= 0 && write(fd, "k", 1) == 1 && fchmod(fd, 0400) == 0);
	one = child(one_id);
	if (geteuid() == 0)
		two = child(two_ids);
	else
		printf("note: the second uid is tried as root only\n");
	unlink(path);
	return one || two;
}
