/* SPDX-License-Identifier: Apache-2.0
 *
 * Loads the filters that runtime/gen/seccomp_gen.c compiled, and proves that they hold; see seccomp.h.
 *
 * Runs in: every process of a bottle but the launcher, last of all its losses of power. Power: none
 * is needed but no_new_privs.
 */
#include "runtime/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "seccomp_filters.h"

#define ROLE(role) (1U << (role))
#define AGENTS	   (ROLE(SECCOMP_AGENT) | ROLE(SECCOMP_AGENT_USERNS))
#define HANDED	   ROLE(SECCOMP_PROXY_HANDED)
#define PROGRAMS   (AGENTS | ROLE(SECCOMP_PROXY))
#define EVERYONE   (ROLE(SECCOMP_ROLE_COUNT) - 1)
#define OURS	   (EVERYONE & ~PROGRAMS & ~HANDED)
#define UNNESTED   (EVERYONE & ~ROLE(SECCOMP_AGENT_USERNS))

/* Calls whose errno without the filter would be another (in brackets), and which do nothing even if
 * they should get through. */
static const struct attempt {
	const char *what;
	unsigned roles;
	int want_errno;
	long number;
	long args[6];
} attempts[] = {
	{ "keyctl", EVERYONE, EPERM, SYS_keyctl, { -1 } },		     /* [EOPNOTSUPP] */
	{ "bpf", EVERYONE, EPERM, SYS_bpf, { -1, 0, 0 } },		     /* [EINVAL] */
	{ "userfaultfd", EVERYONE, EPERM, SYS_userfaultfd, { -1 } },	     /* [EINVAL] */
	{ "io_uring_setup", EVERYONE, EPERM, SYS_io_uring_setup, { 0, 0 } }, /* [EFAULT] */
	{ "unshare", UNNESTED, EPERM, SYS_unshare, { 0 } },   /* [works, as a no-op] */
	{ "setns", UNNESTED, EPERM, SYS_setns, { -1, 0 } },   /* [EBADF] */
	{ "clone3", UNNESTED, ENOSYS, SYS_clone3, { 0, 0 } }, /* [EINVAL] */
	/* [EINVAL: these two flags exclude each other, so no process is made] */
	{ "clone with a user namespace", UNNESTED, EPERM, SYS_clone, { CLONE_NEWUSER | CLONE_FS } },
	{ "a terminal's input, by a command with high bits set",
	  PROGRAMS,
	  EPERM,
	  SYS_ioctl,
	  { -1, (long)((UINT64_C(1) << 32) | TIOCSTI) } }, /* [EBADF] */
	/* [EPERM, or works] */
	{ "a packet socket",
	  PROGRAMS | ROLE(SECCOMP_GATE) | ROLE(SECCOMP_RESOLVER),
	  EAFNOSUPPORT,
	  SYS_socket,
	  { AF_PACKET, SOCK_DGRAM, 0 } },
	/* [works] */
	{ "a netlink socket for device events",
	  PROGRAMS | ROLE(SECCOMP_RESOLVER),
	  EPERM,
	  SYS_socket,
	  { AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT } },
	{ "a socket",
	  ROLE(SECCOMP_REAPER) | ROLE(SECCOMP_RELAY) | HANDED,
	  EPERM,
	  SYS_socket,
	  { AF_INET, SOCK_STREAM, 0 } },		    /* [works] */
	{ "execve", OURS, EPERM, SYS_execve, { 0, 0, 0 } }, /* [EFAULT] */
	{ "ptrace",
	  OURS | ROLE(SECCOMP_PROXY) | HANDED,
	  EPERM,
	  SYS_ptrace,
	  { -1, 0 } }, /* [ESRCH] */
	{ "openat",
	  OURS & ~ROLE(SECCOMP_RESOLVER),
	  EPERM,
	  SYS_openat,
	  { -1, 0, 0 } }, /* [EFAULT] */
	{ "opening to write",
	  ROLE(SECCOMP_RESOLVER),
	  EACCES,
	  SYS_openat,
	  { -1, 0, O_WRONLY } }, /* [EFAULT] */
	{ "kill",
	  ROLE(SECCOMP_GATE) | ROLE(SECCOMP_RESOLVER) | ROLE(SECCOMP_RELAY),
	  EPERM,
	  SYS_kill,
	  { INT32_MAX, 0 } },							   /* [ESRCH] */
	{ "a set-user-ID bit", AGENTS, EPERM, SYS_fchmod, { -1, S_ISUID } },	   /* [EBADF] */
	{ "a set-group-ID bit", AGENTS, EPERM, SYS_fchmodat, { -1, 0, S_ISGID } }, /* [EFAULT] */
	{ "openat2", PROGRAMS | HANDED, ENOSYS, SYS_openat2, { -1, 0, 0, 0 } },	   /* [EINVAL] */
	{ "a limit of pid 1", AGENTS, EPERM, SYS_prlimit64, { 1, -1, 1, 0 } },	   /* [EFAULT] */
	/* A socket of the host's led elsewhere [EBADF each]; runtime/handed.c tries it on a real one. */
	{ "connect", HANDED, EPERM, SYS_connect, { -1, 0, 0 } },
	{ "bind", HANDED, EPERM, SYS_bind, { -1, 0, 0 } },
	{ "listen", HANDED, EPERM, SYS_listen, { -1, 0 } },
	{ "sendmsg", HANDED, EPERM, SYS_sendmsg, { -1, 0, 0 } },
	{ "sendmmsg", HANDED, EPERM, SYS_sendmmsg, { -1, 0, 0, 0 } },
	{ "sendto with an address", HANDED, EPERM, SYS_sendto, { -1, 0, 0, 0, 1, 1 } },
	{ "sendto with MSG_FASTOPEN", HANDED, EPERM, SYS_sendto, { -1, 0, 0, MSG_FASTOPEN } },
	{ "a descriptor of another process", HANDED, EPERM, SYS_pidfd_getfd, { -1, 0, 0 } },
	/* And what such a proxy lives by. */
	{ "sendto", HANDED, EBADF, SYS_sendto, { -1, 0, 0, 0 } },
	{ "recvmsg", HANDED, EBADF, SYS_recvmsg, { -1, 0, 0 } },
	{ "accept4", HANDED, EBADF, SYS_accept4, { -1, 0, 0, 0 } },
	{ "shutdown", HANDED, EBADF, SYS_shutdown, { -1, 0 } },
	{ "TCP_NODELAY", HANDED, EBADF, SYS_setsockopt, { -1, IPPROTO_TCP, TCP_NODELAY, 0, 0 } },
	/* And what must still work: a bad descriptor is looked at, not refused unseen. */
	{ "write", EVERYONE, EBADF, SYS_write, { -1, 0, 0 } },
};

static const char *const role_names[] = {
	[SECCOMP_AGENT] = "agent",
	[SECCOMP_AGENT_USERNS] = "agent with namespaces",
	[SECCOMP_PROXY_HANDED] = "proxy with handed sockets",
	[SECCOMP_PROXY] = "proxy",
	[SECCOMP_GATE] = "gate",
	[SECCOMP_RESOLVER] = "resolver",
	[SECCOMP_RELAY] = "relay",
	[SECCOMP_INIT] = "init",
	[SECCOMP_REAPER] = "reaper",
};
_Static_assert(sizeof(role_names) / sizeof(role_names[0]) == SECCOMP_ROLE_COUNT, "one name each");
_Static_assert(sizeof(seccomp_filters) / sizeof(seccomp_filters[0]) == SECCOMP_ROLE_COUNT,
	       "one filter each");

int seccomp_load(enum seccomp_role role, struct err *err)
{
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &seccomp_filters[role]) < 0)
		return err_sys(err, errno, "cannot install the system-call filter of the %s",
			       role_names[role]);
	return 0;
}

static int prove_one(enum seccomp_role role, const struct attempt *a, struct err *err)
{
	long rc;

	errno = 0;
	rc = syscall(a->number, a->args[0], a->args[1], a->args[2], a->args[3], a->args[4],
		     a->args[5]);
	if (rc >= 0)
		return err_set(err, EPROTO, "the system-call filter of the %s lets %s through",
			       role_names[role], a->what);
	if (errno != a->want_errno)
		return err_set(
			err, EPROTO,
			"the system-call filter of the %s does not hold: %s gave errno %d, not %d",
			role_names[role], a->what, errno, a->want_errno);
	return 0;
}

int seccomp_prove(enum seccomp_role role, struct err *err)
{
	if (getpid() <= 0)
		return err_set(err, EPROTO, "the system-call filter of the %s refuses everything",
			       role_names[role]);
	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++)
		if (attempts[i].roles & ROLE(role))
			TRY(prove_one(role, &attempts[i], err));
	return 0;
}
