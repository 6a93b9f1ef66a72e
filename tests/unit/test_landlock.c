/* SPDX-License-Identifier: Apache-2.0
 * runtime/landlock.c: each domain in a child, what is refused and what must go on working. */
#include "runtime/landlock.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "tests/lib/in_child.h"

#define NO_LANDLOCK "this kernel has no Landlock"

static int complain(const char *what, const struct err *err)
{
	fprintf(stderr, "%s: %s\n", what, err->text);
	return 1;
}

static void assert_child(int (*fn)(void *), void *arg)
{
	int rc = in_child(fn, arg);

	if (rc == IN_CHILD_SKIP)
		cr_skip_test(NO_LANDLOCK);
	cr_assert_eq(rc, 0, "child: %d (errno of the child's failure is on stderr)", rc);
}

static int opens(const char *path, int flags)
{
	cleanup_fd int fd = open(path, flags | O_CLOEXEC, 0600);

	return fd >= 0 ? 0 : errno;
}

/* Binds a loopback socket to `port` (0: any) and returns errno. */
static int binds(int type, uint16_t port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_port = htons(port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	cleanup_fd int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	return fd >= 0 && bind(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0 ? 0 : errno;
}

static int gate_child(void *arg)
{
	struct err err = { "" };
	int abi = 0, null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)arg;
	if (!landlock_abi())
		return IN_CHILD_SKIP;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (landlock_gate(&abi, &err) < 0)
		return complain("gate", &err);
	if (abi != landlock_abi())
		return 2;
	if (opens("/etc/passwd", O_RDONLY) != EACCES || opens("/tmp", O_RDONLY) != EACCES ||
	    opens("/tmp/x", O_CREAT | O_WRONLY) != EACCES ||
	    opens("/proc/self/status", O_RDONLY) != EACCES)
		return 3;
	if (abi >= 4 && binds(SOCK_STREAM, 0) != EACCES)
		return 4;
	/* What it was given goes on working, and so do sockets. */
	if (write(null_fd, "x", 1) != 1 || socket(AF_INET, SOCK_STREAM, 0) < 0)
		return 5;
	return 0;
}

Test(landlock, gate_opens_nothing_and_binds_nothing)
{
	assert_child(gate_child, NULL);
}

static int resolver_child(void *arg)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	struct err err = { "" };
	int abi = 0;

	(void)arg;
	if (!landlock_abi())
		return IN_CHILD_SKIP;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (landlock_resolver(&abi, &err) < 0)
		return complain("resolver", &err);
	if (opens("/etc/nsswitch.conf", O_RDONLY) != 0 || opens("/proc/self/status", O_RDONLY) != 0)
		return 2;
	if (opens("/tmp", O_RDONLY) != EACCES || opens("/root", O_RDONLY) != EACCES ||
	    opens("/home", O_RDONLY) != EACCES || opens("/proc/1/status", O_RDONLY) != EACCES ||
	    opens("/tmp/x", O_CREAT | O_WRONLY) != EACCES || opens("/dev/null", O_RDWR) != EACCES)
		return 3;
	if (getaddrinfo("localhost", "80", &hints, &found) != 0 || !found)
		return 4;
	freeaddrinfo(found);
	return 0;
}

Test(landlock, resolver_resolves_and_reads_no_home)
{
	assert_child(resolver_child, NULL);
}

struct agent_case {
	char work[64]; /* a folder that may be written */
	char other[64];
};

static void make_folders(struct agent_case *c)
{
	strcpy(c->work, "/tmp/bottle-ll-work-XXXXXX");
	strcpy(c->other, "/tmp/bottle-ll-other-XXXXXX");
	cr_assert(mkdtemp(c->work) && mkdtemp(c->other));
}

static void remove_folders(const struct agent_case *c)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf %s %s", c->work, c->other);
	cr_assert_eq(system(command), 0);
}

static char *in(const char *folder, const char *name)
{
	return str_printf("%s/%s", folder, name);
}

/* Files, folders, links, sockets, renames across folders, truncation: a working tree's daily life. */
static int daily_life(const char *work)
{
	char command[1024];

	snprintf(
		command, sizeof(command),
		"cd %s && mkdir a b && echo x >a/f && mv a/f b/f && ln b/f a/g && ln -s g a/h && "
		"echo y >>b/f && : >b/f && mkfifo p && rm a/h a/g && rmdir a && ls / >/dev/null && "
		"cat /etc/passwd >/dev/null && sh -c 'exit 0' && echo >/dev/null",
		work);
	return system(command);
}

static int agent_enter(const struct agent_case *c, int *ret_abi, struct err *err)
{
	int fds[] = { open(c->work, O_PATH | O_CLOEXEC), open("/dev", O_PATH | O_CLOEXEC) };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return landlock_agent(fds, 2, false, ret_abi, err);
}

static int agent_child(void *arg)
{
	const struct agent_case *c = arg;
	cleanup_free char *outside = in(c->other, "f");
	struct err err = { "" };
	int abi = 0;

	if (!landlock_abi())
		return IN_CHILD_SKIP;
	if (agent_enter(c, &abi, &err) < 0)
		return complain("agent", &err);
	if (daily_life(c->work) != 0)
		return 2;
	if (opens(outside, O_CREAT | O_WRONLY) != EACCES || mkdir(outside, 0700) == 0)
		return 3;
	if (binds(SOCK_STREAM, 0) != 0)
		return 4;
	if (abi >= 6 && kill(getppid(), 0) == 0)
		return 5;
	return 0;
}

Test(landlock, agent_writes_its_folders_only)
{
	struct agent_case c;

	make_folders(&c);
	assert_child(agent_child, &c);
	remove_folders(&c);
}

/* A terminal's ioctls (ABI 5 would refuse them on a device without the right). */
static int terminal_child(void *arg)
{
	struct winsize size = { .ws_row = 10, .ws_col = 20 };
	struct err err = { "" };
	int master, slave, abi = 0;
	char name[64];
	cleanup_fd int again = -1;

	if (!landlock_abi())
		return IN_CHILD_SKIP;
	if (openpty(&master, &slave, name, NULL, NULL) < 0)
		return 2;
	if (agent_enter(arg, &abi, &err) < 0)
		return complain("agent", &err);
	again = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return again >= 0 && ioctl(again, TIOCSWINSZ, &size) == 0 ? 0 : 3;
}

Test(landlock, agent_sets_its_terminal)
{
	struct agent_case c;

	make_folders(&c);
	assert_child(terminal_child, &c);
	remove_folders(&c);
}

static int nested_child(void *arg)
{
	const struct agent_case *c = arg;
	cleanup_free char *outside = in(c->other, "f");
	struct err err = { "" };
	int abi = 0;

	if (landlock_abi() < 6)
		return IN_CHILD_SKIP;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (landlock_agent(NULL, 0, true, &abi, &err) < 0)
		return complain("agent", &err);
	return opens(outside, O_CREAT | O_WRONLY) == 0 && kill(getppid(), 0) < 0 ? 0 : 2;
}

Test(landlock, agent_with_nested_namespaces_is_scoped_only)
{
	struct agent_case c;

	make_folders(&c);
	assert_child(nested_child, &c);
	remove_folders(&c);
}

static uint16_t free_port(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sin, &len) < 0)
		return 0;
	return ntohs(sin.sin_port);
}

static int proxy_child(void *arg)
{
	const struct agent_case *c = arg;
	cleanup_free char *outside = in(c->other, "f");
	uint16_t port = free_port();
	int fd = open(c->work, O_PATH | O_CLOEXEC), abi = 0;
	struct err err = { "" };

	if (!landlock_abi())
		return IN_CHILD_SKIP;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (landlock_proxy(&fd, 1, port, &abi, &err) < 0)
		return complain("proxy", &err);
	if (opens(outside, O_CREAT | O_WRONLY) != EACCES)
		return 2;
	if (binds(SOCK_STREAM, port) != 0)
		return 3;
	if (abi >= 4 && binds(SOCK_STREAM, (uint16_t)(port ^ 1)) != EACCES)
		return 4;
	return 0;
}

Test(landlock, proxy_binds_its_port_only)
{
	struct agent_case c;

	make_folders(&c);
	assert_child(proxy_child, &c);
	remove_folders(&c);
}

/* Scoped before the fork: the child is inside and can be killed, the parent is outside and cannot. */
static int scope_child(void *arg)
{
	struct err err = { "" };
	int abi = 0, status;
	pid_t pid;

	(void)arg;
	if (landlock_abi() < 6)
		return IN_CHILD_SKIP;
	if (kill(getppid(), 0) < 0)
		return 2;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (landlock_scope(&abi, &err) < 0)
		return complain("scope", &err);
	if (kill(getppid(), 0) == 0 || errno != EPERM)
		return 3;
	pid = fork();
	if (pid == 0) {
		if (landlock_gate(&abi, NULL) == 0)
			pause();
		_exit(0);
	}
	if (pid < 0 || kill(pid, SIGKILL) < 0 || waitpid(pid, &status, 0) != pid)
		return 4;
	return opens("/etc/passwd", O_RDONLY) == 0 ? 0 : 5;
}

Test(landlock, scope_lets_children_be_killed_and_nobody_else)
{
	assert_child(scope_child, NULL);
}

static int without_nnp_child(void *arg)
{
	struct err err = { "" };
	int abi = 0;

	(void)arg;
	if (!landlock_abi())
		return IN_CHILD_SKIP;
	if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0)
		return 2;
	return landlock_gate(&abi, &err) < 0 && abi == 0 && strstr(err.text, "Landlock") ? 0 : 3;
}

Test(landlock, without_no_new_privs_it_is_an_error)
{
	assert_child(without_nnp_child, NULL);
}
