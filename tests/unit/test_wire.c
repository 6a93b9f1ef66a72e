/* SPDX-License-Identifier: Apache-2.0
 * runtime/wire.c: messages, and what damaged ones come to. */
#include "runtime/wire.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int pair[2];

static void open_pair(void)
{
	cr_assert_eq(wire_pair(pair), 0);
	cr_assert(fcntl(pair[0], F_GETFD) & FD_CLOEXEC);
}

static void close_pair(void)
{
	close(pair[0]);
	close(pair[1]);
}

TestSuite(wire, .init = open_pair, .fini = close_pair);

Test(wire, carries_type_value_and_descriptors)
{
	struct wire_msg msg;
	int sent = open("/dev/null", O_RDONLY | O_CLOEXEC), got[2];
	size_t count = 0;

	cr_assert_eq(wire_send(pair[1], WIRE_PTY, 42, &sent, 1), 0);
	cr_assert_eq(wire_recv(pair[0], &msg, got, 2, &count), 1);
	cr_assert(msg.type == WIRE_PTY && msg.value == 42 && count == 1);
	cr_assert(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
	close(sent);
	close(got[0]);
}

Test(wire, a_full_channel_is_told_at_once_where_nobody_is_to_wait)
{
	struct wire_msg msg;
	size_t count = 0;
	int sent = 0, rc;

	while ((rc = wire_try_send(pair[1], WIRE_STOPPED, sent)) == 0)
		sent++;
	cr_assert_eq(rc, -EAGAIN);
	cr_assert(sent > 0 && sent < 256, "%d: more than a launcher reads at once", sent);
	for (int i = 0; i < sent; i++) {
		cr_assert_eq(wire_recv(pair[0], &msg, NULL, 0, &count), 1);
		cr_assert(msg.type == WIRE_STOPPED && msg.value == i && count == 0);
	}
	cr_assert_eq(wire_try_send(pair[1], WIRE_STOPPED, 1), 0);
}

Test(wire, more_descriptors_than_wanted_are_an_error_and_closed)
{
	struct wire_msg msg;
	int sent[2] = { 0, 1 };
	size_t count = 0;
	int probe = dup(0);

	close(probe);
	cr_assert_eq(wire_send(pair[1], WIRE_FILES, 0, sent, 2), 0);
	cr_assert_eq(wire_recv(pair[0], &msg, NULL, 0, &count), -EMSGSIZE);
	cr_assert_eq(count, 0);
	cr_assert_eq(fcntl(probe, F_GETFD), -1, "a passed descriptor stayed open");
}

Test(wire, short_and_long_messages_are_refused)
{
	struct wire_msg msg;
	char bytes[sizeof(msg) + 1] = { 0 };
	size_t count = 0;

	cr_assert_eq(send(pair[1], bytes, 3, 0), 3);
	cr_assert_eq(wire_recv(pair[0], &msg, NULL, 0, &count), -EPROTO);
	cr_assert_eq(send(pair[1], bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
	cr_assert_eq(wire_recv(pair[0], &msg, NULL, 0, &count), -EMSGSIZE);
}

Test(wire, text_that_is_not_closed_is_closed)
{
	struct wire_msg msg;
	size_t count = 0;

	memset(&msg, 'x', sizeof(msg));
	cr_assert_eq(send(pair[1], &msg, sizeof(msg), 0), (ssize_t)sizeof(msg));
	cr_assert_eq(wire_recv(pair[0], &msg, NULL, 0, &count), 1);
	cr_assert_eq(strlen(msg.step), WIRE_STEP_BYTES - 1);
	cr_assert_eq(strlen(msg.err.text), ERR_TEXT_BYTES - 1);
}

Test(wire, expect_tells_a_wrong_message_and_a_gone_peer)
{
	struct err err = { "" };

	cr_assert_eq(wire_send(pair[1], WIRE_SIGNAL, 2, NULL, 0), 0);
	cr_assert_eq(wire_expect(pair[0], WIRE_GO, &err), -EPROTO);
	close(pair[1]);
	cr_assert_eq(wire_expect(pair[0], WIRE_GO, &err), -EPIPE);
	pair[1] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

Test(wire, failure_carries_step_and_sentence)
{
	struct wire_msg msg;
	struct err err;
	size_t count = 0;

	err_set(&err, EPERM, "mount proc: no");
	wire_send_failed(pair[1], "agent-root", -EPERM, &err);
	cr_assert_eq(wire_recv(pair[0], &msg, NULL, 0, &count), 1);
	cr_assert(msg.type == WIRE_FAILED && msg.value == EPERM);
	cr_assert_str_eq(msg.step, "agent-root");
	cr_assert_str_eq(msg.err.text, "mount proc: no");
}
