/* SPDX-License-Identifier: Apache-2.0
 * Secrets: the environment block no longer shows a token, no child inherits it, and after the wipe
 * the parent's memory holds none either. The block is the one the kernel made, so this program
 * executes itself with a role in argv[1] and an environment of the test's making. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "runtime/secrets.h"
#include "tests/lib/in_child.h"

#define CHECK(expr)                                                                \
	do {                                                                       \
		if (!(expr)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #expr); \
			return 1;                                                  \
		}                                                                  \
	} while (0)

/* The token, masked: in clear it would be found in this program's own constants. */
enum { MASK = 0x5a, TOKEN_LEN = 24, IN_MAPPING = 1 };

static const unsigned char masked_token[TOKEN_LEN] = {
	0x3d, 0x32, 0x2a, 0x05, 0x6b, 0x68, 0x69, 0x6e, 0x6f, 0x6c, 0x6d, 0x62,
	0x1b, 0x18, 0x19, 0x1e, 0x1f, 0x1c, 0x1d, 0x12, 0x10, 0x11, 0x16, 0x17,
};

static void put_token(char *out)
{
	for (int i = 0; i < TOKEN_LEN; i++)
		out[i] = (char)(masked_token[i] ^ MASK);
}

/* ---- looking for it in all of the memory ---- */

static size_t count_in(const volatile unsigned char *from, const volatile unsigned char *to)
{
	size_t hits = 0;

	for (; from + TOKEN_LEN <= to; from++) {
		int i = 0;

		while (i < TOKEN_LEN && (from[i] ^ MASK) == masked_token[i])
			i++;
		hits += i == TOKEN_LEN;
	}
	return hits;
}

/* Counts it in every readable mapping, without ever copying memory. */
static int count_in_memory(void)
{
	static char maps[256 * 1024];
	cleanup_fd int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	size_t len = 0, hits = 0;
	ssize_t n;

	while ((n = read(fd, maps + len, sizeof(maps) - 1 - len)) > 0)
		len += (size_t)n;
	maps[len] = '\0';
	for (char *line = maps, *end; (end = strchr(line, '\n')); line = end + 1) {
		unsigned long from, to;
		char rights[5];

		*end = '\0';
		if (sscanf(line, "%lx-%lx %4s", &from, &to, rights) == 3 && rights[0] == 'r' &&
		    !strstr(line, "[v"))
			hits += count_in((void *)from, (void *)to);
	}
	return (int)hits;
}

static bool environ_file_has(const char *text)
{
	static char bytes[65536];
	cleanup_fd int fd = open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, bytes, sizeof(bytes));

	return n < 0 || memmem(bytes, (size_t)n, text, strlen(text));
}

static bool environ_file_has_token(void)
{
	static unsigned char bytes[65536];
	cleanup_fd int fd = open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, bytes, sizeof(bytes));
	bool found = n < 0 || count_in(bytes, bytes + n) > 0;

	explicit_bzero(bytes, sizeof(bytes));
	return found;
}

/* ---- roles of the executed program ---- */

static int role_hide(void)
{
	const struct secret_ref refs[] = { { "TOKEN_A", "egress.routes[0]" }, { "TOKEN_B", NULL } };
	struct secrets secrets;
	struct err err;
	size_t len = 0;
	int status;
	pid_t pid;

	CHECK(environ_file_has_token());
	CHECK(count_in_memory() >= 3);
	CHECK(secrets_init(&secrets, &err) == 0);
	CHECK(secrets_take_env(&secrets, refs, 2, &err) == 0);
	CHECK(!environ_file_has_token());
	CHECK(environ_file_has("KEPT=kept"));
	CHECK(!getenv("TOKEN_A") && !getenv("TOKEN_B"));
	CHECK(strcmp(getenv("KEPT"), "kept") == 0);
	CHECK(strcmp(getenv("URL"), "https://user:") == 0);
	CHECK(strcmp(secrets.also_in, "URL") == 0);
	CHECK(secrets_get(&secrets, "TOKEN_A", &len) && len == TOKEN_LEN);
	CHECK(strcmp(secrets_get(&secrets, "TOKEN_B", NULL), "another-token") == 0);
	CHECK(count_in_memory() == IN_MAPPING);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		_exit(count_in_memory());
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	CHECK(WEXITSTATUS(status) == 0);
	secrets_wipe(&secrets);
	CHECK(count_in_memory() == 0);
	CHECK(!secrets.base);
	return 0;
}

static int expect_refusal(const char *name, const char *where, const char *expected)
{
	const struct secret_ref ref = { name, where };
	struct secrets secrets;
	struct err err = { "" };
	int rc;

	CHECK(secrets_init(&secrets, &err) == 0);
	rc = secrets_take_env(&secrets, &ref, 1, &err);
	secrets_wipe(&secrets);
	CHECK(rc == -EINVAL);
	if (strcmp(err.text, expected) != 0)
		fprintf(stderr, "got:  %s\nwant: %s\n", err.text, expected);
	CHECK(strcmp(err.text, expected) == 0);
	CHECK(!getenv(name));
	return 0;
}

static int role_refuse(void)
{
	CHECK(expect_refusal(
		      "UNSET", "egress.routes[1].auth",
		      "environment variable UNSET (token_ref of egress.routes[1].auth) is not "
		      "set") == 0);
	CHECK(expect_refusal("EMPTY", NULL, "environment variable EMPTY is empty") == 0);
	CHECK(expect_refusal(
		      "TINY", NULL,
		      "environment variable TINY is shorter than 4 characters: no token, and it "
		      "would stand in any text by chance") == 0);
	CHECK(expect_refusal(
		      "BROKEN", NULL,
		      "environment variable BROKEN holds a line break or control character: a "
		      "token cannot") == 0);
	CHECK(!environ_file_has("inject"));
	return 0;
}

static int role_wipe_all(void)
{
	CHECK(environ_file_has("KEPT"));
	environ_wipe();
	CHECK(!environ_file_has("KEPT"));
	CHECK(!environ_file_has("kept"));
	CHECK(!environ_file_has_token());
	CHECK(environ[0] == NULL);
	return 0;
}

static const struct role {
	const char *name;
	int (*run)(void);
} roles[] = {
	{ "@hide", role_hide },
	{ "@refuse", role_refuse },
	{ "@wipe_all", role_wipe_all },
};

__attribute__((constructor)) static void play_role(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof(roles) / sizeof(roles[0]); i++)
		if (strcmp(argv[1], roles[i].name) == 0)
			_exit(roles[i].run());
}

static int exec_role(void *role)
{
	char program[] = "test_secrets";
	char first[64] = "TOKEN_A=", second[64] = "TOKEN_A=", url[64] = "URL=https://user:";
	char *argv[] = { program, role, NULL };
	char *envp[] = { first, "KEPT=kept", second,	 "TOKEN_B=another-token",
			 url,	"EMPTY=",    "TINY=abc", "BROKEN=x\r\ninjected: y",
			 NULL };

	put_token(first + strlen(first));
	put_token(second + strlen(second));
	put_token(url + strlen(url));
	strcat(url, "@host/");
	execve("/proc/self/exe", argv, envp);
	return 1;
}

Test(secrets, token_is_in_the_mapping_and_nowhere_else)
{
#ifdef __SANITIZE_ADDRESS__
	cr_skip("AddressSanitizer keeps a copy of the environment of its own");
#endif
	cr_assert_eq(in_child(exec_role, "@hide"), 0);
}

Test(secrets, bad_variables_are_named)
{
	cr_assert_eq(in_child(exec_role, "@refuse"), 0);
}

Test(secrets, environ_wipe_leaves_nothing_to_read)
{
	cr_assert_eq(in_child(exec_role, "@wipe_all"), 0);
}

/* ---- the mapping ---- */

static int touch(void *arg)
{
	volatile char *at = arg;

	return *at ? 2 : 3;
}

Test(secrets, guard_pages_fault)
{
	struct secrets secrets;
	struct err err;

	cr_assert_eq(secrets_init(&secrets, &err), 0);
	/* The child lacks the mapping, but has both neighbours as they are. */
	cr_assert_eq(in_child(touch, secrets.base - 1), 128 + SIGSEGV);
	cr_assert_eq(in_child(touch, secrets.base + secrets.size), 128 + SIGSEGV);
	cr_assert_eq(in_child(touch, secrets.base), 128 + SIGSEGV, "a fork inherited the mapping");
	secrets_wipe(&secrets);
}

Test(secrets, room_is_bounded_and_aligned)
{
	struct secrets secrets;
	struct err err;
	char *pem;

	cr_assert_eq(secrets_init(&secrets, &err), 0);
	cr_assert(secrets.locked);
	pem = secrets_alloc(&secrets, 4096);
	cr_assert_not_null(pem);
	cr_assert_eq((uintptr_t)pem % 16, 0);
	memset(pem, 'k', 4096);
	cr_assert(pem + 4096 <= secrets.base + secrets.used);
	cr_assert_null(secrets_alloc(&secrets, SECRETS_BYTES));
	cr_assert_null(secrets_alloc(&secrets, SIZE_MAX));
	cr_assert_not_null(secrets_alloc(&secrets, 8192));
	cr_assert_null(secrets_get(&secrets, "", NULL));
	secrets_wipe(&secrets);
}

static int take_and_find(void *arg)
{
	const struct secret_ref refs[] = { { "LONG", NULL }, { "SHORT", NULL } };
	struct secrets secrets;
	struct err err;

	(void)arg;
	setenv("LONG", "a-long-token", 1);
	setenv("SHORT", "abcd", 1);
	CHECK(secrets_init(&secrets, &err) == 0);
	CHECK(secrets_take_env(&secrets, refs, 2, &err) == 0);
	CHECK(secrets_found_in(&secrets, "x a-long-token y", 16));
	CHECK(!secrets_found_in(&secrets, "x a-long-toke", 13));
	CHECK(!secrets_found_in(&secrets, "abcd", 4)); /* too short to tell from chance */
	return 0;
}

Test(secrets, tokens_are_found_in_what_is_to_be_written)
{
	cr_assert_eq(in_child(take_and_find, NULL), 0);
}

static int init_without_memlock(void *arg)
{
	const struct rlimit none = { 0, 0 };
	struct secrets secrets;
	struct err err;

	(void)arg;
	CHECK(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
	if (geteuid() == 0)
		CHECK(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
	CHECK(secrets_init(&secrets, &err) == 0);
	CHECK(!secrets.locked);
	secrets_wipe(&secrets);
	return 0;
}

Test(secrets, too_small_a_memlock_limit_is_said_not_fatal)
{
#ifdef __SANITIZE_ADDRESS__
	cr_skip("AddressSanitizer makes mlock(2) do nothing");
#endif
	cr_assert_eq(in_child(init_without_memlock, NULL), 0);
}

/* ---- dumps ---- */

/* What becomes dumpable again by an execve has inherited this. */
static bool dumps_no_memory(void)
{
	struct rlimit core;
	char text[16] = "";
	int fd;

	prctl(PR_SET_DUMPABLE, 1);
	fd = open("/proc/self/coredump_filter", O_RDONLY | O_CLOEXEC);
	prctl(PR_SET_DUMPABLE, 0);
	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strtoul(text, NULL, 16) == 0 &&
	       getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur <= 1 && core.rlim_max <= 1;
}

static _Noreturn void be_undumpable(int ready_fd)
{
	struct err err;
	char ok;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, 1); /* as after an execve: the change of ids has taken it */
	ok = secrets_no_dump(&err) == 0 && prctl(PR_GET_DUMPABLE) == 0 && dumps_no_memory();
	(void)!write(ready_fd, &ok, 1);
	for (;;)
		pause();
}

static int look_at_undumpable(void *arg)
{
	char path[64], ok = 0;
	int ready[2];
	pid_t pid;

	(void)arg;
	if (geteuid() == 0) /* root may look at all */
		CHECK(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
	CHECK(pipe(ready) == 0);
	pid = fork();
	if (pid == 0)
		be_undumpable(ready[1]);
	CHECK(read(ready[0], &ok, 1) == 1 && ok == 1);
	snprintf(path, sizeof(path), "/proc/%d/environ", pid);
	CHECK(open(path, O_RDONLY) < 0 && errno == EACCES);
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	CHECK(open(path, O_RDONLY) < 0 && errno == EACCES);
	kill(pid, SIGKILL);
	return 0;
}

Test(secrets, no_dump_hides_from_the_same_uid)
{
	cr_assert_eq(in_child(look_at_undumpable, NULL), 0);
}
