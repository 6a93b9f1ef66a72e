/* SPDX-License-Identifier: Apache-2.0
 *
 * Why a step of a start failed on this host, from evidence; see host.h.
 *
 * Runs in: launcher, or the child whose step failed. Power: the caller's; reads files, and makes two
 * system calls that do nothing: clone3(NULL, 0) and unshare(0). The first is EINVAL and the second 0
 * on a free kernel; the filters of Docker, containerd and CRI-O answer ENOSYS and EPERM.
 *
 * The reasons are a table, the first that fits is told. Each looks at evidence only, so the tests
 * put every one of them in front of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "runtime/host.h"
#include "runtime/plan_agent.h"

enum { EVIDENCE_MAX_BYTES = 1 << 20 };

/* ------------------------------------------------------------------------ gathering evidence */

static bool read_below(const char *root, const char *path, struct buf *ret_text)
{
	char full[PATH_MAX];

	if (snprintf(full, sizeof(full), "%s%s", root, path) >= (int)sizeof(full))
		return false;
	return file_read(AT_FDCWD, full, EVIDENCE_MAX_BYTES, ret_text, NULL) == 0 && ret_text->data;
}

static long read_number(const char *root, const char *path)
{
	cleanup_with(buf_clear) struct buf text = { 0 };

	return read_below(root, path, &text) ? strtol(text.data, NULL, 10) : -1;
}

static bool exists_below(const char *root, const char *path)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s%s", root, path);
	return access(full, F_OK) == 0;
}

/* The number behind "Name:" in /proc/self/status. */
static long status_number(const char *status, const char *name)
{
	const char *at = status ? strstr(status, name) : NULL;

	return at ? strtol(at + strlen(name), NULL, 10) : -1;
}

static void read_status(const char *root, struct host_evidence *e)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	bool ok = read_below(root, "/proc/self/status", &text);

	e->seccomp_mode = status_number(ok ? text.data : NULL, "\nSeccomp:");
	e->no_new_privs = status_number(ok ? text.data : NULL, "\nNoNewPrivs:");
}

static void read_profile(const char *root, struct host_evidence *e)
{
	cleanup_with(buf_clear) struct buf text = { 0 };

	if (!read_below(root, "/proc/self/attr/apparmor/current", &text) &&
	    !read_below(root, "/proc/self/attr/current", &text))
		return;
	text.data[strcspn(text.data, " \n")] = '\0';
	str_escape(e->apparmor_profile, sizeof(e->apparmor_profile), text.data, strlen(text.data));
}

/* Mounts over parts of /proc: a container runtime's masks. A mount on an empty folder made for it
 * does not count for the kernel, nor here. */
static bool is_mask(const char *point)
{
	return str_starts(point, "/proc/") && !str_starts(point, "/proc/sys/fs/binfmt_misc") &&
	       strcmp(point, "/proc/fs/nfsd") != 0 && strcmp(point, "/proc/fs/nfs") != 0;
}

static void read_mounts(const char *root, struct host_evidence *e)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	char *save = NULL;
	bool has_root = false;
	char point[PATH_MAX];

	if (!read_below(root, "/proc/self/mountinfo", &text))
		return;
	for (char *line = strtok_r(text.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "%*s %*s %*s %*s %4095s", point) != 1)
			continue;
		has_root |= strcmp(point, "/") == 0;
		e->proc_masked |= is_mask(point);
	}
	e->chrooted = !has_root;
}

static void read_uid_map(const char *root, struct host_evidence *e)
{
	cleanup_with(buf_clear) struct buf text = { 0 };
	char *save = NULL;
	long count;

	e->uid_map_count = -1;
	if (!read_below(root, "/proc/self/uid_map", &text))
		return;
	e->uid_map_count = 0;
	for (char *line = strtok_r(text.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (sscanf(line, "%*u %*u %ld", &count) == 1)
			e->uid_map_count += count;
}

/* A limit on another kind of namespace that stands at 0: its name, else "". */
static void read_zero_limits(const char *root, struct host_evidence *e)
{
	static const char *const kinds[] = { "pid", "net", "mnt", "ipc", "uts" };
	char path[64];

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		snprintf(path, sizeof(path), "/proc/sys/user/max_%s_namespaces", kinds[i]);
		if (read_number(root, path) == 0) {
			snprintf(e->zero_limit, sizeof(e->zero_limit), "user.max_%s_namespaces",
				 kinds[i]);
			return;
		}
	}
}

/* A bottle may run in any of the others. gVisor's kernel says since years that it is Linux 4.4.0 of a day in 2016. */
static void read_container(const char *root, struct host_evidence *e)
{
	cleanup_with(buf_clear) struct buf version = { 0 };
	const char *kernel = read_below(root, "/proc/version", &version) ? version.data : "";
	const char *kind = "";

	if (exists_below(root, PLAN_AGENT_CA))
		kind = "bottle";
	else if (strstr(kernel, "Jan 10 15:06:54 PST 2016"))
		kind = "gvisor";
	else if (getenv("KUBERNETES_SERVICE_HOST") ||
		 exists_below(root, "/var/run/secrets/kubernetes.io"))
		kind = "kubernetes";
	else if (exists_below(root, "/.dockerenv"))
		kind = "docker";
	else if (exists_below(root, "/run/.containerenv"))
		kind = "podman";
	else if (strstr(kernel, "icrosoft"))
		kind = "wsl";
	else if (getenv("container"))
		kind = "container";
	snprintf(e->container, sizeof(e->container), "%s", kind);
}

static int errno_of(long rc)
{
	return rc < 0 ? errno : 0;
}

void host_evidence_read(const char *root, struct host_evidence *ret_evidence)
{
	struct host_evidence *e = ret_evidence;

	memset(e, 0, sizeof(*e));
	e->unprivileged_userns_clone = read_number(root,
						   "/proc/sys/kernel/unprivileged_userns_clone");
	e->max_user_namespaces = read_number(root, "/proc/sys/user/max_user_namespaces");
	e->apparmor_restrict_userns = read_number(
		root, "/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
	e->selinux_enforcing = read_number(root, "/sys/fs/selinux/enforce") == 1;
	e->clone3_errno = errno_of(syscall(SYS_clone3, NULL, 0));
	e->unshare_errno = errno_of(syscall(SYS_unshare, 0));
	read_status(root, e);
	read_profile(root, e);
	read_mounts(root, e);
	read_uid_map(root, e);
	read_zero_limits(root, e);
	read_container(root, e);
}

/* ------------------------------------------------------------------------------- the reasons */

#define STEP(step)   (1U << HOST_STEP_##step)
#define NEEDS_USERNS (STEP(USERNS))
#define NEEDS_POWER \
	(STEP(USERNS) | STEP(IDMAP) | STEP(NAMESPACES) | STEP(MOUNT) | STEP(PROC) | STEP(NETLINK))

static bool is_refusal(int code)
{
	return code == EPERM || code == EACCES;
}

static bool clone_switched_off(int code, const struct host_evidence *e)
{
	return is_refusal(code) && e->unprivileged_userns_clone == 0;
}

static bool limit_is_zero(int code, const struct host_evidence *e)
{
	return (code == ENOSPC || is_refusal(code)) && e->max_user_namespaces == 0;
}

static bool other_limit_is_zero(int code, const struct host_evidence *e)
{
	return code == ENOSPC && e->zero_limit[0];
}

static bool in_bottle(int code, const struct host_evidence *e)
{
	return code && strcmp(e->container, "bottle") == 0;
}

static bool gvisor(int code, const struct host_evidence *e)
{
	return code && strcmp(e->container, "gvisor") == 0;
}

static bool filtered(int code, const struct host_evidence *e)
{
	return (is_refusal(code) || code == ENOSYS) &&
	       (e->clone3_errno == ENOSYS || e->unshare_errno == EPERM);
}

static bool apparmor_restricts(int code, const struct host_evidence *e)
{
	return is_refusal(code) && e->apparmor_restrict_userns == 1;
}

/* docker-default, cri-containerd.apparmor.d and podman's profile say `deny mount`. */
static bool apparmor_container(int code, const struct host_evidence *e)
{
	return is_refusal(code) && (str_starts(e->apparmor_profile, "docker-") ||
				    str_starts(e->apparmor_profile, "cri-containerd") ||
				    str_starts(e->apparmor_profile, "containers-default"));
}

static bool proc_is_masked(int code, const struct host_evidence *e)
{
	return is_refusal(code) && e->proc_masked;
}

static bool in_chroot(int code, const struct host_evidence *e)
{
	return code == EPERM && e->chrooted;
}

static bool unmapped(int code, const struct host_evidence *e)
{
	return (is_refusal(code) || code == EINVAL) && e->uid_map_count == 0;
}

static bool selinux(int code, const struct host_evidence *e)
{
	return code == EACCES && e->selinux_enforcing;
}

static bool too_many(int code, const struct host_evidence *e)
{
	return (code == ENOSPC || code == EUSERS) && e->max_user_namespaces != 0;
}

static bool not_built(int code, const struct host_evidence *e)
{
	(void)e;
	return code == EINVAL || code == ENOSYS;
}

static bool no_link_type(int code, const struct host_evidence *e)
{
	(void)e;
	return code == EOPNOTSUPP || code == ENODEV || code == EAFNOSUPPORT;
}

static bool read_only(int code, const struct host_evidence *e)
{
	(void)e;
	return code == EROFS;
}

static bool any_refusal(int code, const struct host_evidence *e)
{
	(void)e;
	return is_refusal(code);
}

static const struct reason {
	unsigned steps;
	bool (*fits)(int code, const struct host_evidence *evidence);
	const char *text;
} reasons[] = {
	{ NEEDS_POWER, gvisor,
	  "this is gVisor, whose kernel has no veth pairs and no AnyIP routes; run bottle outside "
	  "of "
	  "it, or use a runtime class with a Linux kernel" },
	{ NEEDS_USERNS, in_bottle,
	  "this is inside a bottle, which lets none be made in it; run this one outside" },
	{ NEEDS_USERNS, clone_switched_off,
	  "kernel.unprivileged_userns_clone is 0; an administrator allows user namespaces with "
	  "`sysctl -w kernel.unprivileged_userns_clone=1`, for good in /etc/sysctl.d" },
	{ NEEDS_USERNS, limit_is_zero,
	  "user.max_user_namespaces is 0; an administrator allows user namespaces with `sysctl -w "
	  "user.max_user_namespaces=15000`, for good in /etc/sysctl.d" },
	/* the name of the limit stands in front of it */
	{ STEP(NAMESPACES) | STEP(USERNS), other_limit_is_zero,
	  " is 0; an administrator raises it with `sysctl -w`, for good in /etc/sysctl.d" },
	{ NEEDS_POWER, filtered,
	  "a system-call filter of the container we run in refuses namespaces; start it with "
	  "`docker "
	  "run --security-opt seccomp=unconfined` (or a profile that allows clone, clone3, "
	  "unshare, "
	  "setns, mount and pivot_root), in Kubernetes with `seccompProfile: {type: Unconfined}` "
	  "and "
	  "`hostUsers: false`" },
	{ STEP(MOUNT) | STEP(PROC), apparmor_container,
	  "the AppArmor profile of the container we run in refuses mounts; start it with `docker "
	  "run "
	  "--security-opt apparmor=unconfined`, in Kubernetes with `appArmorProfile: {type: "
	  "Unconfined}`" },
	{ NEEDS_POWER, apparmor_restricts,
	  "kernel.apparmor_restrict_unprivileged_userns is 1, so a user namespace gives no power; "
	  "install bottle's AppArmor profile (copy packaging/apparmor/bottle, or "
	  "share/bottle/apparmor/bottle of what is installed, to /etc/apparmor.d "
	  "and run "
	  "`apparmor_parser -r` on it), which allows it for bottle alone" },
	{ STEP(PROC), proc_is_masked,
	  "parts of /proc are masked by the container we run in, so no new /proc may be mounted; "
	  "start "
	  "it with `docker run --security-opt systempaths=unconfined`, in Kubernetes with "
	  "`procMount: "
	  "Unmasked` and `hostUsers: false`" },
	{ STEP(NETLINK) | STEP(IDMAP), read_only,
	  "/proc/sys is read-only, as in a container; start it with `docker run --security-opt "
	  "systempaths=unconfined`, in Kubernetes with `procMount: Unmasked` and `hostUsers: "
	  "false`" },
	{ NEEDS_USERNS, in_chroot,
	  "this process lives in a chroot, where no user namespace can be made; run bottle "
	  "outside" },
	{ NEEDS_USERNS | STEP(IDMAP), unmapped,
	  "the ids of the user namespace we run in are not mapped; whoever made it writes its "
	  "uid_map" },
	{ NEEDS_POWER, selinux,
	  "SELinux is enforcing and refused it; `ausearch -m avc -ts recent` shows the rule that "
	  "is "
	  "missing" },
	{ NEEDS_USERNS | STEP(NAMESPACES), too_many,
	  "too many namespaces are in use or nested (32 levels, and the limits of `sysctl user`); "
	  "end "
	  "other containers or raise the limit" },
	{ NEEDS_USERNS | STEP(NAMESPACES), not_built,
	  "this kernel was built without that kind of namespace (CONFIG_USER_NS, PID_NS, NET_NS, "
	  "IPC_NS, "
	  "UTS_NS)" },
	{ STEP(NETLINK), no_link_type,
	  "this kernel has no veth links; an administrator loads them with `modprobe veth` "
	  "(CONFIG_VETH)" },
	{ STEP(SECCOMP), not_built, "this kernel was built without CONFIG_SECCOMP_FILTER" },
	{ STEP(EXEC), any_refusal,
	  "the folder may lie on a file system mounted noexec; set XDG_DATA_HOME to one on "
	  "another" },
};

static const char *const step_names[] = {
	[HOST_STEP_USERNS] = "no user namespace could be made",
	[HOST_STEP_IDMAP] = "ids could not be mapped",
	[HOST_STEP_NAMESPACES] = "the bottle's namespaces could not be made",
	[HOST_STEP_MOUNT] = "a mount inside the bottle was refused",
	[HOST_STEP_PROC] = "/proc could not be mounted inside the bottle",
	[HOST_STEP_NETLINK] = "the bottle's network could not be set up",
	[HOST_STEP_SECCOMP] = "a system-call filter could not be installed",
	[HOST_STEP_EXEC] = "a program of the image could not be executed",
};
_Static_assert(sizeof(step_names) / sizeof(step_names[0]) == HOST_STEP_COUNT, "one name each");

/* True, with the sentence, when the evidence shows a reason; `what` is what was seen to fail. */
static bool find_reason(enum host_step step, int code, const struct host_evidence *evidence,
			const char *what, struct err *err)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		const struct reason *r = &reasons[i];

		if (!(r->steps & (1U << step)) || !r->fits(code, evidence))
			continue;
		(void)!err_set(err, code, "%s (%s): %s%s", step_names[step], what,
			       r->fits == other_limit_is_zero ? evidence->zero_limit : "", r->text);
		return true;
	}
	return false;
}

int host_explain_from(enum host_step step, int code, const struct host_evidence *evidence,
		      struct err *err)
{
	char why[128];
	const char *name = strerror_r(code, why, sizeof(why));

	if (find_reason(step, code, evidence, name, err))
		return -code;
	/* The namespaces were made by clone(2), which counts processes before it looks at anything else. */
	if (code == EAGAIN && (step == HOST_STEP_USERNS || step == HOST_STEP_NAMESPACES))
		return err_fork(err, code, "%s", step_names[step]);
	return err_set(err, code, "%s (%s); `bottle doctor` looks closer", step_names[step], name);
}

void host_explain_more_from(enum host_step step, int code, const struct host_evidence *evidence,
			    struct err *err)
{
	const struct err said = *err;

	(void)find_reason(step, code, evidence, said.text, err);
}

void host_explain_more(enum host_step step, int code, struct err *err)
{
	struct host_evidence evidence;

	host_evidence_read("", &evidence);
	host_explain_more_from(step, code, &evidence, err);
}

int host_explain(enum host_step step, int code, struct err *err)
{
	struct host_evidence evidence;

	host_evidence_read("", &evidence);
	return host_explain_from(step, code, &evidence, err);
}
