/* SPDX-License-Identifier: Apache-2.0
 * Limits on frames: what a busy peer sends passes, and floods do not, however the bytes are cut. */
#include "proxy/h2_guard.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

static const char *problem;
static const uint8_t payload[NGHTTP2_INITIAL_WINDOW_SIZE];

/* One frame, its bytes given `step` at a time. */
static int frame_at(struct h2_guard *guard, uint8_t type, uint8_t flags, size_t len, size_t step,
		    uint64_t now_ms)
{
	uint8_t head[9] = { (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, type, flags };

	for (size_t at = 0; at < sizeof(head); at += step) {
		size_t n = sizeof(head) - at < step ? sizeof(head) - at : step;
		TRY(h2_guard_look(guard, head + at, n, now_ms, &problem));
	}
	for (size_t at = 0; at < len; at += step) {
		size_t n = len - at < step ? len - at : step;
		TRY(h2_guard_look(guard, payload, n, now_ms, &problem));
	}
	return 0;
}

static int frame(struct h2_guard *guard, uint8_t type, uint8_t flags, size_t len)
{
	return frame_at(guard, type, flags, len, SIZE_MAX, 1);
}

Test(proxy_h2_guard, preface_is_no_frame)
{
	struct h2_guard guard;

	h2_guard_init(&guard, true);
	cr_assert_eq(h2_guard_look(&guard, (const uint8_t *)NGHTTP2_CLIENT_MAGIC,
				   NGHTTP2_CLIENT_MAGIC_LEN, 1, &problem),
		     0);
	cr_expect_not(h2_guard_owes_head(&guard));
	for (uint32_t i = 0; i < H2_RESETS_MAX; i++)
		cr_assert_eq(frame(&guard, NGHTTP2_RST_STREAM, 0, 4), 0);
	cr_expect_eq(frame(&guard, NGHTTP2_RST_STREAM, 0, 4), -EPROTO);
}

Test(proxy_h2_guard, header_blocks)
{
	struct h2_guard guard;

	for (size_t step = 1; step < 20; step += 6) {
		h2_guard_init(&guard, false);
		/* Any number of blocks, each within the limits. */
		for (int block = 0; block < 50; block++) {
			cr_assert_eq(frame_at(&guard, NGHTTP2_HEADERS, 0, 30, step, 1), 0);
			cr_expect(h2_guard_owes_head(&guard));
			for (int i = 2; i < H2_BLOCK_FRAMES; i++)
				cr_assert_eq(frame_at(&guard, NGHTTP2_CONTINUATION, 0, 0, step, 1),
					     0);
			cr_assert_eq(frame_at(&guard, NGHTTP2_CONTINUATION,
					      NGHTTP2_FLAG_END_HEADERS, 3, step, 1),
				     0);
			cr_expect_not(h2_guard_owes_head(&guard));
		}
		cr_assert_eq(frame_at(&guard, NGHTTP2_HEADERS, 0, 30, step, 1), 0);
		int passed = 0;
		while (passed < 100 && frame_at(&guard, NGHTTP2_CONTINUATION, 0, 0, step, 1) == 0)
			passed++;
		cr_expect_eq(passed, H2_BLOCK_FRAMES - 1);
	}
	/* One frame that says it is too long is enough. */
	h2_guard_init(&guard, false);
	uint8_t head[9] = { 0x02, 0x00, 0x01, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS };
	cr_expect_eq(h2_guard_look(&guard, head, sizeof(head), 1, &problem), -EPROTO);
}

Test(proxy_h2_guard, owes_a_head_while_one_trickles_in)
{
	uint8_t head[9] = { 0, 0, 4, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS };
	struct h2_guard guard;

	h2_guard_init(&guard, false);
	cr_expect_not(h2_guard_owes_head(&guard));
	cr_assert_eq(h2_guard_look(&guard, head, 3, 1, &problem), 0);
	cr_expect(h2_guard_owes_head(&guard));
	cr_assert_eq(h2_guard_look(&guard, head + 3, 6, 1, &problem), 0);
	cr_assert_eq(h2_guard_look(&guard, payload, 3, 1, &problem), 0);
	cr_expect(h2_guard_owes_head(&guard));
	cr_assert_eq(h2_guard_look(&guard, payload, 1, 1, &problem), 0);
	cr_expect_not(h2_guard_owes_head(&guard));
	cr_assert_eq(frame(&guard, NGHTTP2_DATA, 0, 10), 0);
	cr_expect_not(h2_guard_owes_head(&guard));
}

Test(proxy_h2_guard, floods)
{
	static const struct {
		uint8_t type, flags, len;
		bool is_flood;
	} rows[] = {
		{ NGHTTP2_PING, 0, 8, true },
		{ NGHTTP2_SETTINGS, 0, 0, true },
		{ NGHTTP2_PRIORITY, 0, 5, true },
		{ 0xfa, 0, 1, true },
		{ NGHTTP2_DATA, 0, 0, true },
		{ NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 0, false },
		{ NGHTTP2_DATA, 0, 100, false },
		{ NGHTTP2_WINDOW_UPDATE, 0, 4, false },
		{ NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 10, false },
	};

	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		struct h2_guard guard;
		uint32_t passed = 0;

		h2_guard_init(&guard, false);
		while (passed <= H2_IDLE_FRAMES_MAX &&
		       frame(&guard, rows[row].type, rows[row].flags, rows[row].len) == 0)
			passed++;
		cr_expect_eq(passed, H2_IDLE_FRAMES_MAX + !rows[row].is_flood, "row %zu", row);
	}
}

/* As many as there are frames of content are no flood; one more each time is, and none is saved up. */
Test(proxy_h2_guard, content_makes_up_for_idle_frames)
{
	struct h2_guard guard;
	int passed = 0;

	h2_guard_init(&guard, false);
	for (int i = 0; i < 5 * H2_IDLE_FRAMES_MAX; i++) {
		cr_assert_eq(frame(&guard, NGHTTP2_DATA, 0, 1), 0);
		cr_assert_eq(frame(&guard, NGHTTP2_PING, 0, 8), 0);
		h2_guard_forgive(&guard);
		cr_assert_eq(frame(&guard, NGHTTP2_PING, 0, 8), 0);
	}
	while (frame(&guard, NGHTTP2_PING, 0, 8) == 0)
		passed++;
	cr_expect_geq(passed, H2_IDLE_FRAMES_MAX - 2);
	cr_expect_leq(passed, H2_IDLE_FRAMES_MAX);
	h2_guard_init(&guard, false);
	for (passed = 0; frame(&guard, NGHTTP2_PING, 0, 8) == 0; passed++) {
		cr_assert_eq(frame(&guard, NGHTTP2_DATA, 0, 1), 0);
		if (frame(&guard, NGHTTP2_PING, 0, 8) < 0)
			break;
	}
	cr_expect_leq(passed, H2_IDLE_FRAMES_MAX);
}

Test(proxy_h2_guard, a_period_forgives)
{
	struct h2_guard guard;
	uint64_t now = 1000 * 1000;

	h2_guard_init(&guard, false);
	for (int period = 0; period < 5; period++, now += H2_PERIOD_MS) {
		for (uint32_t i = 0; i < H2_RESETS_MAX; i++)
			cr_assert_eq(h2_guard_count_reset(&guard, now + i, &problem), 0);
	}
	now -= H2_PERIOD_MS;
	cr_expect_eq(h2_guard_count_reset(&guard, now + H2_PERIOD_MS - 1, &problem), -EPROTO);
}

/* Frames of one stream after another. */
static int of_stream(struct h2_guard *guard, uint8_t type, uint8_t flags, uint32_t id)
{
	uint8_t head[9] = { 0,
			    0,
			    0,
			    type,
			    flags,
			    (uint8_t)(id >> 24),
			    (uint8_t)(id >> 16),
			    (uint8_t)(id >> 8),
			    (uint8_t)id };

	return h2_guard_look(guard, head, sizeof(head), 1, &problem);
}

static void begin_client(struct h2_guard *guard)
{
	h2_guard_init(guard, true);
	cr_assert_eq(h2_guard_look(guard, (const uint8_t *)NGHTTP2_CLIENT_MAGIC,
				   NGHTTP2_CLIENT_MAGIC_LEN, 1, &problem),
		     0);
}

Test(proxy_h2_guard, what_a_client_ended_is_over)
{
	enum { WHOLE = NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM };
	struct h2_guard guard;

	begin_client(&guard);
	cr_assert_eq(of_stream(&guard, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1), 0);
	cr_assert_eq(of_stream(&guard, NGHTTP2_HEADERS, WHOLE, 3), 0);
	cr_assert_eq(of_stream(&guard, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1), 0);
	cr_assert_eq(of_stream(&guard, NGHTTP2_RST_STREAM, 0, 1), 0, "a reset may follow");
	cr_assert_eq(of_stream(&guard, NGHTTP2_WINDOW_UPDATE, 0, 1), 0);
	cr_assert_eq(of_stream(&guard, NGHTTP2_PRIORITY, 0, 1), 0);
	cr_assert_eq(of_stream(&guard, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1), -EPROTO);
	cr_assert_eq(guard.error_code, NGHTTP2_STREAM_CLOSED);
	begin_client(&guard);
	cr_assert_eq(of_stream(&guard, NGHTTP2_HEADERS, WHOLE, 5), 0);
	cr_assert_eq(of_stream(&guard, NGHTTP2_HEADERS, WHOLE, 3), -EPROTO);
	cr_assert_eq(guard.error_code, NGHTTP2_PROTOCOL_ERROR, "passed over");
	begin_client(&guard);
	cr_assert_eq(of_stream(&guard, NGHTTP2_DATA, 0, 7), 0, "an idle stream is for nghttp2");
	h2_guard_init(&guard, false);
	cr_assert_eq(of_stream(&guard, NGHTTP2_HEADERS, WHOLE, 1), 0);
	cr_assert_eq(of_stream(&guard, NGHTTP2_HEADERS, WHOLE, 1), 0, "a server's are not judged");
}

/* Streams that this side reset stay open for a client that has not heard of it; too many are forgotten. */
Test(proxy_h2_guard, streams_that_are_never_ended)
{
	struct h2_guard guard;
	uint32_t last = 2 * (3 * H2_OPEN_KEPT) - 1;

	begin_client(&guard);
	for (uint32_t id = 1; id <= last; id += 2)
		cr_assert_eq(of_stream(&guard, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id), 0);
	for (uint32_t id = 1; id <= last; id += 2)
		cr_assert_eq(of_stream(&guard, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, id), 0);
	cr_assert_eq(of_stream(&guard, NGHTTP2_DATA, 0, 1), 0, "forgotten");
	cr_assert_eq(of_stream(&guard, NGHTTP2_DATA, 0, last), -EPROTO);
}
