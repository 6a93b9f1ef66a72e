/* SPDX-License-Identifier: Apache-2.0
 * The reading half of HTTP/1: what a body costs beside what it brings. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/inbound.h"

static void on_ready(struct io *io)
{
	(void)io;
}

Test(proxy_inbound, framing_is_counted_as_used)
{
	char chunks[4096];
	struct inbound in = { 0 };
	struct inbound_step step;
	struct pipe pipe = { 0 };
	struct io io;
	struct err err = { "" };
	size_t moved = 0, used = 0;
	int len, fds[2];

	len = snprintf(chunks, sizeof(chunks), "1;%01000d\r\nx\r\n1;%01000d\r\ny\r\n0\r\n\r\n", 0,
		       0);
	cr_assert_eq(loop_init(&err), 0, "%s", err.text);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	cr_assert_eq(io_open(&io, fds[0], on_ready), 0);
	cr_assert_eq(write(fds[1], chunks, (size_t)len), len);
	http1_body_start(&in.body, BODY_CHUNKED, 0, true);
	for (int i = 0; i < 20 && !in.body.done; i++) {
		cr_assert_leq(inbound_move(&in, &io, &pipe, &step), INBOUND_DONE);
		moved += step.moved;
		used += step.used;
	}
	cr_assert(in.body.done);
	cr_assert_eq(moved, 2);
	cr_assert_eq(used, (size_t)len);
	pipe_clear(&pipe);
	inbound_clear(&in);
	io_close(&io);
	close(fds[1]);
}
