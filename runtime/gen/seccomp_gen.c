/* SPDX-License-Identifier: Apache-2.0
 *
 * Compiles runtime/seccomp_rules.h with libseccomp into BPF, as a C header on stdout.
 *
 * Runs in: make, on the machine that builds, for that machine's architecture. Compiling the agent's
 * filter takes libseccomp some milliseconds, which no start of a bottle should pay.
 */
#include "runtime/seccomp_rules.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROGRAM_MAX = BPF_MAXINSNS /* 4096 */ };

static _Noreturn void fail(const char *what, const char *name, int rc)
{
	fprintf(stderr, "seccomp_gen: %s: %s: %s\n", what, name, strerror(-rc));
	exit(1);
}

static scmp_filter_ctx make_filter(uint32_t default_action)
{
	scmp_filter_ctx filter = seccomp_init(default_action);
	int rc;

	if (!filter)
		fail("seccomp_init", "", -ENOMEM);
	rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	if (rc < 0)
		fail("cannot set the action of foreign ABIs", "", rc);
	/* A binary tree over the numbers: some eight comparisons instead of some three hundred. */
	rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (rc < 0)
		fail("cannot set the optimisation", "", rc);
	return filter;
}

/* The number here, or a negative one where this architecture has no such call. A name that libseccomp
 * does not know is a misspelling or newer than it: said, not fatal. */
static int number_of(const char *name)
{
	int number = seccomp_syscall_resolve_name(name);

	if (number == __NR_SCMP_ERROR)
		fprintf(stderr, "seccomp_gen: this libseccomp does not know %s\n", name);
	return number;
}

/* The next word of *list, NULL at the end. */
static const char *next_word(const char **list)
{
	static char word[64];
	size_t len;

	*list += strspn(*list, " ");
	len = strcspn(*list, " ");
	if (len == 0)
		return NULL;
	if (len >= sizeof(word))
		fail("too long a name", *list, -ENAMETOOLONG);
	memcpy(word, *list, len);
	word[len] = '\0';
	*list += len;
	return word;
}

static bool list_has(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = strstr(list, name); at; at = strstr(at + 1, name))
		if ((at == list || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
			return true;
	return false;
}

static bool role_names(const struct role_rules *role, const char *name)
{
	for (size_t i = 0; i < ROLE_MAX_TABLES && role->calls[i]; i++)
		if (list_has(role->calls[i], name))
			return true;
	return false;
}

static bool role_allows_some(const struct role_rules *role, const char *name)
{
	for (size_t i = 0; i < ROLE_MAX_TABLES && role->allow[i]; i++)
		for (const struct arg_rule *rule = role->allow[i]; rule->call; rule++)
			if (strcmp(rule->call, name) == 0)
				return true;
	return false;
}

static void add(scmp_filter_ctx filter, uint32_t action, const char *name,
		const struct scmp_arg_cmp *args, unsigned count)
{
	int number = number_of(name);
	int rc;

	if (number < 0)
		return;
	rc = seccomp_rule_add_array(filter, action, number, count, args);
	if (rc < 0)
		fail("cannot add a rule", name, rc);
}

static void add_arg_rules(scmp_filter_ctx filter, const struct role_rules *role,
			  const struct arg_rule *rule, bool allow)
{
	for (; rule->call; rule++) {
		/* libseccomp would let the wider rule swallow this one without a word. */
		if (allow && role_names(role, rule->call))
			fail("allowed whole and by argument", rule->call, -EEXIST);
		add(filter, allow ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO((unsigned)rule->error),
		    rule->call, rule->args, rule->arg_count);
	}
}

static scmp_filter_ctx make_allow(const struct role_rules *role)
{
	scmp_filter_ctx filter = make_filter(SCMP_ACT_ERRNO(ENOSYS));
	const char *bad = known_bad;
	const char *name;

	for (size_t i = 0; i < ROLE_MAX_TABLES && role->calls[i]; i++) {
		const char *list = role->calls[i];

		while ((name = next_word(&list)))
			add(filter, SCMP_ACT_ALLOW, name, NULL, 0);
	}
	for (size_t i = 0; i < ROLE_MAX_TABLES && role->allow[i]; i++)
		add_arg_rules(filter, role, role->allow[i], true);
	while ((name = next_word(&bad)))
		if (!role_names(role, name) && !role_allows_some(role, name))
			add(filter, SCMP_ACT_ERRNO(EPERM), name, NULL, 0);
	return filter;
}

static scmp_filter_ctx make_refuse(const struct role_rules *role)
{
	scmp_filter_ctx filter = make_filter(SCMP_ACT_ALLOW);

	for (size_t i = 0; i < ROLE_MAX_TABLES && role->refuse[i]; i++)
		add_arg_rules(filter, role, role->refuse[i], false);
	return filter;
}

/* seccomp_export_bpf() of 2.5 writes to a descriptor only. */
static size_t export(scmp_filter_ctx filter, struct sock_filter *program)
{
	FILE *file = tmpfile();
	size_t count;
	int rc;

	if (!file)
		fail("tmpfile", "", -errno);
	rc = seccomp_export_bpf(filter, fileno(file));
	if (rc < 0)
		fail("cannot export", "", rc);
	rewind(file);
	count = fread(program, sizeof(program[0]), PROGRAM_MAX, file);
	if (count == 0 || ferror(file))
		fail("cannot read the export", "", -EIO);
	fclose(file);
	seccomp_release(filter);
	return count;
}

/* Joins the two programs into one that gives the stricter verdict: where `refuse` would allow, it
 * goes on at `allow`, which reads all that it needs anew. One program, because the kernel's cost of
 * installing one (some 90 us: its table of constant verdicts, its code) hardly depends on length. */
static size_t join(struct sock_filter *program, size_t refuse_count, size_t allow_count)
{
	for (size_t i = 0; i < refuse_count; i++)
		if (program[i].code == (BPF_RET | BPF_K) && program[i].k == SECCOMP_RET_ALLOW)
			program[i] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA,
								  (uint32_t)(refuse_count - i - 1));
	if (refuse_count + allow_count > PROGRAM_MAX)
		fail("too long a program", "", -E2BIG);
	return refuse_count + allow_count;
}

static void print_role(int role)
{
	static struct sock_filter program[2 * PROGRAM_MAX];
	size_t refuse_count = export(make_refuse(&role_rules[role]), program);
	size_t allow_count = export(make_allow(&role_rules[role]), program + refuse_count);
	size_t count = join(program, refuse_count, allow_count);

	printf("static const struct sock_filter seccomp_filter_%d[] = {\n", role);
	for (size_t i = 0; i < count; i++)
		printf("\t{ 0x%02x, %u, %u, 0x%08x },\n", program[i].code, program[i].jt,
		       program[i].jf, program[i].k);
	printf("};\n");
}

int main(void)
{
	printf("/* Made by runtime/gen/seccomp_gen.c from runtime/seccomp_rules.h. Do not edit. "
	       "*/\n");
	for (int role = 0; role < SECCOMP_ROLE_COUNT; role++)
		print_role(role);
	printf("static const struct sock_fprog seccomp_filters[] = {\n");
	for (int role = 0; role < SECCOMP_ROLE_COUNT; role++)
		printf("\t{ sizeof(seccomp_filter_%d) / sizeof(struct sock_filter), "
		       "(struct sock_filter *)seccomp_filter_%d },\n",
		       role, role);
	printf("};\n");
	return fflush(stdout) == 0 ? 0 : 1;
}
