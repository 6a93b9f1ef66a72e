/* SPDX-License-Identifier: Apache-2.0
 *
 * The host's folders that the manifest shows the agent: the work folder, read_only, read_write.
 * Runs in: launcher, before anything has changed.
 *
 * All names are made canonical before they are compared: what bottle keeps, and the caller's home, may
 * be known under a name with a symbolic link in it (a home that was moved).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "runtime/plan_agent.h"

/* The request for one bind, as messages name it. */
struct request {
	const char *what;
	const char *name;
	bool writable;
};

bool plan_binds_are_written(const void *ctx, const char *folder)
{
	const struct plan_binds *binds = ctx;

	for (size_t i = 0; i < binds->len; i++)
		if (binds->items[i].writable && binds->items[i].folder &&
		    plan_path_is_below(folder, binds->items[i].path))
			return true;
	return false;
}

/* --- what may not be shown --------------------------------------------------------------------- */

/* Bottle lays these itself: a bind over them would uncover what it masks there. */
static int check_place(const char *path, const char *what, const struct plan *plan, struct err *err)
{
	static const char *const laid[] = { "/proc", "/sys", "/dev", "/run/bottle" };
	const struct mount_list *list = &plan->agent.mounts;

	if (strcmp(path, "/") == 0 || strcmp(path, "/run") == 0)
		return err_set(err, EINVAL, "%s: is '%s'; name the project's own folder", what,
			       path);
	for (size_t i = 0; i < sizeof(laid) / sizeof(laid[0]); i++)
		if (plan_path_is_below(path, laid[i]))
			return err_set(err, EINVAL,
				       "%s %s: lies in %s, which a bottle has of its own and never "
				       "from the host",
				       what, path, laid[i]);
	for (size_t i = 0; i < list->len; i++)
		if (list->ops[i].kind == MOUNT_BIND && strcmp(list->ops[i].at, path) == 0)
			return err_set(err, EINVAL,
				       "%s %s: is shown already, read-only, and cannot be made "
				       "writable; leave it out",
				       what, path);
	return 0;
}

/* A folder that the agent writes must not hold what bottle trusts, nor lie in it. */
static int check_kept(const struct plan_path_place *place, const char *what, const char *kept,
		      struct err *err)
{
	char real[PATH_MAX];
	int rc = plan_path_resolve(kept, NULL, NULL, real);

	if (rc < 0)
		return err_sys(err, -rc, "%s", kept);
	if (!plan_path_holds(place, real, NULL) && !plan_path_lies_in(place, real))
		return 0;
	return err_set(err, EINVAL,
		       "%s %s: overlaps %s, where bottle keeps what the agent must not write", what,
		       place->path, kept);
}

/* These very folders are many programs', whoever asks; what lies below them may be a project's. */
static int check_not_common(const char *path, const char *what, struct err *err)
{
	static const char *const common[] = { "/home", "/media", "/mnt", "/opt", "/root",
					      "/run",  "/srv",	 "/tmp", "/var", "/var/tmp" };

	for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
		if (plan_path_is_same(path, common[i]))
			return err_set(err, EINVAL,
				       "%s: is '%s', which is not one project's; name the "
				       "project's own folder",
				       what, common[i]);
	return 0;
}

static int check_writable(const char *path, const char *what, const struct plan *plan,
			  const struct plan_dirs *dirs, struct err *err)
{
	const char *const kept[] = { dirs->data, dirs->state, dirs->runtime };
	struct plan_path_place place;

	TRY(check_not_common(path, what, err));
	TRY(plan_homes_check(path, what, plan->home, err));
	plan_path_place(path, &place);
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		TRY(check_kept(&place, what, kept[i], err));
	return 0;
}

static int check_kind(struct plan_bind *bind, struct err *err)
{
	const char *what = bind->what;
	struct stat st;

	if (stat(bind->path, &st) < 0)
		return err_sys(err, errno, "%s %s", what, bind->path);
	if (S_ISSOCK(st.st_mode))
		return err_set(err, EINVAL,
			       "%s %s: is a unix socket, which would be a way out of the bottle",
			       what, bind->path);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "%s %s: is neither a folder nor a regular file", what,
			       bind->path);
	bind->folder = S_ISDIR(st.st_mode);
	return 0;
}

/* --- the binds --------------------------------------------------------------------------------- */

/* So that an earlier run may have written it. */
bool plan_binds_may_be_given(const struct plan *plan, const char *folder)
{
	struct err unsaid;

	return check_not_common(folder, "", &unsaid) == 0 &&
	       plan_homes_check(folder, "", plan->home, &unsaid) == 0;
}

/* By where the caller works: not by `/` or a home, under which everything lies. */
static bool is_under(const struct plan *plan, const char *folder, const char *place)
{
	char real[PATH_MAX];

	/* What cannot be told apart is taken for it. */
	return plan_path_resolve(place, NULL, NULL, real) < 0 ||
	       (plan_binds_may_be_given(plan, real) && plan_path_is_below(folder, real));
}

/* Whether `folder` is the caller's project's, by the current folder and the manifest's. */
static bool is_of_project(const struct plan *plan, const char *folder)
{
	const char *manifest = plan->manifest.path;
	const char *slash = manifest ? strrchr(manifest, '/') : NULL;
	cleanup_free char *named = slash ? str_printf("%.*s", (int)(slash - manifest) + 1, manifest)
					 : NULL;

	return is_under(plan, folder, ".") || (slash && (!named || is_under(plan, folder, named)));
}

/* For plan_path_resolve, ctx is the plan. Which folders earlier runs wrote nobody has noted. A link of the
 * system's or in a home itself no run can have made, and elsewhere the caller's own are followed. */
static bool may_be_a_runs(const void *ctx, const char *folder)
{
	const struct plan *plan = ctx;

	return is_of_project(plan, folder) && plan_binds_may_be_given(plan, folder);
}

static int resolve(const struct plan *plan, const struct request *request,
		   char ret_path[static PATH_MAX], struct err *err)
{
	int rc = plan_path_resolve(request->name, may_be_a_runs, plan, ret_path);

	if (rc != -EPERM)
		return rc < 0 ? err_sys(err, -rc, "%s %s", request->what, request->name) : 0;
	rc = plan_path_resolve(request->name, NULL, NULL, ret_path);
	return err_set(
		err, ELOOP,
		"%s %s: leads by a symbolic link, which an earlier run may have made, to %s; "
		"name the real path",
		request->what, request->name, rc < 0 ? "nowhere" : ret_path);
}

static int add(const struct plan *plan, struct plan_binds *binds, const struct request *request,
	       struct err *err)
{
	struct plan_bind *bind = &binds->items[binds->len];

	TRY(resolve(plan, request, bind->path, err));
	bind->writable = request->writable;
	bind->what = request->what;
	TRY(check_kind(bind, err));
	binds->len++;
	return 0;
}

static int add_work_folder(struct plan *plan, struct plan_binds *binds, const char *option,
			   struct err *err)
{
	const char *named = option ? option : plan->manifest.agent.workdir;
	const struct request request = {
		.what = option	? "--workdir"
			: named ? "agent.workdir"
				: "the current folder",
		.name = named ? named : ".",
		.writable = true,
	};

	TRY(add(plan, binds, &request, err));
	if (!binds->items[0].folder)
		return err_set(err, ENOTDIR, "%s %s: is not a folder", request.what,
			       binds->items[0].path);
	plan->work_folder = strdup(binds->items[0].path);
	return plan->work_folder ? 0 : err_sys(err, ENOMEM, "plan the work folder");
}

/* Where the i-th of these paths was said: options stand behind what the manifest has. */
static const char *said_as(const struct plan *plan, bool writable, size_t i)
{
	const struct strlist *names = writable ? &plan->manifest.agent.read_write
					       : &plan->manifest.agent.read_only;
	size_t options = writable ? plan->read_write_options : plan->read_only_options;

	if (i < names->len - options)
		return writable ? "agent.read_write" : "agent.read_only";
	return writable ? "--read-write" : "--read-only";
}

static int add_list(const struct plan *plan, struct plan_binds *binds, const struct strlist *names,
		    bool writable, struct err *err)
{
	for (size_t i = 0; i < names->len; i++) {
		const struct request request = { said_as(plan, writable, i), names->items[i],
						 writable };

		if (request.name[0] != '/')
			return err_set(err, EINVAL, "%s %s: must be an absolute path", request.what,
				       request.name);
		TRY(add(plan, binds, &request, err));
	}
	return 0;
}

/* Below a writable bind an earlier run may have laid the link: such a path is taken literally.
 * Elsewhere the caller's own links are followed. */
static int check_links(const struct plan *plan, const struct plan_binds *binds,
		       const struct strlist *names, bool writable, struct err *err)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < names->len; i++)
		if (plan_path_resolve(names->items[i], plan_binds_are_written, binds, path) ==
		    -EPERM)
			return err_set(
				err, ELOOP,
				"%s %s: a part of it is a symbolic link in a folder that the "
				"agent writes; name the real path",
				said_as(plan, writable, i), names->items[i]);
	return 0;
}

/* To show it may be meant, but hardly all that is in it. */
static int warn_home(struct plan *plan, const struct plan_bind *bind, struct err *err)
{
	int rc = plan_homes_check_whole(bind->path, bind->what, plan->home, err);

	if (rc == -EINVAL)
		rc = plan_warn(plan, "%s; the agent can read all of it", err->text);
	err->text[0] = '\0';
	return rc < 0 ? err_sys(err, -rc, "plan the agent's files") : 0;
}

static int check_places(struct plan *plan, const struct plan_binds *binds,
			const struct plan_dirs *dirs, struct err *err)
{
	for (size_t i = 0; i < binds->len; i++) {
		const struct plan_bind *bind = &binds->items[i];

		TRY(check_place(bind->path, bind->what, plan, err));
		TRY(bind->writable ? check_writable(bind->path, bind->what, plan, dirs, err)
				   : warn_home(plan, bind, err));
	}
	return 0;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct plan_bind *)a)->path, ((const struct plan_bind *)b)->path);
}

/* A folder comes before what lies in it. */
static int mount_binds(struct plan *plan, struct plan_binds *binds, struct err *err)
{
	qsort(binds->items, binds->len, sizeof(*binds->items), by_path);
	for (size_t i = 0; i < binds->len; i++) {
		struct plan_bind *bind = &binds->items[i];
		struct mount_op op = { .kind = MOUNT_BIND,
				       .flags = MOUNT_MAKE | MOUNT_NO_SYMLINKS |
						(bind->writable ? MOUNT_WRITABLE : 0),
				       .at = bind->path,
				       .source = bind->path };

		if (i && strcmp(bind->path, binds->items[i - 1].path) == 0)
			return err_set(err, EINVAL,
				       "%s is shown twice (work folder, read_only, read_write); "
				       "name it once",
				       bind->path);
		if (mount_list_add(&plan->agent.mounts, op) < 0 ||
		    (bind->writable && strlist_add(&plan->agent.writable, bind->path) < 0))
			return err_sys(err, ENOMEM, "plan the agent's files");
	}
	return 0;
}

static int add_links(struct plan *plan, const struct strlist *names, bool writable, struct err *err)
{
	for (size_t i = 0; i < names->len; i++) {
		int rc = plan_links(plan, said_as(plan, writable, i), names->items[i]);

		if (rc < 0)
			return err_sys(err, -rc, "%s %s", said_as(plan, writable, i),
				       names->items[i]);
	}
	return 0;
}

/* --- sockets ----------------------------------------------------------------------------------- */

static int mask(struct plan *plan, const struct strlist *sockets)
{
	for (size_t i = 0; i < sockets->len; i++) {
		if (strlist_has(&plan->masked, sockets->items[i]))
			continue;
		TRY(mount_list_add(&plan->agent.mounts,
				   (struct mount_op){ .kind = MOUNT_MASK,
						      .flags = MOUNT_OPTIONAL,
						      .at = sockets->items[i] }));
		TRY(strlist_add(&plan->masked, sockets->items[i]));
	}
	return 0;
}

/* The innermost folder that is shown decides; they stand in order. */
static bool is_writable(const struct plan_binds *binds, const char *path)
{
	bool writable = false;

	for (size_t i = 0; i < binds->len; i++)
		if (plan_path_is_below(path, binds->items[i].path))
			writable = binds->items[i].writable;
	return writable;
}

/* In what is shown read-only a FIFO could still be written; in what the agent writes it is one more thing
 * that it writes, and may be its own. */
static int add_fifos(const struct plan_binds *binds, const struct strlist *fifos,
		     struct strlist *masked)
{
	for (size_t i = 0; i < fifos->len; i++)
		if (!is_writable(binds, fifos->items[i]))
			TRY(strlist_add(masked, fifos->items[i]));
	return 0;
}

static int walk_for_sockets(struct plan *plan, const struct plan_binds *binds,
			    struct strlist *sockets, struct err *err)
{
	for (size_t i = 0; i < binds->len; i++) {
		const struct plan_bind *bind = &binds->items[i];
		cleanup_with(strlist_clear) struct strlist fifos = { 0 };
		bool complete = true;

		TRY(plan_sockets_walk(bind->path, bind->writable, sockets, &fifos, &complete, err));
		TRY(add_fifos(binds, &fifos, sockets));
		if (!complete &&
		    plan_warn(plan,
			      "%s: could not be searched whole for unix sockets and FIFOs; the "
			      "sockets that this host lists are masked, a FIFO or a socket made "
			      "under a relative name could have been missed",
			      bind->path) < 0)
			return -ENOMEM;
	}
	return 0;
}

static bool is_shown(const struct plan *plan, const char *path)
{
	const struct mount_list *list = &plan->agent.mounts;

	for (size_t i = 0; i < list->len; i++)
		if (list->ops[i].kind == MOUNT_BIND && plan_path_is_below(path, list->ops[i].at))
			return true;
	return false;
}

/* Sockets below a bind are a way out (a docker socket, an agent's socket): masked and told. The
 * system's folders are too large to be walked, and what is bound there the kernel lists. */
static int mask_sockets(struct plan *plan, const struct plan_binds *binds, struct err *err)
{
	cleanup_with(strlist_clear) struct strlist sockets = { 0 }, bound = { 0 };
	int rc = plan_sockets_bound(&bound);

	for (size_t i = 0; rc == 0 && i < bound.len; i++)
		if (is_shown(plan, bound.items[i]))
			rc = strlist_add(&sockets, bound.items[i]);
	if (rc == 0)
		rc = walk_for_sockets(plan, binds, &sockets, err);
	if (rc == 0)
		rc = mask(plan, &sockets);
	return rc == -ENOMEM ? err_sys(err, ENOMEM, "look for sockets") : rc;
}

int plan_agent_binds(struct plan *plan, const char *workdir_option, const struct plan_dirs *dirs,
		     struct err *err)
{
	const struct agent_config *agent = &plan->manifest.agent;
	cleanup_free struct plan_bind *items = calloc(
		1 + agent->read_only.len + agent->read_write.len, sizeof(*items));
	struct plan_binds binds = { .items = items };

	if (!items)
		return err_sys(err, ENOMEM, "plan the agent's files");
	TRY(add_work_folder(plan, &binds, workdir_option, err));
	TRY(add_list(plan, &binds, &agent->read_write, true, err));
	TRY(add_list(plan, &binds, &agent->read_only, false, err));
	TRY(check_links(plan, &binds, &agent->read_write, true, err));
	TRY(check_links(plan, &binds, &agent->read_only, false, err));
	TRY(check_places(plan, &binds, dirs, err));
	TRY(mount_binds(plan, &binds, err));
	TRY(add_links(plan, &agent->read_write, true, err));
	TRY(add_links(plan, &agent->read_only, false, err));
	TRY(mask_sockets(plan, &binds, err));
	return plan_guard(plan, &binds, err);
}
