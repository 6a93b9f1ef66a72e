/* SPDX-License-Identifier: Apache-2.0
 *
 * Landlock by raw system calls; see landlock.h.
 *
 * Runs in: gate, resolver helpers, proxy and agent before their exec. Power: none is needed but
 * no_new_privs.
 *
 * A ruleset says which kinds of access it handles; those are refused but where a rule allows them. What
 * a kernel's ABI does not know is taken out of the set before it is made, as its documentation asks
 * (Documentation/userspace-api/landlock.rst, "best-effort"). Every layer that handles files names
 * REFER (ABI 2) as well: without it renames between folders are refused everywhere.
 *
 * Opening with O_PATH, stat, chdir, connecting to a unix socket by path and already open descriptors
 * are not governed by Landlock; mounts are what hides names.
 */
#include "runtime/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

/* linux/landlock.h of Linux 6.12; the header of Debian 12 (6.1) ends at ABI 2. */
struct ruleset_attr {
	uint64_t handled_fs;
	uint64_t handled_net; /* ABI 4 */
	uint64_t scoped;      /* ABI 6 */
};
struct path_rule {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));
struct port_rule {
	uint64_t allowed;
	uint64_t port;
};

enum { CREATE_VERSION = 1, RULE_PATH = 1, RULE_PORT = 2 };

#define FS_EXECUTE    (1ULL << 0)
#define FS_WRITE_FILE (1ULL << 1)
#define FS_READ_FILE  (1ULL << 2)
#define FS_READ_DIR   (1ULL << 3)
#define FS_ABI1	      ((1ULL << 13) - 1) /* and REMOVE_*, MAKE_* */
#define FS_REFER      (1ULL << 13)	 /* ABI 2 */
#define FS_TRUNCATE   (1ULL << 14)	 /* ABI 3 */
#define FS_IOCTL_DEV  (1ULL << 15)	 /* ABI 5 */
#define FS_ALL	      (FS_ABI1 | FS_REFER | FS_TRUNCATE | FS_IOCTL_DEV)
#define FS_READ	      (FS_EXECUTE | FS_READ_FILE | FS_READ_DIR)
/* What a rule on something that is not a folder may say. */
#define FS_OF_FILE (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

#define NET_BIND_TCP (1ULL << 0) /* ABI 4 */

#define SCOPE_ABSTRACT_UNIX (1ULL << 0) /* ABI 6 */
#define SCOPE_SIGNAL	    (1ULL << 1)
#define SCOPE_ALL	    (SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL)

int landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);

	return abi > 0 ? (int)abi : 0;
}

static uint64_t fs_known(int abi)
{
	return FS_ABI1 | (abi >= 2 ? FS_REFER : 0) | (abi >= 3 ? FS_TRUNCATE : 0) |
	       (abi >= 5 ? FS_IOCTL_DEV : 0);
}

/* Returns a ruleset's descriptor; -ENOMSG when this kernel knows nothing of what is asked. */
static int make_ruleset(int abi, struct ruleset_attr attr, struct err *err)
{
	size_t size = abi >= 6	 ? sizeof(attr)
		      : abi >= 4 ? offsetof(struct ruleset_attr, scoped)
				 : offsetof(struct ruleset_attr, handled_net);
	long fd;

	attr.handled_fs &= fs_known(abi);
	if (abi < 4)
		attr.handled_net = 0;
	if (abi < 6)
		attr.scoped = 0;
	if (!attr.handled_fs && !attr.handled_net && !attr.scoped)
		return -ENOMSG;
	fd = syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (fd < 0)
		return err_sys(err, errno, "cannot make a Landlock ruleset (ABI %d)", abi);
	return (int)fd;
}

static int allow_path(int ruleset_fd, int abi, int fd, uint64_t allowed, struct err *err)
{
	struct path_rule rule = { .allowed = allowed & fs_known(abi), .parent_fd = fd };
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "cannot look at a path for Landlock");
	if (!S_ISDIR(st.st_mode))
		rule.allowed &= FS_OF_FILE;
	if (syscall(SYS_landlock_add_rule, ruleset_fd, RULE_PATH, &rule, 0) < 0)
		return err_sys(err, errno, "cannot add a path to the Landlock ruleset");
	return 0;
}

/* A path that is not there needs no rule. */
static int allow_name(int ruleset_fd, int abi, const char *path, uint64_t allowed, struct err *err)
{
	cleanup_fd int fd = open(path, O_PATH | O_CLOEXEC);

	if (fd < 0)
		return 0;
	return allow_path(ruleset_fd, abi, fd, allowed, err);
}

static int restrict_self(int ruleset_fd, struct err *err)
{
	if (syscall(SYS_landlock_restrict_self, ruleset_fd, 0) < 0)
		return err_sys(err, errno, "cannot enter the Landlock domain");
	return 0;
}

/* ------------------------------------------------------------------------------ the proofs */

static int prove_no_open(const char *path, int flags, struct err *err)
{
	cleanup_fd int fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd >= 0)
		return err_set(err, EPROTO, "%s can still be opened under Landlock", path);
	if (errno != EACCES && errno != ENOENT && errno != EROFS)
		return err_sys(err, EPROTO, "opening %s under Landlock failed for another reason",
			       path);
	return 0;
}

/* An ephemeral port: nothing is taken from anybody even if it should work. */
static int prove_no_bind(struct err *err)
{
	struct sockaddr_in any = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) == 0)
		return err_set(err, EPROTO, "a TCP port can still be bound under Landlock");
	return 0;
}

/* The parent is outside the domain; were it not for Landlock, a signal to it would be allowed, or
 * refused for its id, with the same EPERM. 0 asks and sends nothing. */
static int prove_no_signal(struct err *err)
{
	pid_t parent = getppid();

	if (parent > 0 && kill(parent, 0) == 0)
		return err_set(err, EPROTO,
			       "the parent process can still be signalled under Landlock");
	return 0;
}

/* ----------------------------------------------------------------------------- the domains */

int landlock_scope(int *ret_abi, struct err *err)
{
	int abi = landlock_abi();
	cleanup_fd int fd = -1;

	*ret_abi = 0;
	if (abi < 6)
		return 0;
	fd = make_ruleset(abi, (struct ruleset_attr){ .scoped = SCOPE_ALL }, err);
	TRY(fd);
	TRY(restrict_self(fd, err));
	*ret_abi = abi;
	return prove_no_signal(err);
}

/* The gate's side: a descriptor for /dev/null with `refused_flags` is what the proof asks for. */
static int enter_gate_domain(int (*allow_paths)(int ruleset_fd, int abi, struct err *err),
			     int refused_flags, int *ret_abi, struct err *err)
{
	static const struct ruleset_attr attr = {
		.handled_fs = FS_ALL,
		.handled_net = NET_BIND_TCP,
		.scoped = SCOPE_ABSTRACT_UNIX,
	};
	int abi = landlock_abi();
	cleanup_fd int fd = -1;

	*ret_abi = 0;
	if (!abi)
		return 0;
	fd = make_ruleset(abi, attr, err);
	TRY(fd);
	TRY(allow_paths ? allow_paths(fd, abi, err) : 0);
	TRY(restrict_self(fd, err));
	*ret_abi = abi;
	TRY(prove_no_open("/", O_RDONLY | O_DIRECTORY, err));
	TRY(prove_no_open("/dev/null", refused_flags, err));
	return abi >= 4 ? prove_no_bind(err) : 0;
}

int landlock_gate(int *ret_abi, struct err *err)
{
	return enter_gate_domain(NULL, O_RDONLY, ret_abi, err);
}

/* What the name-service switch reads: its own configuration, modules and the libraries they need, lease
 * files and caches, time zones and locales for their messages. No home folder among them. */
static const char *const resolver_paths[] = {
	"/etc",
	"/etc/resolv.conf",
	"/etc/hosts",
	"/etc/nsswitch.conf", /* wherever they point */
	"/usr/lib",
	"/usr/lib32",
	"/usr/lib64",
	"/usr/libx32",
	"/usr/local/lib",
	"/usr/share",
	"/usr/etc",
	"/lib",
	"/lib32",
	"/lib64",
	"/libx32",
	"/opt",
	"/nix/store",
	"/gnu/store",
	"/run/systemd",
	"/run/nscd",
	"/run/resolvconf",
	"/run/NetworkManager",
	"/run/avahi-daemon",
	"/run/current-system",
	"/run/host",
	"/mnt/wsl",
	"/var/run/nscd",
	"/var/cache/nscd",
	"/var/db",
	"/var/lib/sss",
	"/var/lib/libvirt/dnsmasq",
	"/var/lib/extrausers",
	"/var/lib/misc",
	"/var/lib/lxc",
	"/proc/self",
	"/proc/sys/kernel",
	"/proc/sys/net",
	"/proc/stat",
	"/proc/cpuinfo",
	"/proc/meminfo",
	"/sys/class/net",
	"/sys/devices/system/cpu",
	"/dev/null",
	"/dev/urandom",
};

static int allow_resolver_paths(int ruleset_fd, int abi, struct err *err)
{
	for (size_t i = 0; i < sizeof(resolver_paths) / sizeof(resolver_paths[0]); i++)
		TRY(allow_name(ruleset_fd, abi, resolver_paths[i], FS_READ, err));
	return 0;
}

int landlock_resolver(int *ret_abi, struct err *err)
{
	return enter_gate_domain(allow_resolver_paths, O_WRONLY, ret_abi, err);
}

/* "/" to read and execute, the given trees to write. */
static int allow_program_paths(int ruleset_fd, int abi, const int *writable_fds, size_t count,
			       struct err *err)
{
	TRY(allow_name(ruleset_fd, abi, "/", FS_READ, err));
	for (size_t i = 0; i < count; i++)
		TRY(allow_path(ruleset_fd, abi, writable_fds[i], FS_ALL, err));
	return 0;
}

/* Making something right below "/" must fail, by Landlock or by a read-only root already. */
static int prove_root_is_shut(struct err *err)
{
	static const char probe[] = "/.bottle-landlock-probe";

	if (mkdir(probe, 0700) == 0) {
		rmdir(probe);
		return err_set(err, EPROTO, "a folder can still be made in / under Landlock");
	}
	return 0;
}

int landlock_agent(const int *writable_fds, size_t count, bool nested_ok, int *ret_abi,
		   struct err *err)
{
	static const struct ruleset_attr attr = { .handled_fs = FS_ALL, .scoped = SCOPE_ALL };
	int abi = landlock_abi();
	cleanup_fd int fd = -1;

	if (nested_ok)
		return landlock_scope(ret_abi, err);
	*ret_abi = 0;
	if (!abi)
		return 0;
	fd = make_ruleset(abi, attr, err);
	TRY(fd);
	TRY(allow_program_paths(fd, abi, writable_fds, count, err));
	TRY(restrict_self(fd, err));
	*ret_abi = abi;
	TRY(prove_root_is_shut(err));
	return abi >= 6 ? prove_no_signal(err) : 0;
}

static int allow_port(int ruleset_fd, uint16_t port, struct err *err)
{
	struct port_rule rule = { .allowed = NET_BIND_TCP, .port = port };

	if (syscall(SYS_landlock_add_rule, ruleset_fd, RULE_PORT, &rule, 0) < 0)
		return err_sys(err, errno, "cannot add port %u to the Landlock ruleset", port);
	return 0;
}

int landlock_proxy(const int *writable_fds, size_t count, uint16_t port, int *ret_abi,
		   struct err *err)
{
	static const struct ruleset_attr attr = {
		.handled_fs = FS_ALL,
		.handled_net = NET_BIND_TCP,
		.scoped = SCOPE_ALL,
	};
	int abi = landlock_abi();
	cleanup_fd int fd = -1;

	*ret_abi = 0;
	if (!abi)
		return 0;
	fd = make_ruleset(abi, attr, err);
	TRY(fd);
	TRY(allow_program_paths(fd, abi, writable_fds, count, err));
	if (port && abi >= 4)
		TRY(allow_port(fd, port, err));
	TRY(restrict_self(fd, err));
	*ret_abi = abi;
	TRY(prove_root_is_shut(err));
	TRY(abi >= 4 ? prove_no_bind(err) : 0);
	return abi >= 6 ? prove_no_signal(err) : 0;
}
