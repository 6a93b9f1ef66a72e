/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of a run that its containers are shown, read-only, out of the run's own folder: the certificate
 * that the agent trusts, and the host's store for a proxy that brings none. None of them is secret.
 *
 * Runs in: the launcher of the Docker backend.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "ca/bundle.h"
#include "runtime/docker_create.h"
#include "runtime/docker_run.h"

/* Readable by all: the container's uid need not be ours. The folder above is 0700. */
static int open_new(const struct docker_run *run, const char *name, struct err *err)
{
	cleanup_fd int fd = openat(run->folder.dir_fd, name,
				   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0 || fchmod(fd, 0444) < 0)
		return err_sys(err, errno, "%s/%s", run->folder.path, name);
	return take_fd(&fd);
}

static int write_text(const struct docker_run *run, const char *name, const struct buf *text,
		      struct err *err)
{
	cleanup_fd int fd = open_new(run, name, err);
	int rc = fd < 0 ? fd : fd_write_all(fd, text->data, text->len);

	return fd >= 0 && rc < 0 ? err_sys(err, -rc, "%s/%s", run->folder.path, name) : rc;
}

static int write_bundle(const struct docker_run *run, const char *name, const char *extra,
			struct err *err)
{
	cleanup_fd int fd = open_new(run, name, err);

	return fd < 0 ? fd : ca_bundle_write(ca_host_bundle_path(), extra, fd, err);
}

int docker_files_write(struct docker_run *run, struct err *err)
{
	static char nothing[1];
	const struct buf empty = { .data = nothing };
	const struct material *m = &run->material;

	if (mkdirat(run->folder.dir_fd, DOCKER_FILE_AGENT, 0700) < 0 ||
	    fchmodat(run->folder.dir_fd, DOCKER_FILE_AGENT, 0755, 0) < 0)
		return err_sys(err, errno, "%s/%s", run->folder.path, DOCKER_FILE_AGENT);
	TRY(write_text(run, DOCKER_FILE_CA, &m->ca_cert, err));
	TRY(write_text(run, DOCKER_FILE_TRUSTSTORE, &m->truststore, err));
	TRY(write_bundle(run, DOCKER_FILE_BUNDLE, m->ca_cert.data, err));
	TRY(write_text(run, DOCKER_FILE_MASK, &empty, err));
	if (!run->plan->docker.proxy_image.wants_host_store || !ca_host_bundle_path())
		return 0;
	return write_bundle(run, DOCKER_FILE_STORE, "", err);
}
