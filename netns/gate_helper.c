/* SPDX-License-Identifier: Apache-2.0
 *
 * The zygote and the resolver helpers; see gate_helper.h. Runs in: processes of their own, below the
 * gate. Hold: one socket each, the host's network, reading what NSS needs. Never have: the gate's
 * other sockets, the routes, the audit log.
 *
 * A lookup that hangs is ended by SIGALRM's default action: the gate needs no right to kill, and no
 * process is left behind to be waited for. The zygote ignores SIGCHLD, so the kernel reaps.
 */
#include "netns/gate_helper.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <resolv.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

enum { IDLE_MS = 30 * 1000 };

/* True for a name that the host's search list may not complete. The route says "api.example.com";
 * without this a missing name would be tried as "api.example.com.<search domain>" as well, which is
 * another name. A name of one label exists only through the search list. */
static bool is_absolute(const char *name)
{
	return strchr(name, '.') != NULL;
}

static void take_addresses(const struct addrinfo *list, struct gate_answer *answer)
{
	for (const struct addrinfo *ai = list; ai && answer->count < GATE_ANSWER_MAX;
	     ai = ai->ai_next) {
		struct address ip;
		bool is_new = address_from_sockaddr(ai->ai_addr, &ip);

		for (uint32_t i = 0; i < answer->count && is_new; i++)
			is_new = !address_equal(&ip, &answer->ips[i]);
		if (is_new)
			answer->ips[answer->count++] = ip;
	}
}

/* The host's resolver configuration as it is now (a VPN may have come up), with the search list only
 * where it may count. From scratch each time: res_init(3) alone keeps changed options as "the
 * application's", and glibc then takes an unchanged copy of them for its own and reloads over it. */
static void configure(const char *name)
{
	res_nclose(&_res);
	_res.options = 0;
	if (res_init() == 0 && is_absolute(name))
		_res.options &= ~(unsigned long)(RES_DNSRCH | RES_DEFNAMES);
}

static void resolve(const char *name, struct gate_answer *answer)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
	struct addrinfo *list = NULL;

	configure(name);
	*answer = (struct gate_answer){ .gai_code = getaddrinfo(name, NULL, &hints, &list) };
	if (answer->gai_code)
		return;
	take_addresses(list, answer);
	freeaddrinfo(list);
	if (!answer->count)
		answer->gai_code = EAI_NONAME;
}

static _Noreturn void helper_main(int gate_fd, unsigned timeout_s)
{
	struct pollfd pfd = { .fd = gate_fd, .events = POLLIN };
	struct gate_answer answer;
	char name[GATE_NAME_BYTES];

	while (poll(&pfd, 1, IDLE_MS) > 0) {
		ssize_t n = recv(gate_fd, name, sizeof(name) - 1, 0);

		if (n <= 0)
			break;
		name[n] = '\0';
		alarm(timeout_s);
		resolve(name, &answer);
		alarm(0);
		if (send(gate_fd, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(0);
}

/* A child that outlived its parent in the moment before the prctl must see it. */
static void die_with(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
}

/* Forks one helper and hands its socket up. A failure is answered by the byte alone. */
static int spawn(int gate_fd, unsigned timeout_s)
{
	cleanup_fd int ours = -1, theirs = -1;
	pid_t zygote = getpid(), pid;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return fd_send(gate_fd, "", 1, NULL, 0);
	ours = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid == 0) {
		die_with(zygote);
		close(gate_fd);
		close(ours);
		signal(SIGCHLD, SIG_DFL);
		helper_main(theirs, timeout_s);
	}
	return fd_send(gate_fd, "", 1, &ours, pid > 0 ? 1 : 0);
}

static void default_signals(void)
{
	sigset_t blocked;

	/* Only the alarm clock: what is sent to the launcher's whole process group (a terminal's keys,
	 * timeout(1)) is for the launcher, which ends the gate and so us. */
	sigfillset(&blocked);
	sigdelset(&blocked, SIGALRM);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
	signal(SIGALRM, SIG_DFL);
	signal(SIGCHLD, SIG_IGN);
}

static _Noreturn void zygote_main(int gate_fd, int (*confine)(struct err *err), unsigned timeout_s)
{
	struct gate_zygote_hello hello = { .code = 0 };
	char byte;

	default_signals();
	hello.code = fd_close_except(&gate_fd, 1);
	if (hello.code == 0 && confine)
		hello.code = confine(&hello.err);
	if (fd_send(gate_fd, &hello, sizeof(hello), NULL, 0) < 0 || hello.code < 0)
		_exit(1);
	while (recv(gate_fd, &byte, 1, 0) == 1)
		if (spawn(gate_fd, timeout_s) < 0)
			break;
	_exit(0);
}

int gate_zygote_start(int (*confine)(struct err *err), unsigned timeout_s, int *ret_fd,
		      struct err *err)
{
	cleanup_fd int ours = -1, theirs = -1;
	pid_t gate = getpid(), pid;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "gate: socketpair for the resolver");
	ours = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid < 0)
		return err_fork(err, errno, "gate: fork of the resolver");
	if (pid == 0) {
		die_with(gate);
		zygote_main(theirs, confine, timeout_s);
	}
	*ret_fd = take_fd(&ours);
	return 0;
}
