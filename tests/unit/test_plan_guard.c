/* SPDX-License-Identifier: Apache-2.0
 * runtime/plan_guard.c, plan_path.c: what the agent may not change in a folder that it writes, what is
 * looked for at the end, and names with links in them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/plan_agent.h"

static char base[64]; /* home/work is the work folder */
static struct plan plan;
static struct err err;
static char paths[3][128];
static struct plan_dirs dirs = { paths[0], paths[1], paths[2] };

static char *below(const char *name)
{
	static char path[16][384];
	static unsigned next;
	char *p = path[next++ % 16];

	snprintf(p, sizeof(path[0]), "%s/%s", base, name);
	return p;
}

static char *work(const char *name)
{
	char full[256];

	snprintf(full, sizeof(full), "home/work/%s", name);
	return below(full);
}

static void make_folder(const char *path)
{
	cr_assert_eq(mkdir(path, 0755), 0, "%s", path);
}

static void make_file(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);

	cr_assert_geq(fd, 0, "%s", path);
	close(fd);
}

static void set_up(void)
{
	static const char *const kept[] = { "data", "state", "run" };
	char template[] = "/tmp/test_guard.XXXXXX";
	char real[PATH_MAX];

	cr_assert_not_null(mkdtemp(template));
	cr_assert_not_null(realpath(template, real));
	snprintf(base, sizeof(base), "%.63s", real);
	make_folder(below("home"));
	make_folder(below("home/work"));
	for (size_t i = 0; i < 3; i++)
		snprintf(paths[i], sizeof(paths[i]), "%s/%s", base, kept[i]);
	plan = (struct plan){ .home = strdup(below("home")) };
	manifest_init(&plan.manifest);
	err.text[0] = '\0';
	setenv("XDG_CONFIG_HOME", below("config"), 1);
}

static void tear_down(void)
{
	char command[192];

	plan_clear(&plan);
	snprintf(command, sizeof(command), "chmod -R u+rwx '%s'; rm -rf -- '%s'", base, base);
	cr_assert_eq(system(command), 0);
}

TestSuite(plan_guard, .init = set_up, .fini = tear_down);

static int bind_all(void)
{
	return plan_agent_binds(&plan, below("home/work"), &dirs, &err);
}

static void assert_taken(void)
{
	cr_assert_eq(bind_all(), 0, "%s", err.text);
}

static void assert_refused(const char *sentence)
{
	cr_assert_lt(bind_all(), 0, "was taken");
	cr_assert_not_null(strstr(err.text, sentence), "%s", err.text);
}

static const struct mount_op *alias_at(const char *at)
{
	for (size_t i = 0; i < plan.agent.mounts.len; i++)
		if (plan.agent.mounts.ops[i].kind == MOUNT_ALIAS &&
		    strcmp(plan.agent.mounts.ops[i].at, at) == 0)
			return &plan.agent.mounts.ops[i];
	return NULL;
}

static void assert_read_only(const char *at)
{
	const struct mount_op *op = alias_at(at);

	cr_assert(op && !(op->flags & MOUNT_WRITABLE), "%s is not read-only", at);
	cr_assert(op->flags & MOUNT_NO_SYMLINKS);
	cr_assert(strlist_has(&plan.guarded, at));
}

static void assert_pinned(const char *at)
{
	const struct mount_op *op = alias_at(at);

	cr_assert(op && op->flags & MOUNT_WRITABLE, "%s is not pinned", at);
}

static bool warns(const char *path, const char *words)
{
	for (size_t i = 0; i < plan.warnings.len; i++)
		if (strstr(plan.warnings.items[i], path) && strstr(plan.warnings.items[i], words))
			return true;
	return false;
}

static bool is_made(const char *path)
{
	struct strlist made = { 0 };
	bool is;

	cr_assert_eq(plan_guard_find_made(&plan, &made), 0);
	is = strlist_has(&made, path);
	strlist_clear(&made);
	return is;
}

/* --- git --- */

static void make_repository(const char *git)
{
	static const char *const folders[] = { "",	   "/hooks",   "/info",
					       "/modules", "/objects", "/refs" };
	static const char *const names[] = { "/HEAD", "/config", "/commondir", "/config.worktree" };
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		snprintf(path, sizeof(path), "%s%s", git, folders[i]);
		if (access(path, F_OK) < 0)
			make_folder(path);
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s%s", git, names[i]);
		make_file(path);
	}
}

Test(plan_guard, what_turns_git_is_read_only_and_the_rest_is_not)
{
	static const char *const fixed[] = { ".git/hooks",     ".git/config",
					     ".git/commondir", ".git/config.worktree",
					     ".git/info",      ".git/modules" };

	make_repository(work(".git"));
	assert_taken();
	assert_pinned(work(".git"));
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		assert_read_only(work(fixed[i]));
		cr_assert_lt(alias_at(work(".git")), alias_at(work(fixed[i])));
	}
	cr_assert_null(alias_at(work(".git/objects")));
	cr_assert_null(alias_at(work(".git/HEAD")));
}

Test(plan_guard, a_git_that_is_a_file_is_read_only)
{
	make_file(work(".git"));
	assert_taken();
	assert_read_only(work(".git"));
}

Test(plan_guard, a_git_that_is_a_link_is_told_and_no_error)
{
	cr_assert_eq(symlink("/nowhere", work(".git")), 0);
	assert_taken();
	cr_assert_null(alias_at(work(".git")));
	cr_assert(warns(work(".git"), "symbolic link"));
}

Test(plan_guard, a_bare_repository_is_guarded_as_it_is)
{
	make_repository(below("home/work"));
	assert_taken();
	assert_read_only(work("config"));
	assert_read_only(work("hooks"));
	cr_assert_null(alias_at(work("objects")));
}

Test(plan_guard, a_folder_that_is_no_repository_keeps_its_config)
{
	make_folder(work("config"));
	assert_taken();
	cr_assert_null(alias_at(work("config")));
}

Test(plan_guard, a_linked_worktree_is_not_turned)
{
	make_repository(work(".git"));
	make_folder(work(".git/worktrees"));
	make_folder(work(".git/worktrees/w"));
	make_file(work(".git/worktrees/w/commondir"));
	assert_taken();
	assert_pinned(work(".git/worktrees"));
	assert_pinned(work(".git/worktrees/w"));
	assert_read_only(work(".git/worktrees/w/commondir"));
}

static void make_worktrees(const char *kind, int count, bool real)
{
	char name[64];

	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), ".git/worktrees/%s%d", kind, i);
		make_folder(work(name));
		snprintf(name, sizeof(name), ".git/worktrees/%s%d/commondir", kind, i);
		if (real)
			make_file(work(name));
	}
}

Test(plan_guard, folders_beside_a_linked_worktree_do_not_hide_it)
{
	make_repository(work(".git"));
	make_folder(work(".git/worktrees"));
	make_worktrees("empty", 600, false);
	make_worktrees("w", 3, true);
	make_worktrees("later", 600, false);
	assert_taken();
	for (int i = 0; i < 3; i++) {
		char name[64];

		snprintf(name, sizeof(name), ".git/worktrees/w%d/commondir", i);
		assert_read_only(work(name));
	}
	cr_assert_null(alias_at(work(".git/worktrees/empty0")));
}

Test(plan_guard, more_linked_worktrees_than_can_be_guarded_refuse_the_run)
{
	make_repository(work(".git"));
	make_folder(work(".git/worktrees"));
	make_worktrees("w", 257, true);
	assert_refused("/.git/worktrees: more than 256 linked worktrees");
}

/* By this, or by the search for sockets, whichever comes first. */
static void assert_closed_is_refused(const char *folder)
{
	if (geteuid() == 0)
		cr_skip_test("root searches every folder");
	make_repository(work(".git"));
	make_folder(work(".git/worktrees"));
	make_worktrees("w", 1, true);
	cr_assert_eq(chmod(work(folder), 0111), 0);
	assert_refused(folder);
}

Test(plan_guard, worktrees_that_cannot_be_searched_refuse_the_run)
{
	assert_closed_is_refused(".git/worktrees");
}

Test(plan_guard, a_worktree_that_cannot_be_searched_refuses_the_run)
{
	assert_closed_is_refused(".git/worktrees/w0");
}

Test(plan_guard, a_read_write_folder_is_guarded_too)
{
	make_folder(below("other"));
	make_file(below("other/.envrc"));
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_write, below("other")), 0);
	assert_taken();
	assert_read_only(below("other/.envrc"));
}

/* --- links and second names --- */

Test(plan_guard, a_linked_envrc_is_told_and_no_error)
{
	make_file(below("home/real"));
	cr_assert_eq(symlink("../real", work(".envrc")), 0);
	assert_taken();
	cr_assert_null(alias_at(work(".envrc")));
	cr_assert(warns(work(".envrc"), "is a symbolic link and is not made read-only"));
}

Test(plan_guard, a_guarded_file_with_a_second_name_is_refused)
{
	make_file(work("other"));
	cr_assert_eq(link(work("other"), work(".envrc")), 0);
	assert_refused("cp -p f f.new && mv f.new f");
}

Test(plan_guard, a_hook_with_a_second_name_is_refused)
{
	make_repository(work(".git"));
	make_file(work("other"));
	cr_assert_eq(link(work("other"), work(".git/hooks/pre-commit")), 0);
	assert_refused("pre-commit: has 2 names");
}

Test(plan_guard, a_read_only_file_with_a_second_name_in_the_work_folder_is_refused)
{
	make_file(work("other"));
	cr_assert_eq(link(work("other"), work("shown")), 0);
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, work("shown")), 0);
	assert_refused("shown: has 2 names");
}

Test(plan_guard, a_file_with_a_second_name_in_a_read_only_folder_there_is_refused)
{
	make_folder(work("a"));
	make_folder(work("a/fixed"));
	make_file(work("other"));
	cr_assert_eq(link(work("other"), work("a/fixed/file")), 0);
	cr_assert_eq(symlink("elsewhere", work("a/fixed/a-link")), 0);
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, work("a/fixed")), 0);
	assert_refused("a/fixed/file: has 2 names");
	cr_assert_not(warns(work("a/fixed/a-link"), "is a symbolic link"));
}

Test(plan_guard, a_read_only_file_with_a_second_name_elsewhere_is_taken)
{
	make_file(below("home/shown"));
	cr_assert_eq(link(below("home/shown"), below("home/other")), 0);
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, below("home/shown")), 0);
	assert_taken();
}

Test(plan_guard, shared_objects_of_a_submodule_are_no_second_names)
{
	make_repository(work(".git"));
	make_folder(work(".git/modules/sub"));
	make_folder(work(".git/modules/sub/objects"));
	make_file(work("other"));
	cr_assert_eq(link(work("other"), work(".git/modules/sub/objects/pack")), 0);
	assert_taken();
}

/* --- what is missing --- */

Test(plan_guard, what_is_made_inside_is_found_at_the_end)
{
	static const char *const made[] = {
		".git",		  ".git/hooks",		  ".git/config",
		".git/commondir", ".git/config.worktree", ".git/modules"
	};

	assert_taken();
	cr_assert(!is_made(work(".git")) && !is_made(work(".envrc")));
	make_repository(work(".git"));
	make_file(work(".git/info/attributes"));
	make_folder(work(".vscode"));
	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
		cr_assert(is_made(work(made[i])), "%s", made[i]);
	cr_assert(is_made(work(".git/info/attributes")));
	cr_assert(is_made(work(".vscode")));
	cr_assert(!is_made(work(".envrc")) && !is_made(work(".git/rebase-merge")));
	make_folder(work(".git/rebase-merge"));
	cr_assert(is_made(work(".git/rebase-merge")));
}

Test(plan_guard, a_file_in_place_of_the_folder_is_found)
{
	assert_taken();
	make_file(work(".git"));
	cr_assert(is_made(work(".git")) && is_made(work(".git/hooks")));
}

Test(plan_guard, a_link_in_place_of_the_folder_is_found)
{
	assert_taken();
	cr_assert_eq(symlink("nowhere", work(".git")), 0);
	cr_assert(is_made(work(".git")) && is_made(work(".git/config")));
}

Test(plan_guard, a_work_folder_that_becomes_a_repository_is_found)
{
	assert_taken();
	make_file(work("HEAD"));
	cr_assert(is_made(work("HEAD")));
}

/* --- what bottle reads --- */

static void name_manifest(const char *path)
{
	plan.manifest.path = strdup(path);
}

Test(plan_guard, the_manifest_is_read_only_and_no_folder_above_it_can_be_moved)
{
	make_folder(work("a"));
	make_folder(work("a/b"));
	make_file(work("a/b/m.yaml"));
	name_manifest(work("a/b/m.yaml"));
	assert_taken();
	assert_pinned(work("a"));
	assert_pinned(work("a/b"));
	assert_read_only(work("a/b/m.yaml"));
	cr_assert(alias_at(work("a")) < alias_at(work("a/b")) &&
		  alias_at(work("a/b")) < alias_at(work("a/b/m.yaml")));
	cr_assert_null(alias_at(below("home/work")));
}

Test(plan_guard, a_manifest_elsewhere_or_a_pipe_needs_no_guard)
{
	make_file(below("m.yaml"));
	name_manifest(below("m.yaml"));
	cr_assert_eq(strlist_add(&plan.manifest.extra_ca, "/dev/fd/0"), 0);
	assert_taken();
	cr_assert_null(alias_at(below("m.yaml")));
}

Test(plan_guard, a_manifest_behind_a_link_that_the_agent_can_turn_is_refused)
{
	make_folder(work("a"));
	make_file(work("a/m.yaml"));
	cr_assert_eq(symlink("a", work("l")), 0);
	name_manifest(work("l/m.yaml"));
	assert_refused("the manifest");
	cr_assert_not_null(strstr(err.text, "name the real path"), "%s", err.text);
}

Test(plan_guard, a_link_of_the_callers_own_to_the_manifest_is_followed)
{
	make_file(work("m.yaml"));
	cr_assert_eq(symlink(work("m.yaml"), below("l")), 0);
	name_manifest(below("l"));
	assert_taken();
	assert_read_only(work("m.yaml"));
}

Test(plan_guard, ca_files_are_read_only)
{
	make_file(work("extra.pem"));
	make_file(work("up.pem"));
	cr_assert_eq(strlist_add(&plan.manifest.extra_ca, work("extra.pem")), 0);
	plan.manifest.upstream.ca_path = strdup(work("up.pem"));
	assert_taken();
	assert_read_only(work("extra.pem"));
	assert_read_only(work("up.pem"));
}

Test(plan_guard, a_default_manifest_that_the_agent_could_make_is_looked_for)
{
	setenv("XDG_CONFIG_HOME", work(""), 1);
	assert_taken();
	make_folder(work("bottle"));
	make_file(work("bottle/bottle.yaml"));
	cr_assert(is_made(work("bottle/bottle.yaml")));
}

Test(plan_guard, a_read_only_folder_below_a_writable_one_cannot_be_moved_away)
{
	make_folder(work("a"));
	make_folder(work("a/fixed"));
	cr_assert_eq(strlist_add(&plan.manifest.agent.read_only, work("a/fixed")), 0);
	assert_taken();
	assert_pinned(work("a"));
}

/* --- names --- */

static void assert_resolves(const char *path, const char *wanted)
{
	char real[PATH_MAX];

	cr_assert_eq(plan_path_resolve(path, NULL, NULL, real), 0);
	cr_assert_str_eq(real, wanted);
}

Test(plan_guard, names_resolve_also_where_their_end_is_missing)
{
	make_folder(below("x"));
	cr_assert_eq(symlink("x", below("relative")), 0);
	cr_assert_eq(symlink(below("x"), below("absolute")), 0);
	assert_resolves(below("relative/no/such"), below("x/no/such"));
	assert_resolves(below("absolute//no/./such/"), below("x/no/such"));
	assert_resolves(below("absolute/../y"), below("y"));
	assert_resolves("//", "/");
	assert_resolves("/..", "/");
	cr_assert_eq(chdir(below("x")), 0);
	assert_resolves("z", below("x/z"));
	assert_resolves(".", below("x"));
	cr_assert_eq(chdir("/"), 0);
}

Test(plan_guard, a_circle_of_links_ends)
{
	char real[PATH_MAX];

	cr_assert_eq(symlink("b", below("a")), 0);
	cr_assert_eq(symlink("a", below("b")), 0);
	cr_assert_eq(plan_path_resolve(below("a"), NULL, NULL, real), -ELOOP);
}

/* --- watched --- */

Test(plan_guard, what_guards_is_watched)
{
	make_repository(work(".git"));
	assert_taken();
	cr_assert(alias_at(work(".git"))->flags & MOUNT_GUARD);
	cr_assert(alias_at(work(".git/config"))->flags & MOUNT_GUARD);
	for (size_t i = 0; i < plan.agent.mounts.len; i++)
		if (plan.agent.mounts.ops[i].kind == MOUNT_BIND)
			cr_assert(!(plan.agent.mounts.ops[i].flags & MOUNT_GUARD));
}

Test(plan_guard, a_guarded_file_that_is_another_at_the_end_is_named)
{
	struct strlist changed = { 0 };

	make_repository(work(".git"));
	assert_taken();
	cr_assert_eq(plan_guard_find_changed(&plan, true, &changed), 0);
	cr_assert_eq(changed.len, 0);
	make_file(work("new"));
	cr_assert_eq(rename(work("new"), work(".git/config")), 0);
	cr_assert_eq(plan_guard_find_changed(&plan, false, &changed), 0);
	cr_assert(changed.len == 1 && strlist_has(&changed, work(".git/config")));
	strlist_clear(&changed);
}
