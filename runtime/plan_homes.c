/* SPDX-License-Identifier: Apache-2.0
 *
 * Folders that the agent may not write, since the system or a person's login obeys what lies there: the
 * system's trees, a home as a whole, and what of a home holds keys, programs on PATH or a tool's
 * configuration. Runs in: launcher, before anything has changed.
 */
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "runtime/plan_agent.h"

static const char *const system_trees[] = { "/bin",   "/boot",	 "/etc",  "/lib", "/lib32",
					    "/lib64", "/libx32", "/sbin", "/usr" };

/* Of .config what a login or git obeys: an agent may well have a folder of its own in there. */
static const char *const kept_in_homes[] = {
	".aws",
	".docker",
	".gnupg",
	".kube",
	".ssh",
	".local/bin",
	"bin",
	".config/fish",
	".config/git",
	".config/autostart",
	".config/systemd",
	".config/environment.d",
};

/* What is checked, and the homes it was checked against (canonical): one person's comes up three times. */
struct check {
	const struct plan_path_place *place;
	const char *what; /* an option or a key, for the sentence */
	struct strlist homes;
	bool is_whole; /* a home as a whole alone counts */
};

static void check_clear(struct check *check)
{
	strlist_clear(&check->homes);
}

static int check_system(const struct check *check, struct err *err)
{
	for (size_t i = 0; i < sizeof(system_trees) / sizeof(system_trees[0]); i++)
		if (plan_path_lies_in(check->place, system_trees[i]))
			return err_set(err, EINVAL,
				       "%s %s: is or lies in '%s', a folder of the system; name "
				       "the project's own folder",
				       check->what, check->place->path, system_trees[i]);
	return 0;
}

/* By its canonical name: a `.config` may be a link to a folder of dot files. The home itself is known not to
 * lie in the place. */
static int check_kept(const struct check *check, const char *home, struct err *err)
{
	for (size_t i = 0; i < sizeof(kept_in_homes) / sizeof(kept_in_homes[0]); i++) {
		cleanup_free char *kept = str_printf("%s/%s", home, kept_in_homes[i]);
		char real[PATH_MAX];

		if (!kept)
			return err_sys(err, ENOMEM, "plan the agent's files");
		if (plan_path_resolve(kept, NULL, NULL, real) < 0)
			continue;
		if (plan_path_lies_in(check->place, real) ||
		    plan_path_holds(check->place, real, home))
			return err_set(err, EINVAL,
				       "%s %s: is, contains or lies in %s, where keys, programs or "
				       "settings of a login lie; name the project's own folder",
				       check->what, check->place->path, kept);
	}
	return 0;
}

static int check_home(struct check *check, const char *home, struct err *err)
{
	char real[PATH_MAX];

	if (!home || home[0] != '/' || plan_path_resolve(home, NULL, NULL, real) < 0 ||
	    strcmp(real, "/") == 0 || strlist_has(&check->homes, real))
		return 0;
	if (strlist_add(&check->homes, real) < 0)
		return err_sys(err, ENOMEM, "plan the agent's files");
	if (plan_path_holds(check->place, real, NULL))
		return err_set(
			err, EINVAL,
			"%s %s: is or contains the home folder %s, and with it keys and shell "
			"startup files; name the project's own folder",
			check->what, check->place->path, home);
	return check->is_whole ? 0 : check_kept(check, real, err);
}

/* Where nobody logs in, nothing is obeyed at a login: /var/www is such a home. */
static bool has_login(const struct passwd *pw)
{
	const char *shell = strrchr(pw->pw_shell, '/');

	return !shell || (strcmp(shell, "/nologin") != 0 && strcmp(shell, "/false") != 0);
}

static int check_homes(struct check *check, const char *agents_home, struct err *err)
{
	const struct passwd *pw;
	int rc;

	TRY(check_home(check, agents_home, err));
	TRY(check_home(check, getenv("HOME"), err));
	pw = getpwuid(geteuid());
	TRY(check_home(check, pw ? pw->pw_dir : NULL, err));
	setpwent();
	for (rc = 0; rc == 0 && (pw = getpwent());)
		rc = has_login(pw) ? check_home(check, pw->pw_dir, err) : 0;
	endpwent();
	return rc;
}

int plan_homes_check(const char *path, const char *what, const char *agents_home, struct err *err)
{
	struct plan_path_place place;
	cleanup_with(check_clear) struct check check = { .place = &place, .what = what };

	plan_path_place(path, &place);
	TRY(check_system(&check, err));
	return check_homes(&check, agents_home, err);
}

int plan_homes_check_whole(const char *path, const char *what, const char *agents_home,
			   struct err *err)
{
	struct plan_path_place place;
	cleanup_with(check_clear) struct check check = { .place = &place,
							 .what = what,
							 .is_whole = true };

	plan_path_place(path, &place);
	return check_homes(&check, agents_home, err);
}
