/* SPDX-License-Identifier: Apache-2.0
 *
 * Limits on a peer's frames; see h2_guard.h. Runs in: the proxy's worker. Pure.
 *
 * Follows the framing alone (RFC 9113, 4.1): nine bytes of head, then so many of payload. Whether the
 * frames make sense is otherwise nghttp2's to judge; a peer that breaks the framing loses its connection there.
 */
#include "proxy/h2_guard.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <string.h>

void h2_guard_init(struct h2_guard *guard, bool has_preface)
{
	*guard = (struct h2_guard){
		.skip = has_preface ? NGHTTP2_CLIENT_MAGIC_LEN : 0,
		.is_from_client = has_preface,
		.error_code = NGHTTP2_ENHANCE_YOUR_CALM,
	};
}

static int refuse(const char **ret_problem, const char *problem)
{
	*ret_problem = problem;
	return -EPROTO;
}

static void start_period(struct h2_guard *guard, uint64_t now_ms)
{
	if (now_ms - guard->period_ms < H2_PERIOD_MS)
		return;
	guard->period_ms = now_ms;
	guard->resets = guard->idle_frames = 0;
}

int h2_guard_count_reset(struct h2_guard *guard, uint64_t now_ms, const char **ret_problem)
{
	start_period(guard, now_ms);
	if (++guard->resets > H2_RESETS_MAX)
		return refuse(ret_problem, "too many streams were reset in a short time");
	return 0;
}

static int count_idle(struct h2_guard *guard, uint64_t now_ms, const char **ret_problem)
{
	start_period(guard, now_ms);
	if (++guard->idle_frames > H2_IDLE_FRAMES_MAX)
		return refuse(ret_problem, "too many frames that move nothing");
	return 0;
}

/* Nothing is saved up: a flood behind a long download is one all the same. */
void h2_guard_forgive(struct h2_guard *guard)
{
	guard->idle_frames -= guard->idle_frames > 0;
}

static int count_block(struct h2_guard *guard, uint32_t len, uint8_t flags,
		       const char **ret_problem)
{
	guard->block_frames++;
	guard->block_bytes += len;
	guard->in_block = !(flags & NGHTTP2_FLAG_END_HEADERS);
	if (guard->block_frames > H2_BLOCK_FRAMES || guard->block_bytes > H2_BLOCK_BYTES)
		return refuse(ret_problem, "a header block in too many pieces");
	return 0;
}

static uint32_t stream_id(const uint8_t head[static 9])
{
	return (uint32_t)(head[5] & 0x7f) << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 |
	       head[8];
}

static void open_stream(struct h2_guard *guard, uint32_t id)
{
	guard->last_id = id;
	guard->begun_count++;
	if (guard->open_count == H2_OPEN_KEPT) {
		guard->forgotten_id = guard->open_ids[0];
		memmove(guard->open_ids, guard->open_ids + 1,
			--guard->open_count * sizeof(guard->open_ids[0]));
	}
	guard->open_ids[guard->open_count++] = id;
}

/* The place of the stream, or NULL: it has ended. */
static uint32_t *find_open(struct h2_guard *guard, uint32_t id)
{
	for (uint32_t i = guard->open_count; i-- > 0;)
		if (guard->open_ids[i] == id)
			return &guard->open_ids[i];
	return NULL;
}

static void end_stream(struct h2_guard *guard, uint32_t *place)
{
	uint32_t *end = guard->open_ids + guard->open_count--;

	memmove(place, place + 1, (size_t)(end - (place + 1)) * sizeof(*place));
}

static int refuse_order(struct h2_guard *guard, uint32_t error_code, const char *problem,
			const char **ret_problem)
{
	guard->error_code = error_code;
	return refuse(ret_problem, problem);
}

/* HEADERS, DATA, RST_STREAM and PRIORITY of a client. Streams that no client may begin, and those that
 * have not begun, are left to nghttp2. */
static int judge_order(struct h2_guard *guard, const char **ret_problem)
{
	uint8_t type = guard->head[3];
	uint32_t id = stream_id(guard->head);
	uint32_t *place;

	if (type == NGHTTP2_PRIORITY && id == 0)
		return refuse_order(guard, NGHTTP2_PROTOCOL_ERROR, "PRIORITY of no stream",
				    ret_problem);
	if (type == NGHTTP2_PRIORITY || id % 2 == 0 || id <= guard->forgotten_id)
		return 0;
	if (id > guard->last_id && type == NGHTTP2_HEADERS)
		open_stream(guard, id);
	place = find_open(guard, id);
	if (!place && id <= guard->last_id && type != NGHTTP2_RST_STREAM)
		return refuse_order(guard,
				    guard->last_id == 2 * guard->begun_count - 1
					    ? NGHTTP2_STREAM_CLOSED
					    : NGHTTP2_PROTOCOL_ERROR /* perhaps it never was */,
				    "a frame of a stream that was over", ret_problem);
	if (place && (type == NGHTTP2_RST_STREAM || guard->head[4] & NGHTTP2_FLAG_END_STREAM))
		end_stream(guard, place);
	return 0;
}

static bool has_order(uint8_t type)
{
	return type == NGHTTP2_DATA || type == NGHTTP2_HEADERS || type == NGHTTP2_PRIORITY ||
	       type == NGHTTP2_RST_STREAM;
}

static int judge_frame(struct h2_guard *guard, uint64_t now_ms, const char **ret_problem)
{
	const uint8_t *head = guard->head;
	uint32_t len = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2];

	guard->skip = len;
	if (guard->is_from_client && has_order(head[3]))
		TRY(judge_order(guard, ret_problem));
	switch (head[3]) {
	case NGHTTP2_HEADERS:
	case NGHTTP2_PUSH_PROMISE:
		guard->block_frames = guard->block_bytes = 0;
		return count_block(guard, len, head[4], ret_problem);
	case NGHTTP2_CONTINUATION:
		return count_block(guard, len, head[4], ret_problem);
	case NGHTTP2_DATA:
		if (len)
			h2_guard_forgive(guard);
		if (len || head[4] & NGHTTP2_FLAG_END_STREAM)
			return 0;
		return count_idle(guard, now_ms, ret_problem);
	case NGHTTP2_RST_STREAM:
		return h2_guard_count_reset(guard, now_ms, ret_problem);
	case NGHTTP2_WINDOW_UPDATE: /* as many as a fast download needs */
	case NGHTTP2_GOAWAY:
		return 0;
	default:
		return count_idle(guard, now_ms, ret_problem);
	}
}

int h2_guard_look(struct h2_guard *guard, const uint8_t *bytes, size_t len, uint64_t now_ms,
		  const char **ret_problem)
{
	while (len) {
		size_t wanted = guard->skip ? guard->skip : sizeof(guard->head) - guard->have;
		size_t taken = len < wanted ? len : wanted;

		if (guard->skip) {
			guard->skip -= (uint32_t)taken;
		} else {
			memcpy(guard->head + guard->have, bytes, taken);
			guard->have = (uint8_t)(guard->have + taken);
		}
		bytes += taken;
		len -= taken;
		if (guard->have == sizeof(guard->head)) {
			guard->have = 0;
			TRY(judge_frame(guard, now_ms, ret_problem));
		}
	}
	return 0;
}

bool h2_guard_owes_head(const struct h2_guard *guard)
{
	uint8_t type = guard->head[3];

	return guard->have || guard->in_block ||
	       (guard->skip && (type == NGHTTP2_HEADERS || type == NGHTTP2_CONTINUATION));
}
