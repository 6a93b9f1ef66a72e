/* SPDX-License-Identifier: Apache-2.0
 *
 * The system calls each role may make, as tables. Read by runtime/gen/seccomp_gen.c when bottle is
 * built; nothing of this is in the program but the filters that come of it.
 *
 * A role's filter is made of two, joined so that the stricter verdict counts, since libseccomp
 * cannot say "all but these arguments" in an allowlist:
 *
 *   allow    default ENOSYS; its groups of names and its argument rules are allowed, and the names in
 *            `known_bad` that no group of the role names get EPERM
 *   refuse   default allowed; argument rules with an errno each
 *
 * Numbers are compared as the kernel sees them: an `int` or `unsigned int` argument is masked to its
 * low 32 bits (ioctl(fd, 1<<32 | TIOCSTI) is TIOCSTI, CVE-2019-7303), or compared so that stray high
 * bits are refused. Names stand in strings, parted
 * by blanks. A name that this architecture or this libseccomp does not know is passed over: the
 * call then has the default, ENOSYS. What clone3 and openat2 are asked for lies in memory that a
 * filter cannot read: they are ENOSYS, so that libc and libraries take clone and openat.
 */
#ifndef RUNTIME_SECCOMP_RULES_H
#define RUNTIME_SECCOMP_RULES_H

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "runtime/seccomp_role.h"

#define LOW32 UINT64_C(0xffffffff)

enum { TCP_LEVEL = 6 }; /* SOL_TCP */

/* ------------------------------------------------------------------ names, grouped by purpose */

/* What libc itself and any event loop over descriptors it holds needs. */
static const char calls_basic[] =
	"arch_prctl brk clock_getres clock_gettime clock_nanosleep close close_range dup "
	"dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait "
	"eventfd eventfd2 exit exit_group fcntl fstat futex get_robust_list getcpu getegid "
	"geteuid getgid getgroups getpgid getpgrp getpid getppid getpriority getrandom "
	"getresgid getresuid getrlimit getrusage getsid gettid gettimeofday getuid lseek "
	"madvise membarrier mincore mmap mprotect mremap msync munmap nanosleep pause pipe "
	"pipe2 poll ppoll pread64 preadv preadv2 prlimit64 pselect6 pwrite64 pwritev "
	"pwritev2 read readv restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask "
	"rt_sigreturn rt_sigsuspend rt_sigtimedwait sched_getaffinity sched_getparam "
	"sched_getscheduler sched_yield select set_robust_list set_tid_address sigaltstack "
	"signalfd signalfd4 sysinfo time timerfd_create timerfd_gettime timerfd_settime "
	"times uname write writev ";

/* Looking at and reading files. */
static const char calls_read_files[] =
	"access chdir faccessat faccessat2 fadvise64 fchdir fstatfs getcwd getdents "
	"getdents64 lstat newfstatat open openat readahead readlink readlinkat stat statfs "
	"statx ";

static const char calls_write_files[] =
	"chmod chown copy_file_range creat fallocate fchmod fchmodat fchown fchownat "
	"fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fsync ftruncate "
	"futimesat getxattr lchown lgetxattr link linkat listxattr llistxattr lremovexattr "
	"lsetxattr mkdir mkdirat mknod mknodat removexattr rename renameat "
	"renameat2 rmdir setxattr symlink symlinkat sync sync_file_range syncfs truncate "
	"umask unlink unlinkat utime utimensat utimes ";

/* Sockets; `socket` and `socketpair` by the refusals below. */
static const char calls_sockets[] =
	"accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom "
	"recvmmsg recvmsg sendmmsg sendmsg sendto setsockopt shutdown socket socketpair ";

/* Processes and threads; `clone` by the refusals below. */
static const char calls_processes[] =
	"alarm capget clone execve execveat fork getitimer ioprio_get kill pidfd_open "
	"pidfd_send_signal prctl rt_sigqueueinfo rt_tgsigqueueinfo sched_get_priority_max "
	"sched_get_priority_min sched_getattr sched_rr_get_interval sched_setaffinity "
	"setitimer setpgid setpriority setrlimit setsid tgkill timer_create timer_delete "
	"timer_getoverrun timer_gettime timer_settime tkill vfork wait4 waitid ";

/* The rest of what a developer's tools are seen to use: debuggers, runtimes, System V and POSIX IPC
 * (in the agent's own ipc namespace), asynchronous I/O of old, memory keys. */
static const char calls_developer[] =
	"capset futex_waitv get_thread_area inotify_add_watch inotify_init inotify_init1 "
	"inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_setup "
	"io_submit ioctl ioprio_set kcmp landlock_add_rule landlock_create_ruleset "
	"landlock_restrict_self memfd_create memfd_secret mlock mlock2 mlockall "
	"mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl "
	"msgget msgrcv msgsnd munlock munlockall name_to_handle_at pidfd_getfd pkey_alloc "
	"pkey_free pkey_mprotect process_madvise process_mrelease process_vm_readv "
	"process_vm_writev ptrace sched_setattr sched_setparam "
	"sched_setscheduler seccomp semctl semget semop semtimedop sendfile set_thread_area "
	"setfsgid setfsuid setgid setgroups setregid setresgid setresuid setreuid setuid "
	"shmat shmctl shmdt shmget splice tee ";

/* Nested namespaces and the mounts inside them, where the manifest asked for it. */
static const char calls_namespaces[] =
	"chroot clone3 fsconfig fsmount fsopen fspick mount mount_setattr move_mount "
	"open_tree pivot_root setdomainname sethostname setns umount2 unshare ";

/* An interpreter that serves TCP: threads, subprocesses at start, event loop. */
static const char calls_interpreter[] =
	"capget inotify_add_watch inotify_init1 inotify_rm_watch ioctl memfd_create mlock "
	"munlock sendfile splice ";

/* A proxy that is handed its listener and its connections. It makes one pair of unix sockets, for a
 * process of its own; it may not send a descriptor, for sendmsg's arguments lie in memory that a filter
 * cannot read, the address of a datagram among them. `sendto` by the refusals, `setsockopt` by the
 * allowances below. It is executed behind this. */
static const char calls_handed[] =
	"accept accept4 clone execve fork getpeername getsockname getsockopt kill "
	"mlock mlock2 munlock pidfd_open prctl recvfrom recvmsg seccomp sendto setrlimit "
	"shutdown socketpair splice tgkill umask wait4 waitid ";

/* The gate's loop: dials, accepts, relays. The listeners were made elsewhere and handed to it. */
static const char calls_gate[] =
	"accept accept4 connect getpeername getsockname getsockopt recvfrom recvmmsg "
	"recvmsg sendmmsg sendmsg sendto setsockopt shutdown socket socketpair splice tee "
	"wait4 waitid ";

/* Name resolution. The zygote of the helpers is confined by the same filter, so a plain fork stays
 * possible; each helper ends itself by an alarm. sendmmsg and recvfrom are glibc's, bind is for
 * netlink, the rest are NSS modules'. */
static const char calls_resolver[] =
	"alarm bind clone connect flock fork getpeername getsockname getsockopt getxattr "
	"lgetxattr recvfrom recvmmsg recvmsg sendmmsg sendmsg sendto setitimer setsockopt "
	"shutdown socket socketpair umask vfork wait4 waitid ";

/* `sendto` by the refusals below: a stream that it was given may be a socket of the host's. */
static const char calls_relay[] = "recvfrom recvmsg sendto splice ";

/* Owners of other processes, after their setup. */
static const char calls_supervisor[] =
	"kill pidfd_open pidfd_send_signal recvfrom recvmsg sendmsg sendto setpgid tgkill "
	"wait4 waitid ";

/* init looks whether the proxy's port accepts; it stands in the egress namespace, where nothing but the
 * proxy and the gate's listeners can be reached. */
static const char calls_init[] = "connect socket ";

/* Refused by name: EPERM says "known, and no" (ENOSYS would say "perhaps another way"). */
static const char known_bad[] =
	/* more privilege for whoever finds the next bug in them */
	"add_key bpf fanotify_init fanotify_mark io_uring_enter io_uring_register "
	"io_uring_setup keyctl lookup_dcookie move_pages open_by_handle_at perf_event_open "
	"request_key userfaultfd vmsplice "
	/* the machine's, not a process's */
	"_sysctl acct adjtimex clock_adjtime clock_settime create_module delete_module "
	"finit_module get_kernel_syms modify_ldt init_module ioperm iopl kexec_file_load "
	"kexec_load "
	"nfsservctl query_module quotactl quotactl_fd reboot settimeofday stime swapoff "
	"swapon sysfs syslog uselib vhangup vm86 vm86old "
	/* namespaces, mounts, roots (a role that may is named above) */
	"chroot fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree "
	"pivot_root setdomainname sethostname setns umount umount2 unshare "
	/* other processes, and new ones; clone3 is not here, see above */
	"capset clone execve execveat fork kcmp kill pidfd_getfd pidfd_open "
	"pidfd_send_signal process_madvise process_vm_readv process_vm_writev ptrace "
	"rt_sigqueueinfo rt_tgsigqueueinfo setgid setgroups setregid setresgid setresuid "
	"setreuid setuid tgkill tkill vfork "
	/* files and sockets, for those that hold all that they need; openat2 is not here, see above */
	"accept accept4 bind chmod chown connect creat fchmod fchmodat fchown fchownat "
	"lchown link linkat listen mkdir mkdirat mknod mknodat open openat rename "
	"renameat renameat2 rmdir sendmmsg sendmsg socket socketpair symlink symlinkat "
	"truncate unlink unlinkat ";

/* -------------------------------------------------------------------------- argument rules */

struct arg_rule {
	const char *call;
	struct scmp_arg_cmp args[2]; /* both must hold; the second may be absent (count 1) */
	unsigned arg_count;
	int error; /* refusals: the errno; allowances: 0 */
};

#define ARG_EQ32(n, value)                              \
	{                                               \
		(n), SCMP_CMP_MASKED_EQ, LOW32, (value) \
	}
#define ARG_BITS(n, mask, v)                         \
	{                                            \
		(n), SCMP_CMP_MASKED_EQ, (mask), (v) \
	}
#define ARG_NOT(n, value)                    \
	{                                    \
		(n), SCMP_CMP_NE, (value), 0 \
	}
#define ARG_ABOVE(n, value)                  \
	{                                    \
		(n), SCMP_CMP_GT, (value), 0 \
	}
#define IF(call_, error_, ...)                                                              \
	{                                                                                   \
		.call = (call_), .args = { __VA_ARGS__ }, .arg_count = 1, .error = (error_) \
	}
#define IF_BOTH(call_, error_, ...)                                                         \
	{                                                                                   \
		.call = (call_), .args = { __VA_ARGS__ }, .arg_count = 2, .error = (error_) \
	}
#define RULES_END            \
	{                    \
		.call = NULL \
	}

/* Keys pushed into a terminal's input (TIOCSTI; TIOCLINUX pastes on a console). */
static const struct arg_rule refuse_terminal_input[] = {
	IF("ioctl", EPERM, ARG_EQ32(1, TIOCSTI)),
	IF("ioctl", EPERM, ARG_EQ32(1, TIOCLINUX)),
	RULES_END,
};

/* One rule for each flag: any of them is refused, whatever stands beside it. (CLONE_NEWTIME shares its
 * bit with the exit signal here, and exists only for clone3 and unshare.) */
static const struct arg_rule refuse_clone_namespaces[] = {
	IF("clone", EPERM, ARG_BITS(0, CLONE_NEWNS, CLONE_NEWNS)),
	IF("clone", EPERM, ARG_BITS(0, CLONE_NEWCGROUP, CLONE_NEWCGROUP)),
	IF("clone", EPERM, ARG_BITS(0, CLONE_NEWUTS, CLONE_NEWUTS)),
	IF("clone", EPERM, ARG_BITS(0, CLONE_NEWIPC, CLONE_NEWIPC)),
	IF("clone", EPERM, ARG_BITS(0, CLONE_NEWUSER, CLONE_NEWUSER)),
	IF("clone", EPERM, ARG_BITS(0, CLONE_NEWPID, CLONE_NEWPID)),
	IF("clone", EPERM, ARG_BITS(0, CLONE_NEWNET, CLONE_NEWNET)),
	RULES_END,
};

/* A program of the caller's with the set-user-ID bit, left in the work folder, would make any other
 * user of the host the caller; with the set-group-ID bit, a member of the caller's groups. So neither
 * bit can be set, on folders neither, since a mode says not what it is for; a folder inherits it as
 * ever, the kernel doing it. mkdir takes neither bit. Newer libcs' fchmodat2 is ENOSYS, and they fall
 * back. The mode of an open counts only where it makes a file. */
#define MAKES_FILE    O_CREAT
#define MAKES_UNNAMED (O_TMPFILE & ~O_DIRECTORY)
#define NO_MODE_BIT(bit)                                                            \
	IF("chmod", EPERM, ARG_BITS(1, (bit), (bit))),                              \
		IF("fchmod", EPERM, ARG_BITS(1, (bit), (bit))),                     \
		IF("fchmodat", EPERM, ARG_BITS(2, (bit), (bit))),                   \
		IF("creat", EPERM, ARG_BITS(1, (bit), (bit))),                      \
		IF("mknod", EPERM, ARG_BITS(1, (bit), (bit))),                      \
		IF("mknodat", EPERM, ARG_BITS(2, (bit), (bit))),                    \
		IF_BOTH("open", EPERM, ARG_BITS(1, MAKES_FILE, MAKES_FILE),         \
			ARG_BITS(2, (bit), (bit))),                                 \
		IF_BOTH("open", EPERM, ARG_BITS(1, MAKES_UNNAMED, MAKES_UNNAMED),   \
			ARG_BITS(2, (bit), (bit))),                                 \
		IF_BOTH("openat", EPERM, ARG_BITS(2, MAKES_FILE, MAKES_FILE),       \
			ARG_BITS(3, (bit), (bit))),                                 \
		IF_BOTH("openat", EPERM, ARG_BITS(2, MAKES_UNNAMED, MAKES_UNNAMED), \
			ARG_BITS(3, (bit), (bit)))

static const struct arg_rule refuse_identity_bits[] = {
	NO_MODE_BIT(S_ISUID),
	NO_MODE_BIT(S_ISGID),
	RULES_END,
};

/* Under the caller's uid the agent's reaper, pid 1 there, is of the same user, and these calls ask for
 * no more than that. Its memory and descriptors need PR_SET_DUMPABLE. By user they would reach it
 * too; by its process group, which whoever is in its session could enter. */
enum { REAPER_PID = 1, IOPRIO_USER = 3 /* of <linux/ioprio.h> */ };
#define NOT_THE_REAPER(call) IF(call, EPERM, ARG_EQ32(0, REAPER_PID))
static const struct arg_rule refuse_the_reaper[] = {
	NOT_THE_REAPER("sched_setaffinity"),
	NOT_THE_REAPER("sched_setattr"),
	NOT_THE_REAPER("sched_setparam"),
	NOT_THE_REAPER("sched_setscheduler"),
	IF_BOTH("prlimit64", EPERM, ARG_EQ32(0, REAPER_PID), ARG_NOT(2, 0)),
	IF("setpriority", EPERM, ARG_EQ32(1, REAPER_PID)),
	IF("setpriority", EPERM, ARG_EQ32(0, PRIO_USER)),
	IF("ioprio_set", EPERM, ARG_EQ32(1, REAPER_PID)),
	IF("ioprio_set", EPERM, ARG_EQ32(0, IOPRIO_USER)),
	IF("setpgid", EPERM, ARG_EQ32(1, REAPER_PID)),
	RULES_END,
};

/* Left are AF_UNIX 1, AF_INET 2, AF_INET6 10 and AF_NETLINK 16 (routes only: getaddrinfo and ip ask it),
 * streams and datagrams, over TCP, UDP and ICMP echo. Each other protocol is a module that a socket
 * would load. AF_UNSPEC 0 is no family; the kernel refuses it. */
enum { LAST_GOOD_FAMILY = AF_NETLINK, FIRST_PROTOCOL_ABOVE_ICMPV6 = 58, PROTOCOL_DCCP = 33 };
#define NO_FAMILY(family) IF("socket", EAFNOSUPPORT, ARG_EQ32(0, (family)))
#define FOR_INET(error, rule)                                 \
	IF_BOTH("socket", error, ARG_EQ32(0, AF_INET), rule), \
		IF_BOTH("socket", error, ARG_EQ32(0, AF_INET6), rule)

static const struct arg_rule refuse_sockets[] = {
	NO_FAMILY(AF_AX25),
	NO_FAMILY(AF_IPX),
	NO_FAMILY(AF_APPLETALK),
	NO_FAMILY(AF_NETROM),
	NO_FAMILY(AF_BRIDGE),
	NO_FAMILY(AF_ATMPVC),
	NO_FAMILY(AF_X25),
	NO_FAMILY(AF_ROSE),
	NO_FAMILY(AF_DECnet),
	NO_FAMILY(AF_NETBEUI),
	NO_FAMILY(AF_SECURITY),
	NO_FAMILY(AF_KEY),
	IF("socket", EAFNOSUPPORT, ARG_ABOVE(0, LAST_GOOD_FAMILY)),
	FOR_INET(EPERM, ARG_BITS(1, 0xf, SOCK_RAW)),
	FOR_INET(EPERM, ARG_BITS(1, 0xf, SOCK_PACKET)),
	FOR_INET(EPROTONOSUPPORT, ARG_EQ32(2, PROTOCOL_DCCP)),
	FOR_INET(EPROTONOSUPPORT, ARG_ABOVE(2, FIRST_PROTOCOL_ABOVE_ICMPV6)),
	IF("socketpair", EAFNOSUPPORT, ARG_NOT(0, AF_UNIX)),
	RULES_END,
};

static const struct arg_rule refuse_netlink_but_routes[] = {
	IF_BOTH("socket", EPERM, ARG_EQ32(0, AF_NETLINK), ARG_NOT(2, NETLINK_ROUTE)),
	RULES_END,
};

/* Where files may only be read: no access mode but O_RDONLY, nothing made, nothing cut. */
#define READ_ONLY_OPEN(call, n)                                              \
	IF(call, EACCES, ARG_BITS(n, O_ACCMODE, O_WRONLY)),                  \
		IF(call, EACCES, ARG_BITS(n, O_ACCMODE, O_RDWR)),            \
		IF(call, EACCES, ARG_BITS(n, O_ACCMODE, O_WRONLY | O_RDWR)), \
		IF(call, EACCES, ARG_BITS(n, O_CREAT, O_CREAT)),             \
		IF(call, EACCES, ARG_BITS(n, O_TRUNC, O_TRUNC))

static const struct arg_rule refuse_writing_opens[] = {
	READ_ONLY_OPEN("open", 1),
	READ_ONLY_OPEN("openat", 2),
	RULES_END,
};

/* A process of ours that loads no code makes no memory executable. */
static const struct arg_rule refuse_new_code[] = {
	IF("mmap", EPERM, ARG_BITS(2, PROT_EXEC, PROT_EXEC)),
	IF("mprotect", EPERM, ARG_BITS(2, PROT_EXEC, PROT_EXEC)),
	RULES_END,
};

/* Another process's limits (prlimit with a new value), and being signalled through a descriptor's
 * owner, which would turn a socket into a kill. */
static const struct arg_rule refuse_reaching_others[] = {
	IF("prlimit64", EPERM, ARG_NOT(2, 0)),
	IF("fcntl", EPERM, ARG_EQ32(1, F_SETOWN)),
	IF("fcntl", EPERM, ARG_EQ32(1, F_SETOWN_EX)),
	IF("fcntl", EPERM, ARG_EQ32(1, F_SETSIG)),
	RULES_END,
};

/* A datagram's own destination. */
static const struct arg_rule refuse_send_addresses[] = {
	IF("sendto", EPERM, ARG_NOT(4, 0)),
	RULES_END,
};

/* A connection begun by sending on it. */
static const struct arg_rule refuse_fast_open[] = {
	IF("sendto", EPERM, ARG_BITS(3, MSG_FASTOPEN, MSG_FASTOPEN)),
	RULES_END,
};

/* The gate's sockets are TCP and UDP; its listeners and unix sockets were handed to it. */
static const struct arg_rule refuse_gate_families[] = {
	IF("socket", EAFNOSUPPORT, ARG_EQ32(0, AF_UNIX)),
	IF("socket", EAFNOSUPPORT, ARG_EQ32(0, AF_NETLINK)),
	RULES_END,
};

/* What tunes a connection and cannot lead it elsewhere: no device, no route, no mark, no protocol on top. */
#define TUNES(level, name) IF_BOTH("setsockopt", 0, ARG_EQ32(1, (level)), ARG_EQ32(2, (name)))
static const struct arg_rule allow_tuning[] = {
	TUNES(SOL_SOCKET, SO_KEEPALIVE),     TUNES(SOL_SOCKET, SO_LINGER),
	TUNES(SOL_SOCKET, SO_RCVBUF),	     TUNES(SOL_SOCKET, SO_SNDBUF),
	TUNES(SOL_SOCKET, SO_RCVLOWAT),	     TUNES(TCP_LEVEL, TCP_NODELAY),
	TUNES(TCP_LEVEL, TCP_CORK),	     TUNES(TCP_LEVEL, TCP_QUICKACK),
	TUNES(TCP_LEVEL, TCP_KEEPIDLE),	     TUNES(TCP_LEVEL, TCP_KEEPINTVL),
	TUNES(TCP_LEVEL, TCP_KEEPCNT),	     TUNES(TCP_LEVEL, TCP_USER_TIMEOUT),
	TUNES(TCP_LEVEL, TCP_NOTSENT_LOWAT), RULES_END,
};

/* Programs run by the kernel on a socket's packets, and protocols stacked on it (TCP_ULP loads modules). */
enum { TCP_ULP_OPTION = 31 };
#define OPTION(level, name) IF_BOTH("setsockopt", EPERM, ARG_EQ32(1, (level)), ARG_EQ32(2, (name)))
static const struct arg_rule refuse_socket_programs[] = {
	OPTION(SOL_SOCKET, SO_ATTACH_FILTER),
	OPTION(SOL_SOCKET, SO_ATTACH_BPF),
	OPTION(SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF),
	OPTION(SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF),
	OPTION(TCP_LEVEL, TCP_ULP_OPTION),
	RULES_END,
};

/* setarch -R and gdb switch the address randomisation off; PER_LINUX32 and UNAME26 are harmless. */
#define PERSONALITY(value) IF("personality", 0, ARG_EQ32(0, (value)))
static const struct arg_rule allow_personality[] = {
	PERSONALITY(PER_LINUX),
	PERSONALITY(PER_LINUX32),
	PERSONALITY(UNAME26),
	PERSONALITY(UNAME26 | PER_LINUX32),
	PERSONALITY(ADDR_NO_RANDOMIZE),
	PERSONALITY(ADDR_NO_RANDOMIZE | PER_LINUX32),
	PERSONALITY(LOW32), /* asks for the present one */
	RULES_END,
};

#define PRCTL(option) IF("prctl", 0, ARG_EQ32(0, (option)))
static const struct arg_rule allow_prctl_harmless[] = {
	PRCTL(PR_GET_DUMPABLE),	    PRCTL(PR_GET_NAME),
	PRCTL(PR_GET_NO_NEW_PRIVS), PRCTL(PR_GET_PDEATHSIG),
	PRCTL(PR_GET_SECCOMP),	    PRCTL(PR_SET_NAME),
	PRCTL(PR_SET_PDEATHSIG),    PRCTL(PR_SET_VMA),
	PRCTL(PR_CAPBSET_READ),	    RULES_END,
};

#define IOCTL(command) IF("ioctl", 0, ARG_EQ32(1, (command)))
static const struct arg_rule allow_ioctl_queue[] = {
	IOCTL(FIONREAD),
	IOCTL(FIONBIO),
	IOCTL(TCGETS),
	RULES_END,
};

/* Interface names of scoped addresses (fe80::1%eth0) and the interface list. */
static const struct arg_rule allow_ioctl_interfaces[] = {
	IOCTL(SIOCGIFNAME), IOCTL(SIOCGIFINDEX), IOCTL(SIOCGIFCONF), IOCTL(SIOCGIFFLAGS), RULES_END,
};

/* The commands that newer C libraries use carry a struct that <sys/ioctl.h> does not have. */
#define TERMIOS2(direction, number) _IOC(direction, 'T', number, 44)
static const struct arg_rule allow_ioctl_terminal[] = {
	IOCTL(TERMIOS2(_IOC_READ, 0x2a)),
	IOCTL(TERMIOS2(_IOC_WRITE, 0x2b)),
	IOCTL(TERMIOS2(_IOC_WRITE, 0x2c)),
	IOCTL(TERMIOS2(_IOC_WRITE, 0x2d)),
	IOCTL(TCSETS),
	IOCTL(TCSETSW),
	IOCTL(TCSETSF),
	IOCTL(TIOCGWINSZ),
	IOCTL(TIOCSWINSZ),
	IOCTL(TIOCGPGRP),
	RULES_END,
};

static const struct arg_rule allow_ioctl_foreground[] = {
	IOCTL(TIOCSPGRP), IOCTL(TIOCGPGRP), IOCTL(TIOCSCTTY), IOCTL(TIOCNOTTY), RULES_END,
};

/* -------------------------------------------------------------------------------- the roles */

enum { ROLE_MAX_TABLES = 8 };

struct role_rules {
	const char *calls[ROLE_MAX_TABLES];
	const struct arg_rule *allow[ROLE_MAX_TABLES];
	const struct arg_rule *refuse[ROLE_MAX_TABLES];
};

static const struct role_rules role_rules[] = {
	[SECCOMP_AGENT] = {
		.calls = { calls_basic, calls_read_files, calls_write_files, calls_sockets,
			   calls_processes, calls_developer },
		.allow = { allow_personality },
		.refuse = { refuse_terminal_input, refuse_clone_namespaces, refuse_sockets,
			    refuse_netlink_but_routes, refuse_identity_bits, refuse_the_reaper },
	},
	[SECCOMP_AGENT_USERNS] = {
		.calls = { calls_basic, calls_read_files, calls_write_files, calls_sockets,
			   calls_processes, calls_developer, calls_namespaces },
		.allow = { allow_personality },
		.refuse = { refuse_terminal_input, refuse_sockets, refuse_netlink_but_routes,
			    refuse_identity_bits, refuse_the_reaper },
	},
	[SECCOMP_PROXY] = {
		.calls = { calls_basic, calls_read_files, calls_write_files, calls_sockets,
			   calls_processes, calls_interpreter },
		.refuse = { refuse_terminal_input, refuse_clone_namespaces, refuse_sockets,
			    refuse_netlink_but_routes },
	},
	[SECCOMP_PROXY_HANDED] = {
		.calls = { calls_basic, calls_read_files, calls_handed },
		.allow = { allow_tuning, allow_ioctl_queue },
		.refuse = { refuse_clone_namespaces, refuse_sockets, refuse_send_addresses,
			    refuse_fast_open },
	},
	[SECCOMP_GATE] = {
		.calls = { calls_basic, calls_gate },
		.allow = { allow_prctl_harmless, allow_ioctl_queue },
		.refuse = { refuse_sockets, refuse_gate_families, refuse_socket_programs,
			    refuse_new_code, refuse_reaching_others },
	},
	[SECCOMP_RESOLVER] = {
		.calls = { calls_basic, calls_read_files, calls_resolver },
		.allow = { allow_prctl_harmless, allow_ioctl_queue, allow_ioctl_interfaces },
		.refuse = { refuse_sockets, refuse_netlink_but_routes, refuse_clone_namespaces,
			    refuse_writing_opens, refuse_reaching_others },
	},
	[SECCOMP_RELAY] = {
		.calls = { calls_basic, calls_relay },
		.allow = { allow_prctl_harmless, allow_ioctl_queue, allow_ioctl_terminal },
		.refuse = { refuse_send_addresses, refuse_new_code, refuse_reaching_others },
	},
	[SECCOMP_INIT] = {
		.calls = { calls_basic, calls_supervisor, calls_init },
		.allow = { allow_prctl_harmless, allow_ioctl_queue },
		.refuse = { refuse_sockets, refuse_gate_families, refuse_socket_programs,
			    refuse_send_addresses, refuse_new_code },
	},
	[SECCOMP_REAPER] = {
		.calls = { calls_basic, calls_supervisor },
		.allow = { allow_prctl_harmless, allow_ioctl_queue, allow_ioctl_terminal,
			   allow_ioctl_foreground },
		.refuse = { refuse_send_addresses, refuse_new_code },
	},
};
_Static_assert(sizeof(role_rules) / sizeof(role_rules[0]) == SECCOMP_ROLE_COUNT,
	       "one set of rules for each role");

#endif
