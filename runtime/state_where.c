/* SPDX-License-Identifier: Apache-2.0
 *
 * Where bottle's folders are, and their opening; see state.h. Runs in: the launcher and the subcommands.
 */
#include "runtime/state.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "runtime/state_fs.h"

void state_init(struct state *state)
{
	*state = (struct state){ .state_fd = -1, .runtime_fd = -1 };
}

void state_clear(struct state *state)
{
	free(state->state_path);
	free(state->data_path);
	free(state->runtime_path);
	fd_close(&state->state_fd);
	fd_close(&state->runtime_fd);
	state_init(state);
}

static mode_t callers_umask;

void state_set_umask(void)
{
	callers_umask = umask(077);
	umask(callers_umask & ~(mode_t)0700);
}

mode_t state_callers_umask(void)
{
	return callers_umask;
}

static const char *absolute_env(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] == '/' ? value : NULL;
}

static const char *home_folder(void)
{
	const char *home = absolute_env("HOME");
	const struct passwd *entry;

	if (home)
		return home;
	entry = getpwuid(geteuid());
	return entry && entry->pw_dir && entry->pw_dir[0] == '/' ? entry->pw_dir : NULL;
}

static char *xdg_path(const char *variable, const char *below_home)
{
	const char *base = absolute_env(variable);
	const char *home;

	if (base)
		return str_printf("%s/bottle", base);
	home = home_folder();
	return home ? str_printf("%s/%s/bottle", home, below_home) : NULL;
}

int state_default_manifest(char **ret_path, struct err *err)
{
	cleanup_free char *folder = NULL;

	*ret_path = NULL;
	if (!absolute_env("XDG_CONFIG_HOME") && !home_folder())
		return 0;
	folder = xdg_path("XDG_CONFIG_HOME", ".config");
	*ret_path = folder ? str_printf("%s/bottle.yaml", folder) : NULL;
	return *ret_path ? 0 : err_sys(err, ENOMEM, "the default manifest");
}

static bool is_ours(const char *path, struct stat *ret_st)
{
	return stat(path, ret_st) == 0 && S_ISDIR(ret_st->st_mode) && ret_st->st_uid == geteuid();
}

/* sudo(8) may keep the caller's XDG_RUNTIME_DIR: another user's, who could then sweep and lock. */
static bool is_ours_alone(const char *path)
{
	struct stat st;

	return is_ours(path, &st) && (st.st_mode & 077) == 0;
}

int state_paths(struct state *ret_state, struct err *err)
{
	cleanup_with(state_clear) struct state state;
	const char *runtime = absolute_env("XDG_RUNTIME_DIR");

	state_init(&state);
	state.state_path = xdg_path("XDG_STATE_HOME", ".local/state");
	state.data_path = xdg_path("XDG_DATA_HOME", ".local/share");
	if (!state.state_path || !state.data_path)
		return err_set(err, ENOENT,
			       "no home folder: set HOME, or XDG_STATE_HOME and XDG_DATA_HOME");
	state.runtime_path = runtime && is_ours_alone(runtime)
				     ? str_printf("%s/bottle-runs", runtime)
				     : str_printf("%s/.run", state.state_path);
	if (!state.runtime_path)
		return err_sys(err, ENOMEM, "state");
	*ret_state = state;
	state_init(&state);
	return 0;
}

/* By its end, which is as state_paths makes it: another environment may have had another beginning. */
bool state_is_lock(const char *path, const char *folder)
{
	cleanup_free char *below_runtime = str_printf("/bottle-runs/%s/lock", folder);
	cleanup_free char *below_state = str_printf("/bottle/.run/%s/lock", folder);

	return path[0] == '/' && below_runtime && below_state &&
	       (str_ends(path, below_runtime) || str_ends(path, below_state));
}

/* mkdir -p for the folders above ours, which are the user's own: symlinks there are theirs. */
static int make_parents(char *path, const char *variable, struct err *err)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		int rc;

		*slash = '\0';
		rc = mkdir(path, 0700) < 0 && errno != EEXIST ? errno : 0;
		*slash = '/';
		if (rc)
			return err_folder(err, rc, variable, "%.*s", (int)(slash - path), path);
	}
	return 0;
}

/* It is there. */
static int open_own_folder(int dir_fd, const char *name, const char *path, int flags,
			   struct err *err)
{
	cleanup_fd int fd = openat(dir_fd, name, flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
		return err_set(err, ENOTDIR,
			       "%s: is not a folder, and symlinks are not followed here", path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "%s", path);
	if (st.st_uid != geteuid())
		return err_set(err, EPERM, "%s: belongs to uid %u, not to us (%u)", path,
			       (unsigned)st.st_uid, (unsigned)geteuid());
	if (st.st_mode & 022)
		return err_set(err, EPERM, "%s: others may write there: chmod 0700 it", path);
	return take_fd(&fd);
}

const char *state_runtime_variable(const struct state *state)
{
	return str_ends(state->runtime_path, "/.run") ? "XDG_STATE_HOME" : "XDG_RUNTIME_DIR";
}

int state_check_own(const char *path, struct err *err)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) < 0 && errno == ENOENT)
		return 0;
	fd = open_own_folder(AT_FDCWD, path, path, O_PATH, err);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* Cuts the last component off. The user's folder is never "/" itself with an empty name before. */
static const char *parent_of(char *path, char **ret_slash)
{
	char *slash = strrchr(path, '/');

	*ret_slash = slash;
	*slash = '\0';
	return *path ? path : "/";
}

/* `path` = a folder of the user's, '/', one component of ours. */
static int open_by_path(const char *path, const char *variable, int flags, struct err *err)
{
	cleanup_free char *copy = strdup(path);
	cleanup_fd int parent_fd = -1;
	char *slash;

	if (!copy)
		return err_sys(err, ENOMEM, "%s", path);
	parent_fd = open(parent_of(copy, &slash), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (parent_fd < 0 && errno == ENOENT) {
		*slash = '/';
		TRY(make_parents(copy, variable, err));
		parent_fd = open(parent_of(copy, &slash), O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (parent_fd < 0)
		return err_folder(err, errno, variable, "%s", copy);
	if (mkdirat(parent_fd, slash + 1, 0700) < 0 && errno != EEXIST)
		return err_folder(err, errno, variable, "%s", path);
	return open_own_folder(parent_fd, slash + 1, path, flags, err);
}

int state_open(struct state *ret_state, struct err *err)
{
	cleanup_with(state_clear) struct state state;

	state_init(&state);
	TRY(state_paths(&state, err));
	TRY(state.state_fd = open_by_path(state.state_path, "XDG_STATE_HOME", O_PATH, err));
	TRY(state.runtime_fd = open_by_path(state.runtime_path, state_runtime_variable(&state),
					    O_RDONLY, err));
	state.runtime_is_network = state_fs_is_network(state.runtime_fd);
	*ret_state = state;
	state_init(&state);
	return 0;
}

/* The other folder than `state`'s own in which a run of the same user may be, or NULL. */
static int other_runtime_path(const struct state *state, char **ret_path, struct err *err)
{
	const char *variable = absolute_env("XDG_RUNTIME_DIR");
	cleanup_free char *base = variable ? strdup(variable)
					   : str_printf("/run/user/%u", (unsigned)geteuid());
	cleanup_free char *session = base ? str_printf("%s/bottle-runs", base) : NULL;
	cleanup_free char *kept = str_printf("%s/.run", state->state_path);
	struct stat st;

	if (!session || !kept)
		return err_sys(err, ENOMEM, "state");
	if (strcmp(state->runtime_path, kept) != 0)
		*ret_path = take_ptr(kept);
	else /* where it is another user's (sudo) none of ours can be in it */
		*ret_path = is_ours(base, &st) ? take_ptr(session) : NULL;
	return 0;
}

static int open_other(const struct state *state, struct state *ret_other, struct err *err)
{
	cleanup_free char *path = NULL;
	int fd;

	TRY(other_runtime_path(state, &path, err));
	if (!path || (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT))
		return -ENOENT;
	fd = open_own_folder(AT_FDCWD, path, path, O_RDONLY, err);
	if (fd < 0)
		return fd;
	ret_other->runtime_path = take_ptr(path);
	ret_other->runtime_fd = fd;
	return 0;
}

int state_each(int (*each)(struct state *state, void *ctx, struct err *err), void *ctx,
	       struct err *err)
{
	cleanup_with(state_clear) struct state state;
	cleanup_with(state_clear) struct state other;
	int rc;

	state_init(&state);
	state_init(&other);
	TRY(state_open(&state, err));
	TRY(each(&state, ctx, err));
	rc = open_other(&state, &other, err);
	return rc < 0 ? (rc == -ENOENT ? 0 : rc) : each(&other, ctx, err);
}

bool state_is_name(const char *name)
{
	enum { NAME_LEN_MAX = 41 };
	size_t len = strlen(name);

	return len && len <= NAME_LEN_MAX && name[0] != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}
