/* SPDX-License-Identifier: Apache-2.0
 *
 * The secrets by standard input; see stdin_secrets.h. Runs in: the proxy's worker, before settings are read and
 * the signer is made. Holds: all secrets, in one mapping that is in no core and no child, wiped at the end.
 *
 * A key must not reach Docker's writable layer, not even for the moment in which a wrong mount is noticed: so
 * a folder is asked for its kind before a file is made in it, and the file is made below that descriptor.
 */
#include "proxy/stdin_secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "proxy/stdin_archive.h"

int stdin_secrets_wanted(bool *ret_wanted, struct err *err)
{
	const char *way = getenv("EGRESS_PROXY_SECRETS");

	if (way && *way && strcmp(way, "stdin") != 0)
		return err_set(err, EINVAL, "EGRESS_PROXY_SECRETS is not stdin");
	*ret_wanted = way && *way;
	return 0;
}

/* ---- reading ---- */

static int read_exactly(int fd, char *bytes, size_t len, struct err *err)
{
	while (len) {
		ssize_t n = read(fd, bytes, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, errno, "cannot be read");
		if (n == 0)
			return err_set(err, EINVAL, "the archive ends too early");
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Never asks for a byte beyond the archive, so it does not wait for the descriptor's end. */
static int read_archive(int fd, char *bytes, size_t *len, struct stdin_archive *ret_archive,
			struct err *err)
{
	for (;;) {
		ssize_t more = stdin_archive_read(ret_archive, bytes, *len, err);

		if (more <= 0)
			return (int)more;
		*len += (size_t)more;
		TRY(read_exactly(fd, bytes + *len - more, (size_t)more, err));
	}
}

/* ---- files ---- */

/* The folder of `path` below `root_fd`, when nothing that is written there reaches a disk. */
static int open_folder(int root_fd, const char *path, int *ret_fd, struct err *err)
{
	cleanup_free char *folder = strndup(path, (size_t)(strrchr(path, '/') - path));
	cleanup_fd int fd = -1;
	struct statfs fs;

	if (!folder)
		return err_sys(err, ENOMEM, "/%s", path);
	fd = fd_open_nosymlinks(root_fd, folder, O_DIRECTORY | O_RDONLY, 0);
	if (fd < 0)
		return err_sys(err, -fd, "/%s", folder);
	if (fstatfs(fd, &fs) < 0)
		return err_sys(err, errno, "/%s", folder);
	if (fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC)
		return err_set(err, EINVAL, "/%s is no tmpfs: mount one there", folder);
	*ret_fd = take_fd(&fd);
	return 0;
}

static int lay_file(int root_fd, const char *path, struct span bytes, struct err *err)
{
	cleanup_fd int folder_fd = -1, fd = -1;
	int rc;

	TRY(open_folder(root_fd, path, &folder_fd, err));
	fd = openat(folder_fd, strrchr(path, '/') + 1,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
	if (fd < 0)
		return err_sys(err, errno, "/%s", path);
	/* Not 0400 less the umask. */
	rc = fchmod(fd, 0400) < 0 ? -errno : fd_write_all(fd, bytes.at, bytes.len);
	return rc < 0 ? err_sys(err, -rc, "/%s", path) : 0;
}

static int lay_files(int root_fd, const struct stdin_archive *archive, struct err *err)
{
	for (int i = 0; i < STDIN_FILES; i++)
		if (archive->has[i] && i != STDIN_TOKENS)
			TRY(lay_file(root_fd, stdin_file_names[i], archive->files[i], err));
	return 0;
}

/* ---- all of it ---- */

/* `len` grows with what may hold a secret. */
static int take_all(int fd, int root_fd, char *bytes, size_t *len, struct tokens *ret_tokens,
		    struct err *err)
{
	struct stdin_archive archive = { 0 };
	struct span *tokens = &archive.files[STDIN_TOKENS];

	TRY(read_archive(fd, bytes, len, &archive, err));
	TRY(lay_files(root_fd, &archive, err));
	/* Without any, an empty table all the same. */
	return tokens_take_lines(bytes + (tokens->at ? tokens->at - bytes : 0), tokens->len,
				 ret_tokens, err);
}

int stdin_secrets_take(int fd, int root_fd, struct tokens *ret_tokens, struct err *err)
{
	const size_t size = STDIN_ARCHIVE_MAX_BYTES;
	char *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t len = 0;
	int rc;

	if (bytes == MAP_FAILED)
		return err_sys(err, errno, "memory for the secrets");
	/* RLIMIT_MEMLOCK may forbid it; swap then is the host's affair. */
	(void)!mlock2(bytes, size, MLOCK_ONFAULT);
	if (madvise(bytes, size, MADV_DONTDUMP) < 0 || madvise(bytes, size, MADV_DONTFORK) < 0)
		rc = err_sys(err, errno, "madvise on the secrets' memory");
	else
		rc = take_all(fd, root_fd, bytes, &len, ret_tokens, err);
	explicit_bzero(bytes, len);
	munmap(bytes, size);
	return rc < 0 ? err_context(err, rc, "secrets on standard input") : 0;
}

int stdin_secrets_close(struct err *err)
{
	cleanup_fd int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0 || dup2(fd, STDIN_FILENO) < 0)
		return err_sys(err, errno, "/dev/null as standard input");
	return 0;
}
