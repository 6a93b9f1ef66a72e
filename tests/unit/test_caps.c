/* SPDX-License-Identifier: Apache-2.0
 * runtime/caps.c, in children that hold every capability of a user namespace of their own. */
#include "runtime/caps.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/idmap.h"
#include "tests/lib/in_child.h"

static int complain(const char *what, const struct err *err)
{
	fprintf(stderr, "%s: %s\n", what, err->text);
	return 1;
}

/* Full power over a namespace of our own, as init's children have it. */
static int enter_userns(void)
{
	const struct idmap_single map = { 0, geteuid(), 0, getegid() };
	struct err err = { "" };

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWUTS) < 0)
		return IN_CHILD_SKIP;
	return idmap_write_single(-100 /* AT_FDCWD */, 0, &map, &err) < 0 ? complain("map", &err)
									  : 0;
}

static int drop_child(void *arg)
{
	struct err err = { "" };
	int rc = enter_userns();

	(void)arg;
	if (rc)
		return rc;
	if (sethostname("before", 6) < 0)
		return 2; /* the drop must be what takes it away */
	if (caps_prove_none(NULL) != -EPROTO)
		return 3;
	if (caps_drop_all(&err) < 0 || caps_prove_none(&err) < 0)
		return complain("drop", &err);
	if (sethostname("after", 5) == 0 || errno != EPERM)
		return 4;
	if (prctl(PR_GET_SECUREBITS) !=
	    (SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
	     SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
	     SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED))
		return 5;
	/* Again: nothing is held, and that is no error. */
	if (caps_drop_all(&err) < 0 || caps_prove_none(&err) < 0)
		return complain("second drop", &err);
	return 0;
}

static void assert_child(int (*fn)(void *))
{
	int rc = in_child(fn, NULL);

	if (rc == IN_CHILD_SKIP)
		cr_skip_test("no user namespace can be made here");
	cr_assert_eq(rc, 0, "child: %d", rc);
}

Test(caps, all_dropped_and_proved)
{
	assert_child(drop_child);
}

/* uid 0 in the namespace, and an exec: without the secure bits root would get all of them back. */
static int exec_child(void *arg)
{
	int status, rc = enter_userns();
	pid_t pid;

	(void)arg;
	if (rc)
		return rc;
	if (caps_drop_all(NULL) < 0)
		return 2;
	pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c",
		      "grep -q '^CapEff:.0*$' /proc/self/status && "
		      "grep -q '^CapPrm:.0*$' /proc/self/status && "
		      "grep -q '^CapBnd:.0*$' /proc/self/status && "
		      "grep -q '^CapAmb:.0*$' /proc/self/status && "
		      "grep -q '^NoNewPrivs:.1$' /proc/self/status",
		      (char *)NULL);
		_exit(99);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 3;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 4;
}

Test(caps, an_exec_as_root_of_the_namespace_gets_none_back)
{
	assert_child(exec_child);
}

static int keep_child(void *arg)
{
	static const int kept[] = { CAP_SYS_ADMIN, CAP_KILL };
	struct err err = { "" };
	int rc = enter_userns();

	(void)arg;
	if (rc)
		return rc;
	if (caps_keep(kept, 2, &err) < 0 || caps_prove_kept(kept, 2, &err) < 0)
		return complain("keep", &err);
	if (sethostname("kept", 4) < 0)
		return 2;
	if (caps_prove_kept(kept, 1, NULL) != -EPROTO || caps_prove_none(NULL) != -EPROTO)
		return 3;
	if (chroot("/") == 0 || errno != EPERM) /* CAP_SYS_CHROOT was not named */
		return 4;
	if (caps_drop_all(&err) < 0 || caps_prove_none(&err) < 0)
		return complain("drop after keep", &err);
	return 0;
}

Test(caps, the_named_ones_are_kept_and_no_other)
{
	assert_child(keep_child);
}

/* A process that never had CAP_SETPCAP: nothing to lock, but the proof must hold. */
static int ordinary_child(void *arg)
{
	struct err err = { "" };

	(void)arg;
	if (geteuid() == 0 && (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)))
		return 2;
	if (caps_prove_none(NULL) != -EPROTO) /* no_new_privs is still to come */
		return 3;
	if (caps_drop_all(&err) < 0 || caps_prove_none(&err) < 0)
		return complain("drop", &err);
	return 0;
}

Test(caps, an_ordinary_process_passes_too)
{
	assert_child(ordinary_child);
}

/* One capability alone must be seen by the proof, whichever set it hides in. */
static int forgotten_child(void *arg)
{
	static const cap_value_t one = CAP_NET_RAW;
	cap_t caps = cap_init();
	int rc = enter_userns();

	(void)arg;
	if (rc)
		return rc;
	if (!caps || cap_set_flag(caps, CAP_PERMITTED, 1, &one, CAP_SET) < 0 ||
	    cap_set_proc(caps) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return 2;
	cap_free(caps);
	return caps_prove_none(NULL) == -EPROTO ? 0 : 3;
}

Test(caps, the_proof_sees_one_that_was_forgotten)
{
	assert_child(forgotten_child);
}
