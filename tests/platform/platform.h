/* SPDX-License-Identifier: Apache-2.0
 *
 * What the programs of this folder share. Each shows one thing that the design believes of the kernel:
 * exit status 0, it is so; 77, it cannot be tried here, with the reason on stdout; 1, it is not so.
 * Each also builds alone (`cc -std=c11 -D_GNU_SOURCE name.c`)
 * and needs no power.
 */
#ifndef TESTS_PLATFORM_H
#define TESTS_PLATFORM_H

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAIL(...)                             \
	do {                                  \
		printf("fail: " __VA_ARGS__); \
		printf(" (errno: %m)\n");     \
		exit(1);                      \
	} while (0)

#define SKIP(...)                             \
	do {                                  \
		printf("skip: " __VA_ARGS__); \
		printf("\n");                 \
		exit(77);                     \
	} while (0)

#define EXPECT(cond)                                                  \
	do {                                                          \
		if (!(cond))                                          \
			FAIL("line %d: not so: %s", __LINE__, #cond); \
	} while (0)

static inline int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
	return n < 0 ? -1 : 0;
}

/* A new user namespace (and what else `flags` says) in which the caller is `inside`. */
static inline void enter_userns(int flags, unsigned inside)
{
	char uid_map[64], gid_map[64];

	snprintf(uid_map, sizeof(uid_map), "%u %u 1", inside, geteuid());
	snprintf(gid_map, sizeof(gid_map), "%u %u 1", inside, getegid());
	if (unshare(CLONE_NEWUSER | flags) < 0)
		SKIP("no user namespaces here: %m");
	put("/proc/self/setgroups", "deny");
	if (put("/proc/self/uid_map", uid_map) < 0 || put("/proc/self/gid_map", gid_map) < 0)
		SKIP("user namespaces cannot be mapped here: %m");
}

/* Takes from all three sets what is not in `keep`. */
static inline void keep_caps(unsigned long long keep)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		FAIL("capget");
	for (int i = 0; i < 2; i++) {
		unsigned mask = (unsigned)(keep >> (32 * i));

		data[i].effective &= mask;
		data[i].permitted &= mask;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &header, data) < 0)
		FAIL("capset");
}

/* Runs fn in a child and returns its exit status. */
static inline int child(int (*fn)(void))
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		exit(fn());
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		FAIL("fork");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		exit(77);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#endif
