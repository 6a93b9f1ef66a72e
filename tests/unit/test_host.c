/* SPDX-License-Identifier: Apache-2.0
 * runtime/host.c and host_explain.c: every reason from injected evidence, and some of them for real: a
 * seccomp'd container, a masked /proc, a limit of 0, emulated in children. */
#include "runtime/host.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "tests/lib/in_child.h"

/* A host on which nothing is wrong. */
static struct host_evidence free_host(void)
{
	return (struct host_evidence){
		.unprivileged_userns_clone = -1,
		.max_user_namespaces = 15000,
		.apparmor_restrict_userns = -1,
		.seccomp_mode = 0,
		.clone3_errno = EINVAL,
		.uid_map_count = 4294967295,
	};
}

static const struct reason_case {
	const char *what;
	enum host_step step;
	int code;
	/* The one thing that is wrong: an offset and a value, or a string. */
	size_t offset;
	long value;
	const char *text;
	const char *want; /* what stands in the sentence */
} cases[] = {
#define AT(field) offsetof(struct host_evidence, field)
	{ "sysctl of Debian", HOST_STEP_USERNS, EPERM, AT(unprivileged_userns_clone), 0, NULL,
	  "sysctl -w kernel.unprivileged_userns_clone=1" },
	{ "max 0", HOST_STEP_USERNS, ENOSPC, AT(max_user_namespaces), 0, NULL,
	  "sysctl -w user.max_user_namespaces" },
	{ "gVisor", HOST_STEP_NETLINK, EOPNOTSUPP, AT(container), 0, "gvisor", "gVisor" },
	{ "AppArmor at the mount", HOST_STEP_MOUNT, EACCES, AT(apparmor_restrict_userns), 1, NULL,
	  "packaging/apparmor/bottle" },
	{ "AppArmor at the id map", HOST_STEP_IDMAP, EPERM, AT(apparmor_restrict_userns), 1, NULL,
	  "packaging/apparmor/bottle" },
	{ "docker's AppArmor profile", HOST_STEP_MOUNT, EACCES, AT(apparmor_profile), 0,
	  "docker-default", "apparmor=unconfined" },
	{ "containerd's AppArmor profile", HOST_STEP_PROC, EACCES, AT(apparmor_profile), 0,
	  "cri-containerd.apparmor.d", "apparmor=unconfined" },
	{ "another namespace's limit", HOST_STEP_NAMESPACES, ENOSPC, AT(zero_limit), 0,
	  "user.max_net_namespaces", "user.max_net_namespaces is 0" },
};

Test(host, each_reason_from_the_one_thing_that_is_wrong)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct reason_case *c = &cases[i];
		struct host_evidence e = free_host();
		struct err err = { "" };

		if (c->text)
			strcpy((char *)&e + c->offset, c->text);
		else
			memcpy((char *)&e + c->offset, &c->value, sizeof(c->value));
		cr_assert_eq(host_explain_from(c->step, c->code, &e, &err), -c->code);
		cr_assert(strstr(err.text, c->want), "%s: %s", c->what, err.text);
		/* The same failure on a free host must not be put down to it. */
		e = free_host();
		cr_assert_eq(host_explain_from(c->step, c->code, &e, &err), -c->code);
		cr_assert_not(strstr(err.text, c->want), "%s, without evidence: %s", c->what,
			      err.text);
	}
}

static const char *explain(enum host_step step, int code, const struct host_evidence *e,
			   struct err *err)
{
	cr_assert_eq(host_explain_from(step, code, e, err), -code);
	return err->text;
}

Test(host, reasons_that_are_flags)
{
	struct host_evidence e = free_host();
	struct err err;

	e.clone3_errno = ENOSYS;
	cr_assert(strstr(explain(HOST_STEP_USERNS, EPERM, &e, &err), "seccomp=unconfined"));
	e = free_host();
	e.unshare_errno = EPERM;
	cr_assert(strstr(explain(HOST_STEP_USERNS, EPERM, &e, &err), "seccomp=unconfined"));
	e = free_host();
	e.proc_masked = true;
	cr_assert(strstr(explain(HOST_STEP_PROC, EPERM, &e, &err), "systempaths=unconfined"));
	e = free_host();
	cr_assert(strstr(explain(HOST_STEP_NETLINK, EROFS, &e, &err), "systempaths=unconfined"));
	e.chrooted = true;
	cr_assert(strstr(explain(HOST_STEP_USERNS, EPERM, &e, &err), "chroot"));
	e = free_host();
	e.selinux_enforcing = true;
	cr_assert(strstr(explain(HOST_STEP_MOUNT, EACCES, &e, &err), "SELinux"));
	e = free_host();
	e.uid_map_count = 0;
	cr_assert(strstr(explain(HOST_STEP_IDMAP, EPERM, &e, &err), "not mapped"));
}

Test(host, without_evidence_the_errno_and_the_doctor)
{
	const struct host_evidence e = free_host();
	struct err err;
	const char *text = explain(HOST_STEP_MOUNT, EIO, &e, &err);

	cr_assert(strstr(text, "Input/output error") && strstr(text, "bottle doctor"), "%s", text);
}

Test(host, a_limit_of_processes_is_named)
{
	const struct host_evidence e = free_host();
	struct err err;

	cr_assert(strstr(explain(HOST_STEP_USERNS, EAGAIN, &e, &err), "pids.max"));
	cr_assert(strstr(explain(HOST_STEP_NAMESPACES, EAGAIN, &e, &err), "pids.max"));
	cr_assert(!strstr(explain(HOST_STEP_MOUNT, EAGAIN, &e, &err), "pids.max"));
}

Test(host, a_sentence_that_was_said_stays)
{
	struct host_evidence e = free_host();
	struct err err = { "" };

	(void)!err_set(&err, EMFILE, "watch the guarded files: no room");
	host_explain_more_from(HOST_STEP_MOUNT, EMFILE, &e, &err);
	cr_assert_str_eq(err.text, "watch the guarded files: no room");
	strcpy(e.apparmor_profile, "docker-default");
	(void)!err_set(&err, EACCES, "bind /x: no way");
	host_explain_more_from(HOST_STEP_MOUNT, EACCES, &e, &err);
	cr_assert(strstr(err.text, "(bind /x: no way)") && strstr(err.text, "apparmor=unconfined"),
		  "%s", err.text);
}

/* ------------------------------------------------------------------ evidence from a made-up root */

static void put(const char *root, const char *path, const char *text)
{
	cleanup_free char *full = str_printf("%s/%s", root, path);
	cleanup_file FILE *file = NULL;

	for (char *slash = strchr(full + strlen(root) + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0755);
		*slash = '/';
	}
	file = fopen(full, "we");
	cr_assert(file, "%s", full);
	fputs(text, file);
}

Test(host, evidence_is_read_from_where_it_stands)
{
	char root[] = "/tmp/bottle-host-XXXXXX";
	struct host_evidence e;
	struct err err;
	cleanup_free char *command = NULL;

	unsetenv("KUBERNETES_SERVICE_HOST");
	cr_assert(mkdtemp(root));
	put(root, "proc/sys/kernel/unprivileged_userns_clone", "0\n");
	put(root, "proc/sys/user/max_user_namespaces", "0\n");
	put(root, "proc/sys/user/max_net_namespaces", "0\n");
	put(root, "proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n");
	put(root, "proc/self/status", "Name:\tx\nNoNewPrivs:\t1\nSeccomp:\t2\n");
	put(root, "proc/self/attr/current", "docker-default (enforce)\n");
	put(root, "proc/self/uid_map", "0 1000 1\n1 100000 65536\n");
	put(root, "proc/self/mountinfo",
	    "1 0 0:1 / / rw - overlay overlay rw\n2 1 0:2 / /proc rw - proc proc rw\n"
	    "3 2 0:3 / /proc/kcore rw - tmpfs tmpfs rw\n");
	put(root, "proc/version", "Linux version 6.1\n");
	put(root, "sys/fs/selinux/enforce", "1");
	put(root, ".dockerenv", "");
	host_evidence_read(root, &e);
	cr_assert_eq(e.unprivileged_userns_clone, 0);
	cr_assert_eq(e.max_user_namespaces, 0);
	cr_assert_eq(e.apparmor_restrict_userns, 1);
	cr_assert_eq(e.seccomp_mode, 2);
	cr_assert_eq(e.no_new_privs, 1);
	cr_assert_eq(e.uid_map_count, 65537);
	cr_assert_str_eq(e.apparmor_profile, "docker-default");
	cr_assert_str_eq(e.zero_limit, "user.max_net_namespaces");
	cr_assert_str_eq(e.container, "docker");
	cr_assert(e.proc_masked && e.selinux_enforcing && !e.chrooted);

	put(root, "proc/self/mountinfo",
	    "2 1 0:2 / /proc rw - proc proc rw\n3 2 0:3 / /proc/sys/fs/binfmt_misc rw - autofs x "
	    "rw\n");
	put(root, "proc/version", "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016\n");
	host_evidence_read(root, &e);
	cr_assert(!e.proc_masked && e.chrooted);
	cr_assert_str_eq(e.container, "gvisor");

	put(root, "run/bottle/ca.pem", "");
	host_evidence_read(root, &e);
	cr_assert_str_eq(e.container, "bottle");
	cr_assert(strstr(explain(HOST_STEP_USERNS, ENOSPC, &e, &err), "inside a bottle"));

	command = str_printf("rm -rf %s", root);
	cr_assert_eq(system(command), 0);
	host_evidence_read(root, &e); /* nothing there at all */
	cr_assert_eq(e.max_user_namespaces, -1);
	cr_assert_str_eq(e.apparmor_profile, "");
}

/* --------------------------------------------------------------------------- for real, emulated */

/* libseccomp's seccomp_load() by hand: in this program that name is runtime/seccomp.c's. */
static int install(scmp_filter_ctx filter)
{
	struct sock_filter program[512];
	struct sock_fprog header = { .filter = program };
	int fd = memfd_create("filter", MFD_CLOEXEC);
	ssize_t n;

	if (fd < 0 || seccomp_export_bpf(filter, fd) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -1;
	n = read(fd, program, sizeof(program));
	header.len = (unsigned short)((size_t)n / sizeof(program[0]));
	if (n <= 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &header);
}

/* What Docker's default profile does to namespaces for a process without CAP_SYS_ADMIN. */
static int docker_filter(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int rc = 0;

	if (!filter)
		return -1;
	rc |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	rc |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(unshare), 0);
	rc |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(setns), 0);
	rc |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mount), 0);
	rc |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
			       SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
	return rc ? rc : install(filter);
}

static int filtered_child(void *arg)
{
	struct err err = { "" };

	(void)arg;
	if (docker_filter() < 0)
		return 2;
	if (unshare(CLONE_NEWUSER) == 0)
		return 3;
	host_explain(HOST_STEP_USERNS, errno, &err);
	if (strstr(err.text, "seccomp=unconfined"))
		return 0;
	fprintf(stderr, "%s\n", err.text);
	return 4;
}

Test(host, a_seccomp_d_container)
{
	cr_assert_eq(in_child(filtered_child, NULL), 0);
}

static int enter_userns(int flags)
{
	const struct idmap_single map = { 0, geteuid(), 0, getegid() };

	if (unshare(CLONE_NEWUSER) < 0)
		return IN_CHILD_SKIP;
	if (idmap_write_single(AT_FDCWD, 0, &map, NULL) < 0 || (flags && unshare(flags) < 0))
		return 90;
	return 0;
}

static int expect_reason(enum host_step step, int code, const char *want)
{
	struct err err = { "" };

	host_explain(step, code, &err);
	if (strstr(err.text, want))
		return 0;
	fprintf(stderr, "errno %d: %s\n", code, err.text);
	return 91;
}

static int max_zero_child(void *arg)
{
	int fd, rc = enter_userns(0);

	(void)arg;
	if (rc)
		return rc;
	fd = open("/proc/sys/user/max_user_namespaces", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		return 2;
	if (unshare(CLONE_NEWUSER) == 0)
		return 3;
	return expect_reason(HOST_STEP_USERNS, errno, "user.max_user_namespaces is 0");
}

static void assert_child(int (*fn)(void *))
{
	int rc = in_child(fn, NULL);

	if (rc == IN_CHILD_SKIP)
		cr_skip_test("no user namespace can be made here");
	cr_assert_eq(rc, 0, "child: %d", rc);
}

Test(host, a_limit_of_no_user_namespace)
{
	assert_child(max_zero_child);
}

/* A container's /proc with a mask on it. The masks of a less privileged mount namespace are locked, and
 * with them no /proc may be mounted whose masked parts would show. */
static int masked_inner(void)
{
	int status, rc = enter_userns(CLONE_NEWNS | CLONE_NEWPID);
	pid_t pid;

	if (rc)
		return rc;
	pid = fork();
	if (pid == 0)
		_exit(mount("proc", "/proc", "proc", 0, NULL) == 0 ? 0 : errno);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 3;
	if (WEXITSTATUS(status) == 0)
		return 4;
	return expect_reason(HOST_STEP_PROC, WEXITSTATUS(status), "parts of /proc are masked");
}

static int masked_child(void *arg)
{
	int status, rc = enter_userns(CLONE_NEWNS | CLONE_NEWPID);
	pid_t pid;

	(void)arg;
	if (rc)
		return rc;
	pid = fork();
	if (pid == 0) {
		if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("proc", "/proc", "proc", 0, NULL) < 0 ||
		    mount("/dev/null", "/proc/uptime", NULL, MS_BIND, NULL) < 0)
			_exit(2);
		_exit(masked_inner());
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 5;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 6;
}

Test(host, a_masked_proc)
{
	assert_child(masked_child);
}

static int chroot_child(void *arg)
{
	int rc = enter_userns(CLONE_NEWNS);

	(void)arg;
	if (rc)
		return rc;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/mnt", "tmpfs", 0, NULL) < 0 || mkdir("/mnt/root", 0755) < 0 ||
	    mkdir("/mnt/root/proc", 0755) < 0 ||
	    mount("/proc", "/mnt/root/proc", NULL, MS_BIND | MS_REC, NULL) < 0 ||
	    chroot("/mnt/root") < 0 || chdir("/") < 0)
		return 2;
	if (unshare(CLONE_NEWUSER) == 0)
		return 3;
	return expect_reason(HOST_STEP_USERNS, errno, "chroot");
}

Test(host, a_chroot)
{
	assert_child(chroot_child);
}

/* ------------------------------------------------------------------------------------- facts */

Test(host, facts_of_this_host)
{
	struct host_facts facts;

	cr_assert_eq(host_probe(&facts, NULL), 0);
	cr_assert_geq(facts.kernel_major, 5);
	cr_assert_eq(facts.uid, geteuid());
	cr_assert_geq(facts.group_count, 0);
}

Test(host, the_runtime_folder_must_be_ours_alone)
{
	char dir[] = "/tmp/bottle-runtime-XXXXXX";
	struct host_facts facts;

	cr_assert(mkdtemp(dir));
	setenv("XDG_RUNTIME_DIR", dir, 1);
	cr_assert_eq(host_probe(&facts, NULL), 0);
	cr_assert_str_eq(facts.runtime_dir, dir);
	chmod(dir, 0755);
	cr_assert_eq(host_probe(&facts, NULL), 0);
	cr_assert_str_eq(facts.runtime_dir, "");
	setenv("XDG_RUNTIME_DIR", "relative", 1);
	cr_assert_eq(host_probe(&facts, NULL), 0);
	cr_assert_str_eq(facts.runtime_dir, "");
	unsetenv("XDG_RUNTIME_DIR");
	cr_assert_eq(host_probe(&facts, NULL), 0);
	cr_assert_str_eq(facts.runtime_dir, "");
	rmdir(dir);
}

static int noexec_child(void *arg)
{
	struct err err = { "" };
	int rc = enter_userns(CLONE_NEWNS);

	(void)arg;
	if (rc)
		return rc;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/mnt", "tmpfs", MS_NOEXEC, NULL) < 0)
		return 2;
	if (host_check_dir("/mnt/not/there/yet", true, &err) != -EACCES ||
	    !strstr(err.text, "noexec") || !strstr(err.text, "XDG_DATA_HOME"))
		return 3;
	return host_check_dir("/mnt/not/there/yet", false, &err) == 0 &&
			       host_check_dir("/usr", true, &err) == 0
		       ? 0
		       : 4;
}

Test(host, a_noexec_folder)
{
	assert_child(noexec_child);
}
