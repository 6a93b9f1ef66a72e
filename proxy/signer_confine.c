/* SPDX-License-Identifier: Apache-2.0
 *
 * The signer's system calls: an allowlist in seccomp's BPF, written by hand since it is short and the
 * same for every run. Runs in: the signer, once, before it has parsed a byte of its key. Holds: nothing.
 *
 * What is not listed fails with EPERM instead of killing the process, so that the proof below can
 * try it. mmap and mprotect may not make memory executable.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proxy/signer.h"

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#else
#error "name this machine's AUDIT_ARCH here"
#endif

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARG_LOW(n) (offsetof(struct seccomp_data, args) + (n) * sizeof(uint64_t))
#else
#define ARG_LOW(n) (offsetof(struct seccomp_data, args) + (n) * sizeof(uint64_t) + 4)
#endif

#define LOAD(offset)  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(offset))
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, (value))
/* Goes on with the next instruction when equal, else passes over `skip`. */
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (skip))
#define ALLOW(call)	    UNLESS((uint32_t)(call), 1), ANSWER(SECCOMP_RET_ALLOW)
/* mmap or mprotect: their third argument has no PROT_EXEC. */
#define ALLOW_UNLESS_EXEC(call)                                        \
	UNLESS((uint32_t)(call), 4), LOAD(ARG_LOW(2)),                 \
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1), \
		ANSWER(SECCOMP_RET_ERRNO | EPERM), ANSWER(SECCOMP_RET_ALLOW)

static struct sock_filter filter[] = {
	/* Numbers mean this only on this machine's own table; x32 is part of x86-64's, with a bit of its
	 * own in the number, which then equals none of these. */
	LOAD(offsetof(struct seccomp_data, arch)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0),
	ANSWER(SECCOMP_RET_KILL_PROCESS),
	LOAD(offsetof(struct seccomp_data, nr)),
	/* the socket */
	ALLOW(__NR_recvfrom),
	ALLOW(__NR_sendto),
	/* memory */
	ALLOW(__NR_brk),
	ALLOW(__NR_munmap),
	ALLOW(__NR_mremap),
	ALLOW(__NR_madvise),
	ALLOW_UNLESS_EXEC(__NR_mmap),
	ALLOW_UNLESS_EXEC(__NR_mprotect),
	/* what libc and OpenSSL ask on the way */
	ALLOW(__NR_getrandom),
	ALLOW(__NR_clock_gettime),
	ALLOW(__NR_getpid),
	ALLOW(__NR_futex),
	ALLOW(__NR_rt_sigreturn),
	ALLOW(__NR_sigaltstack), /* AddressSanitizer's, before a call that does not return */
	ALLOW(__NR_restart_syscall),
	ALLOW(__NR_exit),
	ALLOW(__NR_exit_group),
	ANSWER(SECCOMP_RET_ERRNO | EPERM),
};

/* Neither may work; a descriptor out of them ends with the process. */
static int prove(struct err *err)
{
	if (socket(AF_UNIX, SOCK_STREAM, 0) >= 0 || errno != EPERM)
		return err_set(err, EPROTO, "signer: a socket could be made behind its filter");
	if (open("/", O_PATH | O_CLOEXEC) >= 0 || errno != EPERM)
		return err_set(err, EPROTO, "signer: a path could be opened behind its filter");
	return 0;
}

int signer_confine(struct err *err)
{
	const struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, errno, "signer: no_new_privs");
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		return err_sys(err, errno, "signer: seccomp");
	return prove(err);
}
