/* SPDX-License-Identifier: Apache-2.0
 * Calls and what a filter makes of them: for the tests of runtime/seccomp.c. */
#ifndef TEST_SECCOMP_PROBE_H
#define TEST_SECCOMP_PROBE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/seccomp.h"

/* What a call is to give: OK for success, ANY for whatever the kernel says once it got through (not
 * EPERM or ENOSYS), else the errno. */
enum { OK = 0, ANY = -1 };

struct probe {
	const char *what;
	int want;
	long number;
	long args[6];
};

#define IS(call, want, ...)              \
	{                                \
#call, want, SYS_##call, \
		{                        \
			__VA_ARGS__      \
		}                        \
	}
#define HIGH	    ((long)(UINT64_C(1) << 32))
#define X32(number) (0x40000000L | (number))

static inline bool as_wanted(const struct probe *p)
{
	long rc, got;

	errno = 0;
	rc = syscall(p->number, p->args[0], p->args[1], p->args[2], p->args[3], p->args[4],
		     p->args[5]);
	got = rc < 0 ? errno : 0;
	if (p->want == ANY ? got != EPERM && got != ENOSYS : got == p->want)
		return true;
	fprintf(stderr, "%s(%ld, %ld, …): errno %ld, wanted %d\n", p->what, p->args[0], p->args[1],
		got, p->want);
	return false;
}

static inline int load(enum seccomp_role role)
{
	struct err err = { "no_new_privs" };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || seccomp_load(role, &err) < 0 ||
	    seccomp_prove(role, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	return 0;
}

static inline int run_probes(const struct probe *probes, size_t count)
{
	int bad = 0;

	for (size_t i = 0; i < count; i++)
		if (!as_wanted(&probes[i]))
			bad = 1;
	return bad;
}
#define PROBE(probes) run_probes(probes, sizeof(probes) / sizeof((probes)[0]))

#endif
