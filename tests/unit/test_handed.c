/* SPDX-License-Identifier: Apache-2.0
 * The attack on a socket of the host's: it holds behind the filter, and tells where there is none, or a wider
 * one. */
#include "runtime/handed.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "seccomp_probe.h"
#include "tests/lib/in_child.h"

/* Beside what the load's own proof tries. */
static int proxy_handed_child(void *arg)
{
	static const struct probe probes[] = {
		IS(unshare, EPERM, 0),
		IS(setns, EPERM, -1, 0),
		IS(socket, EPERM, AF_UNIX, SOCK_STREAM, 0),
		IS(sendto, EPERM, -1, 0, 0, 0, HIGH, 0),
		IS(sendto, EPERM, -1, 0, 0, HIGH | MSG_NOSIGNAL | MSG_FASTOPEN, 0, 0),
		IS(setsockopt, ENOSYS, -1, IPPROTO_TCP, TCP_REPAIR, 0, 0),
		IS(setsockopt, ENOSYS, -1, SOL_SOCKET, SO_MARK, 0, 0),
		IS(setsockopt, ENOSYS, -1, IPPROTO_IP, IP_OPTIONS, 0, 0),
		IS(socketpair, EAFNOSUPPORT, AF_INET, SOCK_STREAM, 0, 0),
		IS(process_vm_readv, EPERM, INT32_MAX),
		IS(unlink, EPERM, (long)"/nonexistent"),
		IS(getsockopt, EBADF, -1, SOL_SOCKET, SO_ERROR, 0, 0),
		IS(setsockopt, EBADF, -1, SOL_SOCKET, SO_SNDBUF, 0, 0),
		IS(splice, EBADF, -1, 0, -1, 0, 1, 0),
		IS(execve, EFAULT, 0, 0, 0),
		IS(prctl, OK, PR_SET_DUMPABLE, 0),
	};
	int pair[2];

	(void)arg;
	return load(SECCOMP_PROXY_HANDED) | PROBE(probes) |
	       (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0);
}

Test(handed, filter_leaves_no_way_round)
{
	cr_assert_eq(in_child(proxy_handed_child, NULL), 0);
}

static int prove_behind(enum seccomp_role role, struct err *err)
{
	int decoy[2];

	if (handed_decoy_open(decoy, err) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    (role < SECCOMP_ROLE_COUNT && seccomp_load(role, err) < 0))
		return -EIO;
	return handed_prove(decoy, err);
}

static int behind_its_filter(void *arg)
{
	struct err err = { "" };

	(void)arg;
	CHILD_CHECK(prove_behind(SECCOMP_PROXY_HANDED, &err) == 0);
	return 0;
}

Test(handed, holds_behind_its_filter)
{
	cr_assert_eq(in_child(behind_its_filter, NULL), 0);
}

static int without_filter(void *arg)
{
	struct err err = { "" };

	(void)arg;
	CHILD_CHECK(prove_behind(SECCOMP_ROLE_COUNT, &err) == -EPROTO);
	CHILD_CHECK(strcmp(err.text, "a socket of the host's is not safe with the proxy: "
				     "connect(AF_UNSPEC) gave errno 0, not 1") == 0);
	return 0;
}

Test(handed, tells_that_there_is_none)
{
	cr_assert_eq(in_child(without_filter, NULL), 0);
}

/* Every other filter that leaves enough to try leaves too much. */
static int behind_another(void *arg)
{
	const enum seccomp_role *role = arg;
	struct err err = { "" };

	CHILD_CHECK(prove_behind(*role, &err) == -EPROTO);
	return 0;
}

Test(handed, tells_that_another_is_too_wide)
{
	enum seccomp_role others[] = { SECCOMP_AGENT, SECCOMP_PROXY, SECCOMP_GATE };

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		cr_assert_eq(in_child(behind_another, &others[i]), 0);
}

static int decoy_works(void *arg)
{
	int decoy[2];
	char byte = 0;

	(void)arg;
	CHILD_CHECK(handed_decoy_open(decoy, NULL) == 0);
	CHILD_CHECK(send(decoy[0], "x", 1, 0) == 1 && recv(decoy[1], &byte, 1, 0) == 1);
	CHILD_CHECK(byte == 'x');
	return 0;
}

Test(handed, decoy_is_connected)
{
	cr_assert_eq(in_child(decoy_works, NULL), 0);
}
