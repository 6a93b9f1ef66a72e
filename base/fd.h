/* SPDX-License-Identifier: Apache-2.0
 *
 * Descriptors: whole reads and writes, passing over a socket, paths that an attacker may have laid,
 * and the bulk close-on-exec / close that keeps them out of the bottle. All return 0 or -errno with
 * errno's meaning unless said otherwise; none prints. fd_linux.c and fd_posix.c are two ways to the same.
 */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

enum { FD_PASS_MAX = 128 };

/* Writes all of it, over EINTR and short writes; on a non-blocking descriptor waits in poll(2). */
int fd_write_all(int fd, const void *bytes, size_t len) MUST_CHECK;

/* Appends the rest of the file to `ret_buf`; -EFBIG past max_bytes. */
int fd_read_all(int fd, size_t max_bytes, struct buf *ret_buf) MUST_CHECK;

/* Opens, reads whole (at most max_bytes), closes. The sentence names the path. */
int file_read(int dir_fd, const char *path, size_t max_bytes, struct buf *ret_buf,
	      struct err *err) MUST_CHECK;

/* Writes `text` with one write(2) to an existing file (a sysctl, an id map). */
int file_write(int dir_fd, const char *path, const char *text) MUST_CHECK;

/* openat2(2) with RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS: no component may be a symlink, so a
 * path below a folder that a bottle writes cannot be redirected. Returns a descriptor (O_CLOEXEC
 * added) or -errno; -ELOOP when there was a symlink. `mode` counts with O_CREAT. */
int fd_open_nosymlinks(int dir_fd, const char *path, int flags, mode_t mode) MUST_CHECK;

/* openat2(2) with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS: `root_fd` is "/" for this path, and for
 * every absolute or dotted symlink met on the way. */
int fd_open_in_root(int root_fd, const char *path, int flags, mode_t mode) MUST_CHECK;

/* Sends `len` bytes (> 0) with `fd_count` descriptors (≤ FD_PASS_MAX) as one message. */
int fd_send(int socket_fd, const void *bytes, size_t len, const int *fds,
	    size_t fd_count) MUST_CHECK;

/* The same without descriptors, and without waiting: -EAGAIN where there is no room. */
int fd_try_send(int socket_fd, const void *bytes, size_t len) MUST_CHECK;

/* Receives one message. Returns the byte count (0: the peer closed) or -errno; -EMSGSIZE when bytes
 * or descriptors were cut off. Descriptors arrive close-on-exec and belong to the caller. */
ssize_t fd_recv(int socket_fd, void *bytes, size_t size, int *fds, size_t max_fds,
		size_t *ret_fd_count) MUST_CHECK;

/* Marks every descriptor above 2 close-on-exec. */
int fd_all_cloexec(void) MUST_CHECK;

/* Closes every descriptor ≥ 3 that is not in keep[count] (sorted in place). */
int fd_close_except(int *keep, size_t count) MUST_CHECK;

/* Copies the next `len` bytes of a file; -EIO where it has not so many. */
int fd_copy(int out_fd, int in_fd, size_t len) MUST_CHECK;

/* Close-on-exec from birth; ret_fds[0] reads, ret_fds[1] writes. */
int fd_pipe(int ret_fds[static 2]) MUST_CHECK;

#endif
