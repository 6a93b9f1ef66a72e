/* SPDX-License-Identifier: Apache-2.0
 * runtime/seccomp.c and seccomp_rules.h: each role in a child of its own, calls that must work, calls
 * that must be refused and with which errno. Runs as any user. */
#include "runtime/seccomp.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "seccomp_probe.h"
#include "tests/lib/in_child.h"

/* Refused for every program, foreign ABIs included. */
static const struct probe for_every_program[] = {
	IS(keyctl, EPERM, 0, 0, 0),
	IS(add_key, EPERM, 0, 0, 0),
	IS(request_key, EPERM, 0, 0, 0),
	IS(bpf, EPERM, 0, 0, 0),
	IS(io_uring_setup, EPERM, 1, 0),
	IS(io_uring_enter, EPERM, -1),
	IS(io_uring_register, EPERM, -1),
	IS(userfaultfd, EPERM, 1),
	IS(perf_event_open, EPERM, 0, 0, -1, -1, 0),
	IS(vmsplice, EPERM, -1),
	IS(fanotify_init, EPERM, 0),
	IS(open_by_handle_at, EPERM, -1),
	IS(kexec_load, EPERM, 0),
	IS(init_module, EPERM, 0),
	IS(reboot, EPERM, 0),
	IS(swapon, EPERM, 0),
	IS(acct, EPERM, 0),
	IS(quotactl, EPERM, 0),
	IS(settimeofday, EPERM, 0),
	IS(syslog, EPERM, 3, 0, 0),
	IS(lookup_dcookie, EPERM, 0),
	{ "a call of the future", ENOSYS, 1000, { 0 } },
	IS(socket, EAFNOSUPPORT, AF_VSOCK, SOCK_STREAM, 0),
	IS(socket, EAFNOSUPPORT, AF_ALG, SOCK_SEQPACKET, 0),
	IS(socket, EAFNOSUPPORT, AF_PACKET, SOCK_RAW, 0),
	IS(socket, EAFNOSUPPORT, AF_PACKET, SOCK_DGRAM, 0),
	IS(socket, EAFNOSUPPORT, AF_KEY, SOCK_RAW, 2),
	IS(socket, EAFNOSUPPORT, AF_AX25, SOCK_DGRAM, 0),
	IS(socket, EAFNOSUPPORT, AF_CAN, SOCK_RAW, 1),
	IS(socket, EAFNOSUPPORT, AF_TIPC, SOCK_STREAM, 0),
	IS(socket, EAFNOSUPPORT, AF_XDP, SOCK_RAW, 0),
	IS(socket, EAFNOSUPPORT, 1000, SOCK_RAW, 0),
	IS(socket, EAFNOSUPPORT, HIGH | AF_VSOCK, SOCK_STREAM, 0),
	IS(socket, EAFNOSUPPORT, HIGH | AF_APPLETALK, SOCK_DGRAM, 0),
	IS(socket, EPERM, AF_INET, SOCK_RAW, IPPROTO_ICMP),
	IS(socket, EPERM, AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP),
	IS(socket, EPERM, AF_INET, HIGH | SOCK_RAW, IPPROTO_ICMP),
	IS(socket, EPERM, AF_INET6, SOCK_RAW, IPPROTO_ICMPV6),
	IS(socket, EPERM, AF_INET, SOCK_PACKET, 0),
	IS(socket, EPROTONOSUPPORT, AF_INET, SOCK_STREAM, IPPROTO_SCTP),
	IS(socket, EPROTONOSUPPORT, AF_INET, SOCK_SEQPACKET, IPPROTO_SCTP),
	IS(socket, EPROTONOSUPPORT, AF_INET, SOCK_DCCP, IPPROTO_DCCP),
	IS(socket, EPROTONOSUPPORT, AF_INET6, SOCK_DGRAM, IPPROTO_UDPLITE),
	IS(socket, EPROTONOSUPPORT, AF_INET, SOCK_STREAM, IPPROTO_MPTCP),
	IS(socket, EPERM, AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT),
	IS(socket, EPERM, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER),
	IS(socket, EPERM, AF_NETLINK, SOCK_DGRAM, NETLINK_GENERIC),
	IS(socketpair, EAFNOSUPPORT, AF_TIPC, SOCK_STREAM, 0, 0),
	IS(ioctl, EPERM, 0, TIOCSTI, 0),
	IS(ioctl, EPERM, 0, HIGH | TIOCSTI, 0),
	IS(ioctl, EPERM, 0, (long)(UINT64_C(0xdeadbeef) << 32 | TIOCSTI), 0),
	IS(ioctl, EPERM, 0, HIGH | TIOCLINUX, 0),
#ifdef __x86_64__
	{ "x32 getpid", ENOSYS, X32(SYS_getpid), { 0 } },
	{ "x32 ioctl", ENOSYS, X32(514), { 0, TIOCSTI, 0 } },
	{ "x32 execve", ENOSYS, X32(520), { 0 } },
	{ "x32 ptrace", ENOSYS, X32(521), { 0 } },
	{ "x32 keyctl", ENOSYS, X32(SYS_keyctl), { 0 } },
#endif
};

static const struct probe no_namespaces[] = {
	IS(unshare, EPERM, 0), IS(unshare, EPERM, CLONE_NEWUSER), IS(setns, EPERM, -1, 0),
	IS(clone3, ENOSYS, 0, 0), IS(mount, EPERM, 0, 0, 0, 0, 0), IS(umount2, EPERM, 0, 0),
	IS(pivot_root, EPERM, 0, 0), IS(chroot, EPERM, 0), IS(fsopen, EPERM, 0, 0),
	IS(fsmount, EPERM, -1, 0), IS(open_tree, EPERM, -1, 0, 0), IS(move_mount, EPERM, -1),
	IS(mount_setattr, EPERM, -1), IS(sethostname, EPERM, 0, 0),
	/* None of these could become a process: NEWUSER and FS, NEWNS and FS exclude each other, and so
	 * do THREAD without SIGHAND and the rest. */
	IS(clone, EPERM, CLONE_NEWUSER | CLONE_FS),
	IS(clone, EPERM, HIGH | CLONE_NEWUSER | CLONE_FS), IS(clone, EPERM, CLONE_NEWNS | CLONE_FS),
	IS(clone, EPERM, CLONE_NEWPID | CLONE_THREAD),
	IS(clone, EPERM, CLONE_NEWNET | CLONE_THREAD),
	IS(clone, EPERM, CLONE_NEWIPC | CLONE_THREAD),
	IS(clone, EPERM, CLONE_NEWUTS | CLONE_THREAD),
	IS(clone, EPERM, CLONE_NEWCGROUP | CLONE_THREAD),
	IS(clone, EINVAL, CLONE_THREAD), /* no namespace: the kernel's own answer */
};

static const struct probe program_works[] = {
	IS(socket, OK, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
	IS(socket, OK, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0),
	IS(socket, OK, AF_INET, SOCK_DGRAM, IPPROTO_UDP),
	IS(socket, OK, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE),
	IS(ioctl, EBADF, -1, TCGETS, 0),
	IS(ioctl, EBADF, -1, (long)0xffffffff80045430, 0), /* a sign-extended command, as musl's */
	IS(openat, ENOENT, AT_FDCWD, (long)"/nonexistent", O_RDONLY),
	IS(mmap, OK, 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1),
	IS(execve, EFAULT, 1, 0, 0),
	IS(kill, ESRCH, INT32_MAX, 0),
};

/* The bits that would make others of the host the caller, by every call that takes a mode; and the
 * agent's reaper. Harmless without the filter: bad descriptors, bad pointers, bad priorities. */
static const struct probe no_identity_bits[] = {
	IS(chmod, EPERM, 0, 04755),
	IS(chmod, EPERM, 0, 02755),
	IS(chmod, EPERM, 0, HIGH | 04000),
	IS(chmod, EFAULT, 0, 01777),
	IS(fchmod, EPERM, -1, 04000),
	IS(fchmod, EPERM, -1, 02000),
	IS(fchmod, EPERM, -1, 06755),
	IS(fchmod, EPERM, -1, 0104755), /* with the file's type, as st_mode has it */
	IS(fchmod, EBADF, -1, 01777),
	IS(fchmodat, EPERM, -1, 0, 04711),
	IS(fchmodat, EPERM, -1, 0, 02711),
	IS(fchmodat, EFAULT, -1, 0, 0711),
	{ "fchmodat2", ENOSYS, 452, { -1, 0, 04711, 0 } },
	IS(creat, EPERM, 0, 04755),
	IS(creat, EPERM, 0, 02755),
	IS(creat, EFAULT, 0, 0755),
	IS(mknod, EPERM, 0, S_IFREG | 04755, 0),
	IS(mknod, EPERM, 0, S_IFREG | 02755, 0),
	IS(mknod, EFAULT, 0, S_IFREG | 0755, 0),
	IS(mknodat, EPERM, -1, 0, S_IFREG | 04755, 0),
	IS(mknodat, EPERM, -1, 0, S_IFREG | 02755, 0),
	IS(mknodat, EFAULT, -1, 0, S_IFIFO | 0755, 0),
	IS(open, EPERM, 0, O_CREAT | O_WRONLY, 04755),
	IS(open, EPERM, 0, O_CREAT | O_EXCL | O_RDWR, 02755),
	IS(open, EPERM, 0, O_TMPFILE | O_RDWR, 04755),
	IS(open, EFAULT, 0, O_CREAT | O_WRONLY, 0755),
	IS(open, EFAULT, 0, O_DIRECTORY, 06755), /* makes nothing: the mode is noise */
	IS(openat, EPERM, -1, 0, O_CREAT | O_WRONLY, 04755),
	IS(openat, EPERM, -1, 0, HIGH | O_CREAT, HIGH | 02755),
	IS(openat, EPERM, -1, 0, O_TMPFILE | O_RDWR, 02755),
	IS(openat, EFAULT, -1, 0, O_CREAT | O_WRONLY, 0755),
	IS(openat, EFAULT, -1, 0, O_RDONLY, 06755),
	IS(openat2, ENOSYS, -1, 0, 0, 0),
	IS(mkdir, EFAULT, 0, 06755), /* the kernel takes neither bit here */
};

static const struct probe not_the_reaper[] = {
	IS(prlimit64, EPERM, 1, RLIMIT_CPU, 1, 0),
	IS(prlimit64, EPERM, HIGH | 1, RLIMIT_CPU, HIGH, 0),
	IS(prlimit64, OK, 0, RLIMIT_CPU, 0, 0),
	IS(prlimit64, EFAULT, 0, RLIMIT_CPU, 1, 0),
	IS(sched_setscheduler, EPERM, 1, 0, 0),
	IS(sched_setscheduler, EPERM, HIGH | 1, 0, 0),
	IS(sched_setscheduler, EINVAL, 0, 0, 0),
	IS(sched_setparam, EPERM, 1, 0),
	IS(sched_setattr, EPERM, 1, 0, 0),
	IS(sched_setaffinity, EPERM, 1, 0, 0),
	IS(sched_setaffinity, EINVAL, 0, 0, 0),
	IS(setpriority, EPERM, PRIO_PROCESS, 1, 19),
	IS(setpriority, EPERM, PRIO_PGRP, 1, 19),
	IS(setpriority, EPERM, PRIO_USER, 0, 0),
	IS(setpriority, ESRCH, PRIO_PROCESS, INT32_MAX, 0),
	IS(setpriority, OK, PRIO_PROCESS, 0, 19),
	IS(ioprio_set, EPERM, 1, 1, 0),
	IS(ioprio_set, EPERM, 2, 1, 0),
	IS(ioprio_set, EPERM, 3, 0, 0),
	IS(ioprio_set, ESRCH, 1, INT32_MAX, 0),
	IS(setpgid, EPERM, 0, 1),
	IS(setpgid, EPERM, 0, HIGH | 1),
	IS(setpgid, ESRCH, INT32_MAX, 0),
};

static int agent_child(void *arg)
{
	static const struct probe developer[] = {
		IS(ptrace, ESRCH, PTRACE_ATTACH, INT32_MAX, 0, 0),
		IS(process_vm_readv, ANY, INT32_MAX, 0, 0, 0, 0, 0),
		IS(personality, OK, 0xffffffff),
		IS(personality, OK, ADDR_NO_RANDOMIZE),
		IS(personality, OK, PER_LINUX),
		IS(personality, ENOSYS, READ_IMPLIES_EXEC),
		IS(personality, ENOSYS, MMAP_PAGE_ZERO),
		IS(memfd_create, OK, (long)"x", 1),
		IS(inotify_init1, OK, 0),
		IS(landlock_create_ruleset, ANY, 0, 0, 1),
		IS(seccomp, EINVAL, 99, 0, 0),
	};

	(void)arg;
	return load(SECCOMP_AGENT) | PROBE(for_every_program) | PROBE(no_namespaces) |
	       PROBE(program_works) | PROBE(developer) | PROBE(no_identity_bits) |
	       PROBE(not_the_reaper);
}

Test(seccomp, agent)
{
	cr_assert_eq(in_child(agent_child, NULL), 0);
}

static int agent_userns_child(void *arg)
{
	static const struct probe nested[] = {
		IS(unshare, OK, 0),
		IS(setns, EBADF, -1, 0),
		IS(clone3, EINVAL, 0, 0),
		IS(clone, EINVAL, CLONE_NEWUSER | CLONE_FS),
		IS(mount, ANY, 1, 1, 1, 0, 0),
	};

	(void)arg;
	return load(SECCOMP_AGENT_USERNS) | PROBE(for_every_program) | PROBE(program_works) |
	       PROBE(nested) | PROBE(no_identity_bits) | PROBE(not_the_reaper);
}

Test(seccomp, agent_with_namespaces)
{
	cr_assert_eq(in_child(agent_userns_child, NULL), 0);
}

static int proxy_child(void *arg)
{
	static const struct probe narrower[] = {
		IS(ptrace, EPERM, PTRACE_ATTACH, INT32_MAX, 0, 0),
		IS(process_vm_readv, EPERM, INT32_MAX),
		IS(pidfd_getfd, EPERM, -1),
		IS(personality, ENOSYS, 0),
		IS(seccomp, ENOSYS, 99, 0, 0),
	};

	(void)arg;
	return load(SECCOMP_PROXY) | PROBE(for_every_program) | PROBE(no_namespaces) |
	       PROBE(program_works) | PROBE(narrower);
}

Test(seccomp, proxy)
{
	cr_assert_eq(in_child(proxy_child, NULL), 0);
}

/* What none of our own processes may do any more. */
static const struct probe for_ours[] = {
	IS(execve, EPERM, 0, 0, 0),
	IS(execveat, EPERM, -1),
	IS(clone3, ENOSYS, 0, 0),
	IS(ptrace, EPERM, 0, 0, 0, 0),
	IS(unshare, EPERM, 0),
	IS(setns, EPERM, -1, 0),
	IS(mount, EPERM, 0, 0, 0, 0, 0),
	IS(keyctl, EPERM, 0),
	IS(bpf, EPERM, 0),
	IS(io_uring_setup, EPERM, 1, 0),
	IS(listen, EPERM, -1, 1),
	IS(setresuid, EPERM, 0, 0, 0),
	IS(unlink, EPERM, (long)"/nonexistent"),
	IS(mkdir, EPERM, (long)"/nonexistent/x", 0700),
	IS(process_vm_readv, EPERM, INT32_MAX),
	IS(ioctl, ENOSYS, 0, TIOCSTI, 0),
	IS(ioctl, ENOSYS, 0, HIGH | TIOCSTI, 0),
	IS(prctl, ENOSYS, PR_SET_DUMPABLE, 1),
	IS(prctl, OK, PR_SET_NAME, (long)"x"),
	IS(getpid, OK, 0),
	IS(read, EBADF, -1, 0, 0),
};

static const struct probe no_new_code[] = {
	IS(mmap, EPERM, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1),
	IS(mprotect, EPERM, 0, 4096, PROT_EXEC),
	IS(mmap, OK, 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1),
	IS(openat, EPERM, AT_FDCWD, (long)"/etc/passwd", O_RDONLY),
};

static int gate_child(void *arg)
{
	static const struct probe gate[] = {
		IS(socket, OK, AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
		IS(socket, EAFNOSUPPORT, AF_UNIX, SOCK_STREAM, 0),
		IS(socket, EAFNOSUPPORT, AF_NETLINK, SOCK_RAW, 0),
		IS(socket, EAFNOSUPPORT, AF_PACKET, SOCK_RAW, 0),
		IS(socket, EPERM, AF_INET, SOCK_RAW, 1),
		IS(connect, EBADF, -1, 0, 0),
		IS(accept4, EBADF, -1, 0, 0, 0),
		IS(splice, EBADF, -1, 0, -1, 0, 1, 0),
		IS(epoll_create1, OK, 0),
		IS(timerfd_create, OK, CLOCK_MONOTONIC, 0),
		IS(bind, EPERM, -1, 0, 0),
		IS(clone, EPERM, SIGCHLD | CLONE_THREAD),
		IS(setsockopt, EPERM, -1, SOL_SOCKET, SO_ATTACH_FILTER, 0, 0),
		IS(setsockopt, EPERM, -1, HIGH | SOL_SOCKET, HIGH | SO_ATTACH_BPF, 0, 0),
		IS(setsockopt, EPERM, -1, 6, 31, 0, 0),
		IS(setsockopt, EBADF, -1, SOL_SOCKET, SO_KEEPALIVE, 0, 0),
		IS(kill, EPERM, INT32_MAX, 0),
		IS(prlimit64, EPERM, 0, RLIMIT_CORE, 1, 0),
		IS(prlimit64, OK, 0, RLIMIT_CORE, 0, 0),
		IS(fcntl, EPERM, 0, F_SETOWN, 1),
		IS(fcntl, EPERM, 0, HIGH | F_SETOWN, 1),
		IS(fcntl, OK, 0, F_GETFD, 0),
	};

	(void)arg;
	return load(SECCOMP_GATE) | PROBE(for_ours) | PROBE(no_new_code) | PROBE(gate);
}

Test(seccomp, gate)
{
	cr_assert_eq(in_child(gate_child, NULL), 0);
}

static int resolver_child(void *arg)
{
	static const struct probe resolver[] = {
		IS(openat, OK, AT_FDCWD, (long)"/etc/passwd", O_RDONLY | O_CLOEXEC),
		IS(openat, EACCES, AT_FDCWD, (long)"/dev/null", O_WRONLY),
		IS(openat, EACCES, AT_FDCWD, (long)"/dev/null", O_RDWR),
		IS(openat, EACCES, AT_FDCWD, (long)"/dev/null", HIGH | O_WRONLY),
		IS(openat, EACCES, AT_FDCWD, (long)"/dev/null", O_RDONLY | O_TRUNC),
		IS(openat, EACCES, AT_FDCWD, (long)"/nonexistent", O_RDONLY | O_CREAT, 0600),
		IS(openat, EACCES, AT_FDCWD, (long)"/tmp", O_TMPFILE | O_RDWR, 0600),
		IS(openat2, ENOSYS, AT_FDCWD, 0, 0, 0),
		IS(socket, OK, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
		IS(socket, OK, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE),
		IS(socket, EPERM, AF_NETLINK, SOCK_RAW, NETLINK_AUDIT),
		IS(sendmmsg, EBADF, -1, 0, 0, 0),
		IS(mmap, OK, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1),
		IS(kill, EPERM, INT32_MAX, 0),
		IS(clone, EINVAL, CLONE_THREAD),
		IS(clone, EPERM, CLONE_NEWUSER | CLONE_FS),
		IS(alarm, OK, 0),
	};

	(void)arg;
	return load(SECCOMP_RESOLVER) | PROBE(for_ours) | PROBE(resolver);
}

Test(seccomp, resolver)
{
	cr_assert_eq(in_child(resolver_child, NULL), 0);
}

static int relay_child(void *arg)
{
	static const struct probe relay[] = {
		IS(socket, EPERM, AF_INET, SOCK_STREAM, 0),
		IS(connect, EPERM, -1, 0, 0),
		IS(sendto, EBADF, -1, 0, 0, 0, 0, 0),
		IS(sendto, EPERM, -1, 0, 0, 0, 1, 16),
		IS(sendto, EPERM, -1, 0, 0, 0, HIGH, 16),
		IS(sendmsg, EPERM, -1, 0, 0),
		IS(splice, EBADF, -1, 0, -1, 0, 1, 0),
		IS(ioctl, EBADF, -1, TCSETSW, 0),
		IS(ioctl, EBADF, -1, TIOCGWINSZ, 0),
		IS(ioctl, EBADF, -1, TIOCSWINSZ, 0),
		IS(ioctl, EBADF, -1, FIONREAD, 0),
		IS(ioctl, ENOSYS, -1, TIOCSCTTY, 0),
		IS(kill, EPERM, INT32_MAX, 0),
	};

	(void)arg;
	return load(SECCOMP_RELAY) | PROBE(for_ours) | PROBE(no_new_code) | PROBE(relay);
}

Test(seccomp, relay)
{
	cr_assert_eq(in_child(relay_child, NULL), 0);
}

static const struct probe supervisor[] = {
	IS(kill, ESRCH, INT32_MAX, 0),
	IS(wait4, ECHILD, -1, 0, WNOHANG, 0),
	IS(waitid, ECHILD, P_ALL, 0, 0, WEXITED | WNOHANG, 0),
	IS(sendmsg, EBADF, -1, 0, 0),
	IS(recvmsg, EBADF, -1, 0, 0),
	IS(signalfd4, EINVAL, -1, 0, 0, 0),
	IS(pidfd_open, EINVAL, -1, 0),
};

static int init_child(void *arg)
{
	static const struct probe init[] = {
		IS(socket, OK, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
		IS(socket, EAFNOSUPPORT, AF_UNIX, SOCK_STREAM, 0),
		IS(connect, EBADF, -1, 0, 0),
		IS(bind, EPERM, -1, 0, 0),
		IS(clone, EPERM, SIGCHLD | CLONE_THREAD),
	};

	(void)arg;
	return load(SECCOMP_INIT) | PROBE(for_ours) | PROBE(no_new_code) | PROBE(supervisor) |
	       PROBE(init);
}

Test(seccomp, init)
{
	cr_assert_eq(in_child(init_child, NULL), 0);
}

static int reaper_child(void *arg)
{
	static const struct probe terminal[] = {
		IS(socket, EPERM, AF_INET, SOCK_STREAM, 0),
		IS(connect, EPERM, -1, 0, 0),
		IS(clone, EPERM, SIGCHLD | CLONE_THREAD),
		IS(ioctl, EBADF, -1, TIOCSPGRP, 0),
		IS(ioctl, EBADF, -1, TIOCGPGRP, 0),
		IS(ioctl, EBADF, -1, HIGH | TIOCGPGRP, 0),
	};

	(void)arg;
	return load(SECCOMP_REAPER) | PROBE(for_ours) | PROBE(no_new_code) | PROBE(supervisor) |
	       PROBE(terminal);
}

Test(seccomp, reaper)
{
	cr_assert_eq(in_child(reaper_child, NULL), 0);
}

#ifdef __x86_64__
/* The i386 table has its own numbers: 20 is getpid there and writev here. */
static int i386_child(void *arg)
{
	long rc;

	(void)arg;
	if (load(SECCOMP_AGENT))
		return 1;
	__asm__ volatile("int $0x80" : "=a"(rc) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
	if (rc == -ENOSYS)
		return 0;
	fprintf(stderr, "getpid by int 0x80 gave %ld\n", rc);
	return 1;
}

Test(seccomp, i386_is_refused)
{
	int rc = in_child(i386_child, NULL);

	if (rc == 128 + SIGSEGV)
		cr_skip_test("this kernel has no i386 emulation: int 0x80 is a fault");
	cr_assert_eq(rc, 0);
}
#endif

static void *thread_main(void *arg)
{
	return arg;
}

/* fork, threads, exec and pipes as libc makes them: with clone3 refused, clone is taken. */
static int libc_child(void *arg)
{
	void *answer = NULL;
	pthread_t thread;
	int status;
	pid_t pid;

	(void)arg;
	if (load(SECCOMP_AGENT))
		return 1;
	if (pthread_create(&thread, NULL, thread_main, (void *)42L) ||
	    pthread_join(thread, &answer) || answer != (void *)42L)
		return 2;
	pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", "echo x | cat >/dev/null && exec true", (char *)NULL);
		_exit(99);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		return 3;
	return system("true") == 0 ? 0 : 4;
}

Test(seccomp, libc_threads_and_processes_work)
{
	cr_assert_eq(in_child(libc_child, NULL), 0);
}

static int without_nnp_child(void *arg)
{
	struct err err = { "" };
	int rc;

	(void)arg;
	if (geteuid() == 0)
		return IN_CHILD_SKIP;
	rc = seccomp_load(SECCOMP_AGENT, &err);
	return rc == -EACCES && strstr(err.text, "agent") ? 0 : 1;
}

Test(seccomp, load_without_no_new_privs_is_an_error)
{
	int rc = in_child(without_nnp_child, NULL);

	if (rc == IN_CHILD_SKIP)
		cr_skip_test("root may load a filter without no_new_privs");
	cr_assert_eq(rc, 0);
}

/* A proof that passes without the filter proves nothing. */
static int unfiltered_child(void *arg)
{
	for (int role = 0; role < SECCOMP_ROLE_COUNT; role++)
		if (seccomp_prove((enum seccomp_role)role, NULL) != -EPROTO)
			return 1 + role;
	(void)arg;
	return 0;
}

Test(seccomp, the_proof_fails_without_a_filter)
{
	cr_assert_eq(in_child(unfiltered_child, NULL), 0);
}
