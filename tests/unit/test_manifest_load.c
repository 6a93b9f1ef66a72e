/* SPDX-License-Identifier: Apache-2.0
 * runtime/manifest_load.c: which manifest counts, and what is not read at all. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "config/trust.h"
#include "runtime/manifest_load.h"

static const char text[] = "egress: {routes: [{host: up.test}]}\n";
static char base[64];
static char state_path[128];
static struct state state;
static struct manifest manifest;
static struct err err;

static void put(const char *name)
{
	int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);

	cr_assert_geq(fd, 0);
	cr_assert_eq(fd_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static void set_up(void)
{
	char template[] = "/tmp/test_load.XXXXXX";
	char real[PATH_MAX];

	cr_assert_not_null(mkdtemp(template));
	cr_assert_not_null(realpath(template, real));
	snprintf(base, sizeof(base), "%.63s", real);
	cr_assert_eq(chdir(base), 0);
	cr_assert(mkdir("state", 0700) == 0 && mkdir("config", 0700) == 0 &&
		  mkdir("config/bottle", 0700) == 0 && mkdir("work", 0700) == 0);
	snprintf(state_path, sizeof(state_path), "%s/state", base);
	setenv("HOME", base, 1);
	setenv("XDG_CONFIG_HOME", "config", 1); /* not absolute: counts as unset */
	state_init(&state);
	state.state_path = strdup(state_path);
	manifest_init(&manifest);
	cr_assert_eq(chdir("work"), 0);
	alarm(20); /* what hangs on a fifo */
}

static void tear_down(void)
{
	char command[192];

	state_clear(&state);
	manifest_clear(&manifest);
	snprintf(command, sizeof(command), "rm -rf -- '%s'", base);
	cr_assert_eq(chdir("/"), 0);
	cr_assert_eq(system(command), 0);
}

TestSuite(manifest_load, .init = set_up, .fini = tear_down);

static void accept_as(const char *path)
{
	static const struct strlist no_files;
	int fd = open(state_path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	cr_assert_eq(trust_accept(fd, path, text, strlen(text), &no_files, &err), 0, "%s",
		     err.text);
	close(fd);
}

static int load(const char *named)
{
	return manifest_load(&manifest, named, false, &state, &err);
}

static void assert_refused(const char *named, int code, const char *words)
{
	cr_assert_eq(load(named), code, "%s", err.text);
	cr_assert_not_null(strstr(err.text, words), "%s", err.text);
}

Test(manifest_load, a_found_one_counts_by_the_real_path_of_its_folder)
{
	char path[128];

	put("bottle.yaml");
	assert_refused(NULL, -ENOKEY, "bottle trust");
	snprintf(path, sizeof(path), "%s/work/bottle.yaml", base);
	accept_as(path);
	cr_assert_eq(load(NULL), 0, "%s", err.text);
	cr_assert_eq(manifest.route_count, 1);
}

Test(manifest_load, a_found_link_never_counts_even_if_its_target_was_accepted)
{
	char path[128];

	put("kept.yaml");
	snprintf(path, sizeof(path), "%s/work/kept.yaml", base);
	accept_as(path);
	cr_assert_eq(symlink("kept.yaml", "bottle.yaml"), 0);
	assert_refused(NULL, -ELOOP, "is a symbolic link");
	snprintf(path, sizeof(path), "-f '%s/work/kept.yaml')", base);
	assert_refused(NULL, -ELOOP, path);
}

Test(manifest_load, a_dangling_link_is_found_and_not_passed_over)
{
	cr_assert_eq(symlink("nothing", "bottle.yaml"), 0);
	assert_refused(NULL, -ELOOP, "is a symbolic link");
}

Test(manifest_load, trust_takes_no_link_and_keeps_the_folders_real_path)
{
	char path[128];
	char *found = NULL;
	struct buf bytes = { 0 };

	put("real.yaml");
	cr_assert_eq(symlink("real.yaml", "link.yaml"), 0);
	cr_assert_eq(manifest_read_found("link.yaml", &found, &bytes, &err), -ELOOP);
	cr_assert_eq(symlink("work", "../other"), 0);
	cr_assert_eq(manifest_read_found("../other/real.yaml", &found, &bytes, &err), 0, "%s",
		     err.text);
	snprintf(path, sizeof(path), "%s/work/real.yaml", base);
	cr_assert_str_eq(found, path);
	cr_assert_str_eq(bytes.data, text);
	free(found);
	buf_clear(&bytes);
}

Test(manifest_load, a_found_fifo_is_refused_at_once)
{
	cr_assert_eq(mkfifo("bottle.yaml", 0600), 0);
	assert_refused(NULL, -EINVAL, "is not a regular file");
}

Test(manifest_load, a_fifo_in_the_configuration_folder_is_refused_at_once)
{
	cr_assert_eq(mkdir("../.config", 0700), 0);
	cr_assert_eq(mkdir("../.config/bottle", 0700), 0);
	cr_assert_eq(mkfifo("../.config/bottle/bottle.yaml", 0600), 0);
	assert_refused(NULL, -EINVAL, "is not a regular file");
}

Test(manifest_load, a_home_that_is_not_absolute_leads_not_into_the_current_folder)
{
	static const char *const homes[] = { ".", "", NULL };
	char here[128];

	cr_assert_eq(mkdir(".config", 0700), 0);
	cr_assert_eq(mkdir(".config/bottle", 0700), 0);
	put(".config/bottle/bottle.yaml");
	snprintf(here, sizeof(here), "%s/work/", base);
	for (size_t i = 0; i < sizeof(homes) / sizeof(homes[0]); i++) {
		char *path = NULL;

		if (homes[i])
			setenv("HOME", homes[i], 1);
		else
			unsetenv("HOME");
		cr_assert_eq(state_default_manifest(&path, &err), 0, "%s", err.text);
		cr_assert(path && path[0] == '/' && strncmp(path, here, strlen(here)) != 0);
		if (access(path, F_OK) < 0)
			assert_refused(NULL, -ENOENT, path);
		free(path);
	}
}

Test(manifest_load, one_that_is_named_may_be_a_pipe)
{
	char name[32];
	int fds[2];

	cr_assert_eq(fd_pipe(fds), 0);
	cr_assert_eq(fd_write_all(fds[1], text, strlen(text)), 0);
	close(fds[1]);
	snprintf(name, sizeof(name), "/dev/fd/%d", fds[0]);
	cr_assert_eq(load(name), 0, "%s", err.text);
	cr_assert_eq(manifest.route_count, 1);
	close(fds[0]);
}
