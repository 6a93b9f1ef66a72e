/* SPDX-License-Identifier: Apache-2.0
 * The writing half of HTTP/1: the end of a body behind a head that leaves no room for it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/block.h"
#include "proxy/outbound.h"

static struct io io;
static int peer_fd;
static struct outbound out;
static struct pipe ended = { .ended = true };
static char bytes[1 << 16];

static void on_ready(struct io *unused)
{
	(void)unused;
}

/* Nothing goes out, and what waits leaves two bytes of a block. */
static void make_world(void)
{
	struct err err = { "" };
	int fds[2];

	cr_assert_eq(loop_init(&err), 0, "%s", err.text);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	cr_assert_eq(io_open(&io, fds[0], on_ready), 0);
	peer_fd = fds[1];
	while (io_write(&io, bytes, sizeof(bytes)) > 0)
		continue;
	cr_assert_eq(outbound_begin(&out), 0);
	buf_append(&out.buf, bytes, BLOCK_BYTES - 3);
	outbound_start_body(&out, BODY_CHUNKED, 0);
}

static void end_world(void)
{
	outbound_clear(&out);
	io_close(&io);
	close(peer_fd);
}

/* Whoever owns the pipe may be gone after the first call. */
Test(proxy_outbound, the_last_chunk_does_not_wait_for_room, .init = make_world, .fini = end_world)
{
	size_t moved, end;
	ssize_t n;

	cr_assert_eq(outbound_move(&out, &io, &ended, &moved), -EAGAIN);
	cr_assert_eq(out.kind, BODY_NONE);
	end = 0;
	do {
		while ((n = read(peer_fd, bytes, sizeof(bytes))) > 0)
			end = (size_t)n;
		n = outbound_flush(&out, &io);
	} while (n == -EAGAIN);
	cr_assert_eq(n, 0);
	n = read(peer_fd, bytes, sizeof(bytes));
	end = n > 0 ? (size_t)n : end;
	cr_assert_geq(end, 5);
	cr_assert_eq(memcmp(bytes + end - 5, "0\r\n\r\n", 5), 0);
}

Test(proxy_outbound, a_credential_is_not_moved, .init = make_world, .fini = end_world)
{
	const char *data = out.buf.data;
	size_t moved;

	out.holds_secret = true;
	cr_assert_eq(outbound_move(&out, &io, &ended, &moved), -EAGAIN);
	cr_assert_eq(out.buf.data, data);
	cr_assert_eq(out.buf.cap, (size_t)BLOCK_BYTES);
	cr_assert_eq(out.kind, BODY_CHUNKED, "the end comes with the next call");
}
