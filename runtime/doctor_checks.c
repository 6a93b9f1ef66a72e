/* SPDX-License-Identifier: Apache-2.0
 *
 * The attempts of `bottle doctor`; see doctor_checks.h. They use the functions that a run uses, in the
 * order of a run, so that what passes here passes there.
 *
 * Runs in: a forked child of the launcher for each. Power: the caller's, and whatever the namespaces
 * made here give.
 */
#include "runtime/doctor_checks.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "netns/netns.h"
#include "runtime/caps.h"
#include "runtime/landlock.h"
#include "runtime/native_image.h"
#include "runtime/plan_namespaces.h"
#include "runtime/seccomp.h"
#include "runtime/state.h"

static int say(struct err *said, const char *text)
{
	return err_set(said, 0, "%s", text);
}

/* A user namespace with the caller as its root, and further ones. */
static int enter(int more_flags, int *ret_step, struct err *said)
{
	const struct idmap_single map = { .outside_uid = geteuid(), .outside_gid = getegid() };

	*ret_step = HOST_STEP_USERNS;
	if (unshare(CLONE_NEWUSER) < 0)
		return err_sys(said, errno, "unshare(CLONE_NEWUSER)");
	*ret_step = HOST_STEP_IDMAP;
	TRY(idmap_write_single(AT_FDCWD, 0, &map, said));
	*ret_step = HOST_STEP_NAMESPACES;
	if (more_flags && unshare(more_flags) < 0)
		return err_sys(said, errno, "unshare(0x%x)", (unsigned)more_flags);
	return 0;
}

static int check_kernel(int *ret_step, struct err *said)
{
	struct host_facts facts;

	(void)ret_step;
	TRY(host_probe(&facts, said));
	return err_set(said, 0, "Linux %u.%u, IPv6 %s", facts.kernel_major, facts.kernel_minor,
		       facts.has_ipv6 ? "present" : "absent");
}

static int check_open_files(int *ret_step, struct err *said)
{
	const rlim_t least = plan_open_files_simplest();
	struct rlimit own;

	(void)ret_step;
	if (getrlimit(RLIMIT_NOFILE, &own) < 0)
		return err_sys(said, errno, "read the limit RLIMIT_NOFILE");
	if (own.rlim_max < least)
		return err_set(
			said, EMFILE,
			"%llu (`ulimit -Hn`); the simplest run needs %llu, and one more for each "
			"further port and writable path",
			(unsigned long long)own.rlim_max, (unsigned long long)least);
	return err_set(said, 0, "%llu may be open", (unsigned long long)own.rlim_max);
}

/* As many at once as a run has, beside the launcher and this one. Each lives until `life_fds` is closed,
 * by us or by our own end. */
static int check_processes(int *ret_step, struct err *said)
{
	int life_fds[2], started = 2, rc = 0;

	(void)ret_step;
	if (fd_pipe(life_fds) < 0)
		return err_sys(said, errno, "a pipe for the processes");
	while (rc == 0 && started < PLAN_PROCESSES_LEAST) {
		pid_t pid = fork();
		char byte;

		if (pid == 0) {
			close(life_fds[1]);
			_exit(read(life_fds[0], &byte, 1) != 0);
		}
		if (pid < 0)
			rc = err_fork(said, errno, "%d at once, of the %d that a run has", started,
				      PLAN_PROCESSES_LEAST);
		else
			started++;
	}
	close(life_fds[0]);
	close(life_fds[1]);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		continue;
	return rc < 0 ? rc : err_set(said, 0, "%d at once", started);
}

/* A desktop's programs may hold all that a user may have; a run takes one to watch what it guards. */
static int check_inotify(int *ret_step, struct err *said)
{
	cleanup_fd int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	(void)ret_step;
	if (fd < 0)
		return err_sys(said, errno, "watching guarded files%s",
			       errno == EMFILE ? " (all your instances are taken: sysctl "
						 "fs.inotify.max_user_instances, or `ulimit -n`)"
					       : "");
	return say(said, "an instance of it can be had");
}

static int check_userns(int *ret_step, struct err *said)
{
	TRY(enter(0, ret_step, said));
	return say(said, "made, and your id mapped to root in it");
}

static int check_namespaces(int *ret_step, struct err *said)
{
	TRY(enter(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS, ret_step,
		  said));
	return say(said, "pid, mount, network, ipc and uts made");
}

static int mount_or(const char *source, const char *type, unsigned long flags, const char *options,
		    struct err *said)
{
	if (mount(source, "/tmp", type, flags, options) < 0)
		return err_sys(said, errno, "mounting a %s", type ? type : "bind");
	return 0;
}

static int check_mounts(int *ret_step, struct err *said)
{
	struct mount_attr read_only = { .attr_set = MOUNT_ATTR_RDONLY };

	TRY(enter(CLONE_NEWNS, ret_step, said));
	*ret_step = HOST_STEP_MOUNT;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(said, errno, "making the mounts private");
	TRY(mount_or("tmpfs", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755", said));
	TRY(mount_or("ramfs", "ramfs", MS_NOSUID | MS_NODEV, "mode=0700", said));
	TRY(mount_or("devpts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666", said));
	TRY(mount_or("/usr", NULL, MS_BIND | MS_REC, NULL, said));
	if (mount_setattr(AT_FDCWD, "/tmp", AT_RECURSIVE, &read_only, sizeof(read_only)) < 0)
		return err_sys(said, errno, "mount_setattr(read-only)");
	return say(said, "tmpfs, ramfs, devpts and read-only binds mounted");
}

/* /proc can only be mounted from inside a pid namespace: by its first process. */
static int mount_proc(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return errno;
	return 0;
}

static int check_proc(int *ret_step, struct err *said)
{
	int status;
	pid_t pid;

	TRY(enter(CLONE_NEWNS | CLONE_NEWPID, ret_step, said));
	*ret_step = HOST_STEP_PROC;
	pid = fork();
	if (pid < 0)
		return err_fork(said, errno, "fork in a new pid namespace");
	if (pid == 0)
		_exit(mount_proc());
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return err_set(said, ECHILD, "the first process of a pid namespace died");
	if (WEXITSTATUS(status))
		return err_sys(said, WEXITSTATUS(status), "mounting a /proc of our own");
	return say(said, "mounted anew in a pid namespace");
}

static int check_network(int *ret_step, struct err *said)
{
	const struct netns_link link = netns_link_default();
	cleanup_fd int egress_fd = -1, internal_fd = -1, proc_fd = -1;

	TRY(enter(CLONE_NEWNET | CLONE_NEWNS, ret_step, said));
	*ret_step = HOST_STEP_NETLINK;
	proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	egress_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (proc_fd < 0 || egress_fd < 0 || unshare(CLONE_NEWNET) < 0)
		return err_sys(said, errno, "a second network namespace");
	internal_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (internal_fd < 0 || setns(egress_fd, CLONE_NEWNET) < 0)
		return err_sys(said, errno, "going back to the first network namespace");
	TRY(netns_setup(proc_fd, egress_fd, internal_fd, &link, said));
	return say(said, "a veth pair between two namespaces, every address local in one");
}

static int check_confinement(int *ret_step, struct err *said)
{
	const struct idmap_role role = { .inside_uid = 1000, .inside_gid = 1000 };

	TRY(enter(CLONE_NEWNS, ret_step, said));
	*ret_step = DOCTOR_NO_STEP;
	TRY(idmap_enter_role(AT_FDCWD, &role, said));
	TRY(caps_drop_all(said));
	TRY(caps_prove_none(said));
	return say(said,
		   "a namespace below without capabilities, and none below that: attacked, held");
}

static int check_seccomp(int *ret_step, struct err *said)
{
	*ret_step = HOST_STEP_SECCOMP;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(said, errno, "no_new_privs");
	TRY(seccomp_load(SECCOMP_AGENT, said));
	TRY(seccomp_prove(SECCOMP_AGENT, said));
	return say(said, "the agent's filter loaded: attacked, held");
}

static int check_landlock(int *ret_step, struct err *said)
{
	int abi;

	(void)ret_step;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(said, errno, "no_new_privs");
	TRY(landlock_gate(&abi, said));
	if (!abi)
		return err_set(said, EOPNOTSUPP,
			       "not in this kernel or switched off (boot with lsm=landlock,…); the "
			       "bottle is then held by namespaces and filters alone");
	return err_set(said, 0, "ABI %d: attacked, held", abi);
}

static int check_subids(int *ret_step, struct err *said)
{
	struct host_subids ids;

	(void)ret_step;
	TRY(host_find_subids(geteuid(), &ids, said));
	return err_set(said, 0, "uids %u+%u, gids %u+%u", ids.uids.first, ids.uids.count,
		       ids.gids.first, ids.gids.count);
}

static int check_cgroup(int *ret_step, struct err *said)
{
	struct limits_cgroup cgroup;

	(void)ret_step;
	TRY(limits_find_cgroup("", &cgroup, said));
	if (!cgroup.parent[0])
		return err_set(
			said, ENOENT,
			"none was delegated to you, so limits hold for each process alone%s",
			limits_scope_helps("", getenv("XDG_RUNTIME_DIR"))
				? "; `systemd-run --user --scope -p Delegate=yes bottle …` starts "
				  "it in one"
				: "");
	return err_set(said, 0, "%s gives%s%s%s", cgroup.parent,
		       cgroup.controllers & LIMITS_MEMORY ? " memory" : "",
		       cgroup.controllers & LIMITS_PIDS ? " pids" : "",
		       cgroup.controllers & LIMITS_CPU ? " cpu" : "");
}

static int check_runtime_dir(int *ret_step, struct err *said)
{
	struct host_facts facts;

	(void)ret_step;
	TRY(host_probe(&facts, said));
	if (!facts.runtime_dir[0])
		return err_set(
			said, ENOENT,
			"XDG_RUNTIME_DIR is not set, or not a folder of yours with mode 0700; "
			"the state folder is used instead (`loginctl enable-linger` makes one)");
	return err_set(said, 0, "%s", facts.runtime_dir);
}

/* The store of images. A run writes it only where the native proxy's is not there yet. */
static int check_data(const struct state *state, struct err *said)
{
	cleanup_with(image_clear) struct image image = { 0 };
	struct err tried = { "" };
	int may_write = host_try_dir(state->data_path, "XDG_DATA_HOME", &tried);
	int rc = host_check_dir(state->data_path, true, said);

	if (rc < 0 || may_write == 0)
		return rc;
	*said = tried;
	if (native_image_look(state->data_path, &image, NULL) < 0)
		return may_write;
	err_context(said, 0, "the proxy's image is there and can be used, no other imported");
	return 1;
}

/* Three folders, one sentence: the data folder must be executable, the others local. */
static int check_folders(int *ret_step, struct err *said)
{
	cleanup_with(state_clear) struct state state;
	int rc;

	(void)ret_step;
	state_init(&state);
	TRY(state_paths(&state, said));
	TRY(state_check_own(state.state_path, said));
	TRY(host_try_dir(state.state_path, "XDG_STATE_HOME", said));
	TRY(state_check_own(state.runtime_path, said));
	TRY(host_try_dir(state.runtime_path, state_runtime_variable(&state), said));
	rc = check_data(&state, said);
	if (rc == 0)
		rc = host_check_dir(state.state_path, false, said);
	return rc ? rc : err_set(said, 0, "%s, %s", state.data_path, state.state_path);
}

const struct doctor_check doctor_checks[] = {
	{ .name = "kernel", .is_needed = true, .run = check_kernel },
	{ .name = "open files", .is_needed = true, .run = check_open_files },
	{ .name = "processes", .is_needed = true, .run = check_processes },
	{ .name = "inotify", .is_needed = true, .run = check_inotify },
	{ .name = "user namespace", .is_needed = true, .run = check_userns },
	{ .name = "namespaces", .is_needed = true, .run = check_namespaces },
	{ .name = "mounts", .is_needed = true, .run = check_mounts },
	{ .name = "proc", .is_needed = true, .run = check_proc },
	{ .name = "network", .is_needed = true, .run = check_network },
	{ .name = "confinement", .is_needed = true, .run = check_confinement },
	{ .name = "system-call filter", .is_needed = true, .run = check_seccomp },
	{ .name = "folders", .is_needed = true, .run = check_folders },
	{ .name = "landlock", .run = check_landlock },
	{ .name = "subordinate ids", .run = check_subids },
	{ .name = "cgroup", .run = check_cgroup },
	{ .name = "runtime folder", .run = check_runtime_dir },
};
enum { DOCTOR_CHECK_COUNT = 16 };
_Static_assert(sizeof(doctor_checks) / sizeof(doctor_checks[0]) == DOCTOR_CHECK_COUNT,
	       "docs/platforms.md lists the checks");
const size_t doctor_check_count = DOCTOR_CHECK_COUNT;
