/* SPDX-License-Identifier: Apache-2.0
 *
 * Capabilities, given up for good; see caps.h.
 *
 * Runs in: every process of a bottle but the launcher, on its way down. Power: whatever is still held.
 *
 * The order below is forced. Securebits and the bounding set need CAP_SETPCAP, so they go first; the
 * ambient set is emptied before securebits lock it; permitted, effective and inheritable go in one
 * capset(2). A process that never had CAP_SETPCAP (gate and launcher of an ordinary user) keeps a
 * full bounding set, which no_new_privs makes void: no exec can gain from it.
 */
#include "runtime/caps.h"

#include <errno.h>
#include <grp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"

/* All on and all locked, but for KEEP_CAPS, which is locked off. */
enum {
	LOCKED_BITS = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
		      SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
		      SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED
};

static void cleanup_cap(cap_t *caps)
{
	if (*caps)
		cap_free(*caps);
}

static int set_no_new_privs(struct err *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, errno, "cannot set no_new_privs");
	return 0;
}

/* Whether CAP_SETPCAP is effective; -errno. */
static int holds_setpcap(struct err *err)
{
	cleanup_with(cleanup_cap) cap_t now = cap_get_proc();
	cap_flag_value_t value = CAP_CLEAR;

	if (!now || cap_get_flag(now, CAP_SETPCAP, CAP_EFFECTIVE, &value) < 0)
		return err_sys(err, errno, "cannot read the capabilities");
	return value == CAP_SET;
}

/* From here on uid 0, setuid files and id changes neither give nor take a capability. */
static int lock_securebits_and_bounding(struct err *err)
{
	if (cap_set_secbits(LOCKED_BITS) < 0)
		return err_sys(err, errno, "cannot lock the secure bits");
	for (cap_value_t cap = 0; cap < cap_max_bits(); cap++)
		if (cap_drop_bound(cap) < 0)
			return err_sys(err, errno,
				       "cannot drop capability %d from the bounding set", cap);
	return 0;
}

int caps_keep(const int *caps, size_t count, struct err *err)
{
	cleanup_with(cleanup_cap) cap_t kept = cap_init();
	int can_lock;

	TRY(set_no_new_privs(err));
	if (!kept)
		return err_sys(err, errno, "cannot make a capability set");
	/* cap_reset_ambient() would ask for each capability first: 42 calls where one does it. */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return err_sys(err, errno, "cannot empty the ambient capabilities");
	can_lock = holds_setpcap(err);
	TRY(can_lock);
	if (can_lock)
		TRY(lock_securebits_and_bounding(err));
	if (count && (cap_set_flag(kept, CAP_PERMITTED, (int)count, caps, CAP_SET) < 0 ||
		      cap_set_flag(kept, CAP_EFFECTIVE, (int)count, caps, CAP_SET) < 0))
		return err_sys(err, errno, "cannot name the capabilities to keep");
	if (cap_set_proc(kept) < 0)
		return err_sys(err, errno, "cannot reduce the capabilities");
	return 0;
}

int caps_drop_all(struct err *err)
{
	return caps_keep(NULL, 0, err);
}

static bool is_in(int cap, const int *caps, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (caps[i] == cap)
			return true;
	return false;
}

static int check_flag(cap_t now, cap_value_t cap, cap_flag_t flag, bool wanted, const char *set,
		      struct err *err)
{
	cap_flag_value_t value;

	if (cap_get_flag(now, cap, flag, &value) < 0)
		return err_sys(err, errno, "cannot read capability %d", cap);
	if ((value == CAP_SET) != wanted)
		return err_set(err, EPROTO, "capability %d is %s the %s set after the drop", cap,
			       wanted ? "not in" : "still in", set);
	return 0;
}

/* The set that bounds an exec. It may only be full where it could not be emptied: where CAP_SETPCAP
 * was never held, so that the secure bits could not be locked either. (An ambient capability is
 * always permitted and inheritable too, capabilities(7); the inheritable set is read to be empty.) */
static int check_bound(cap_value_t cap, bool was_locked, struct err *err)
{
	if (was_locked && cap_get_bound(cap) == CAP_SET)
		return err_set(err, EPROTO, "capability %d is still in the bounding set", cap);
	return 0;
}

int caps_prove_kept(const int *caps, size_t count, struct err *err)
{
	cleanup_with(cleanup_cap) cap_t now = cap_get_proc();
	bool was_locked = cap_get_secbits() == LOCKED_BITS;

	if (!now)
		return err_sys(err, errno, "cannot read the capabilities");
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return err_set(err, EPROTO, "no_new_privs is not set");
	for (cap_value_t cap = 0; cap < cap_max_bits(); cap++) {
		bool kept = is_in(cap, caps, count);

		TRY(check_flag(now, cap, CAP_PERMITTED, kept, "permitted", err));
		TRY(check_flag(now, cap, CAP_EFFECTIVE, kept, "effective", err));
		TRY(check_flag(now, cap, CAP_INHERITABLE, false, "inheritable", err));
		TRY(check_bound(cap, was_locked, err));
	}
	return 0;
}

static int try_mount(void)
{
	return mount("none", "/", "tmpfs", MS_NOSUID | MS_NODEV, NULL);
}

static int try_sethostname(void)
{
	return sethostname("capable", 7);
}

/* A network namespace rather than a user namespace: the latter needs no capability. */
static int try_unshare(void)
{
	return unshare(CLONE_NEWNET);
}

static int try_chroot(void)
{
	return chroot("/");
}

static int try_setgroups(void)
{
	return setgroups(0, NULL);
}

static int try_take_back(void)
{
	static const cap_value_t wanted = CAP_SYS_ADMIN;
	cleanup_with(cleanup_cap) cap_t caps = cap_init();

	if (!caps || cap_set_flag(caps, CAP_PERMITTED, 1, &wanted, CAP_SET) < 0)
		return -1;
	return cap_set_proc(caps);
}

static int try_ambient(void)
{
	return cap_set_ambient(CAP_NET_ADMIN, CAP_SET);
}

int caps_prove_none(struct err *err)
{
	static const struct {
		const char *what;
		int (*attempt)(void);
	} attempts[] = {
		{ "mounting a tmpfs", try_mount },
		{ "changing the host name", try_sethostname },
		{ "making a network namespace", try_unshare },
		{ "changing the root", try_chroot },
		{ "changing the groups", try_setgroups },
		{ "taking CAP_SYS_ADMIN back", try_take_back },
		{ "raising an ambient capability", try_ambient },
	};

	TRY(caps_prove_kept(NULL, 0, err));
	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
		if (attempts[i].attempt() == 0)
			return err_set(err, EPROTO, "%s still works without a capability",
				       attempts[i].what);
		if (errno != EPERM)
			return err_sys(err, EPROTO,
				       "%s failed for another reason than a missing "
				       "capability (errno %d)",
				       attempts[i].what, errno);
	}
	return 0;
}
