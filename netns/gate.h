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
 *   gate       epoll_ctl, epoll_wait, accept4, getsockname, connect, shutdown, splice, pipe2,
 *              socket(AF_INET or AF_INET6, SOCK_STREAM, 0), getsockopt(SOL_SOCKET, SO_ERROR),
 *              setsockopt(SOL_SOCKET: SO_LINGER, SO_KEEPALIVE; IPPROTO_TCP: TCP_NODELAY,
 *              TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT), fcntl(F_GETFL, F_SETFL, F_SETPIPE_SZ),
 *              sendto, recvfrom, sendmsg, recvmsg (also on its netlink socket), read, write,
 *              close, clock_gettime, exit_group, rt_sigreturn, restart_syscall; for malloc: brk,
 *              mmap (anonymous, no PROT_EXEC), mremap, munmap, madvise, getrandom, futex.
 *              Files: none. No bind, no listen, no open, no fork, no exec, no kill.
 *   resolver   Inherited by the helpers that it forks. clone (fork: SIGCHLD and CHILD_SETTID,
 *              CHILD_CLEARTID only), set_robust_list, rseq, prctl(PR_SET_PDEATHSIG), getpid, getppid,
 *              gettid, socketpair(AF_UNIX, SOCK_SEQPACKET), sendmsg, recvmsg, sendto, recvfrom,
 *              poll, ppoll, alarm, setitimer, rt_sigaction, rt_sigprocmask, rt_sigreturn, close,
 *              exit_group, clock_gettime, clock_nanosleep, restart_syscall; for getaddrinfo: socket
 *              (AF_INET, AF_INET6: SOCK_DGRAM, SOCK_STREAM; AF_UNIX: nscd, resolved, sss;
 *              AF_NETLINK: NETLINK_ROUTE), bind (netlink), connect, getsockname, getpeername,
 *              sendmmsg, setsockopt, getsockopt, ioctl(FIONREAD), openat(O_RDONLY), newfstatat,
 *              fstat, statx, access, faccessat2, readlink, lseek, read, pread64, fcntl, uname,
 *              getrandom, getuid, geteuid, getgid, getegid, futex, brk, mmap (files too, with
 *              PROT_EXEC: NSS modules are loaded), mprotect, mremap, munmap, madvise; nss-resolve
 *              and nss-sss also: epoll_create1, epoll_ctl, epoll_wait, timerfd_create,
 *              timerfd_settime, eventfd2, writev, write.
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

	/* SOCK_SEQPACKET to a proxy that may be handed sockets of the host's network (gate_handout.h);
	 * 0: none. Taken. */
	int handout_fd;

	/* 0 means the default. */
	uint32_t synthetic_base; /* host order, a /15; 198.18.0.0 */
	unsigned
		lookup_timeout_s; /* 9: one name server may be dead (5 s) before the second answers */
	unsigned connect_timeout_s; /* 20: all addresses of a name together */
};

/* Serves until the control socket closes. Returns 0 then, -errno when it cannot start or go on.
 *
 * Runs in a process of its own, forked by the launcher before any key exists, with PR_SET_PDEATHSIG
 * and PR_SET_DUMPABLE 0 set and 0–2 on /dev/null. It closes every other descriptor above 2, ignores
 * the terminal's signals, raises RLIMIT_NOFILE to the hard limit, forks the zygote of its resolver
 * helpers, confines that and itself, and only then reads the first control message. */
int gate_run(const struct gate_config *config, struct err *err) MUST_CHECK;

/* The launcher's side of control_fd. The one message: the resolver's UDP socket, then the TCP
 * listeners (at most 127). The caller keeps its own copies and should close them. gate_read_reply
 * reads the gate's answer, 0 or the gate's -errno with its sentence. */
int gate_send_sockets(int control_fd, int dns_fd, const int *listener_fds,
		      size_t listener_count) MUST_CHECK;

/* -EOWNERDEAD: none can come any more. */
int gate_read_reply(int control_fd, struct err *err) MUST_CHECK;

/* The gate's own last word when gate_run failed: read by gate_read_reply. */
void gate_send_failure(int control_fd, int rc, const struct err *err);

#endif
