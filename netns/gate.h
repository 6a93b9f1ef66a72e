/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate: the only process of a bottle that stands in the host's network. It serves sockets that
 * were made inside the egress namespace: a resolver that knows the routed names only and answers
 * with synthetic addresses (198.18.0.0/15), and listeners whose accepted connections it relays to
 * the name behind the address, if that (name, port) is on a route. docs/gate.md has the theory, the
 * table of refusals and the audit events.
 *
 * Holds: the pairs below, its sockets, relayed bytes. Never has: tokens, the CA key, a writable file.
 */
#ifndef NETNS_GATE_H
#define NETNS_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct gate_target {
	const char
		*host; /* exact name, "*.suffix" or IP literal; any case, a final dot is ignored */
	uint16_t port;
	bool allow_private;
	const char *address;   /* IP literal to dial in place of resolving, or NULL */
	uint16_t address_port; /* 0: same port */
};

/* Gives up power; each returns 0 or -errno and proves its loss. Supplied by runtime/, which owns
 * seccomp and Landlock; NULL in unit tests. What is still needed afterwards, exactly:
 *
 *   gate       System calls: epoll_ctl, epoll_wait, accept4, getsockname, connect,
 *              socket(AF_INET|AF_INET6, SOCK_STREAM, 0 only), setsockopt (SOL_SOCKET SO_LINGER and
 *              SO_KEEPALIVE; IPPROTO_TCP TCP_NODELAY, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT;
 *              IPPROTO_IPV6 IPV6_V6ONLY is not among them), getsockopt(SOL_SOCKET, SO_ERROR),
 *              shutdown, splice, pipe2, fcntl(F_SETPIPE_SZ, F_SETFL, F_GETFL), sendto, recvfrom,
 *              sendmsg, recvmsg, read, write, close, clock_gettime, brk, mmap(PROT_READ|PROT_WRITE,
 *              anonymous), mremap, munmap, madvise, futex, rt_sigprocmask, rt_sigreturn, exit,
 *              exit_group, restart_syscall. Files: none. No fork, no exec, no kill.
 *   resolver   Inherited by the helpers it forks. The gate's reads and writes and: clone, clone3,
 *              fork-side set_robust_list and rseq, prctl(PR_SET_PDEATHSIG), getppid, getpid, gettid,
 *              socketpair(AF_UNIX), setitimer, alarm, rt_sigaction, poll, ppoll; for getaddrinfo:
 *              socket(AF_INET|AF_INET6, SOCK_DGRAM or SOCK_STREAM; AF_UNIX for nscd, resolved, sss;
 *              AF_NETLINK, NETLINK_ROUTE), bind (netlink only), connect, getsockname, getpeername,
 *              sendto, sendmmsg, recvfrom, recvmsg, setsockopt, getsockopt, ioctl(FIONREAD),
 *              openat(O_RDONLY), newfstatat, fstat, statx, access, readlink, lseek, pread64, mmap
 *              (file, also PROT_EXEC: NSS modules are loaded), mprotect, uname, getrandom, getuid,
 *              geteuid, getgid, getegid, epoll_create1, timerfd_create, timerfd_settime (nss-resolve).
 *              Files, all for reading: /etc (resolv.conf, hosts, host.conf, gai.conf, nsswitch.conf,
 *              services, ld.so.cache), what /etc/resolv.conf points to (/run/systemd/resolve,
 *              /run/NetworkManager, /run/resolvconf, /run/connman, /mnt/wsl), /usr/lib, /lib, /lib64
 *              and /nix/store (NSS modules), and the unix sockets /run/nscd/socket,
 *              /run/systemd/resolve/io.systemd.Resolve, /run/dbus/system_bus_socket,
 *              /var/lib/sss/pipes, /run/avahi-daemon/socket.
 */
struct gate_confine {
	int (*gate)(struct err *err);	  /* the loop: no file opens, no exec, no fork */
	int (*resolver)(struct err *err); /* the zygote of the getaddrinfo helpers */
};

struct gate_config {
	const struct gate_target *targets; /* borrowed until gate_run has copied them */
	size_t target_count;
	int control_fd; /* SOCK_SEQPACKET to the launcher; see gate_send_sockets. EOF ends the gate */
	int audit_fd;	/* JSON lines, one write(2) each; made non-blocking. A pipe or a file */
	const char *run_id;
	struct gate_confine confine;

	/* 0 means the default. */
	uint32_t synthetic_base; /* host order, a /15; 198.18.0.0 */
	unsigned
		lookup_timeout_s; /* 9: one name server may be dead (5 s) before the second answers */
	unsigned connect_timeout_s; /* 20: all addresses of a name together */
};

/* Serves until the control socket closes. Returns 0 then, -errno when it cannot start or go on.
 *
 * Runs in a process of its own, forked by the launcher before any key exists, with PR_SET_PDEATHSIG
 * set and 0–2 on /dev/null. It ignores the terminal's signals, raises RLIMIT_NOFILE to the hard
 * limit, forks the zygote of its resolver helpers, confines that and itself, and only then reads the
 * first control message. */
int gate_run(const struct gate_config *config, struct err *err) MUST_CHECK;

/* The launcher's side of control_fd. Each sends one message; gate_read_reply reads the gate's answer
 * to it, 0 or the gate's -errno with its sentence. Who does not care need not read it.
 *
 * The first message: the resolver's UDP socket, then the TCP listeners (at most 127). The caller
 * keeps its own copies and should close them. */
int gate_send_sockets(int control_fd, int dns_fd, const int *listener_fds,
		      size_t listener_count) MUST_CHECK;

/* Puts a new table in force. Established connections stay, names keep their synthetic address;
 * listeners for ports that are new come along. A table that does not parse leaves the old one. */
int gate_send_targets(int control_fd, const struct gate_target *targets, size_t target_count,
		      const int *listener_fds, size_t listener_count) MUST_CHECK;

int gate_read_reply(int control_fd, struct err *err) MUST_CHECK;

/* The gate's own last word when gate_run failed: read by gate_read_reply. */
void gate_send_failure(int control_fd, int rc, const struct err *err);

#endif
