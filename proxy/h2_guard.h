/* SPDX-License-Identifier: Apache-2.0
 *
 * What a peer may ask of an HTTP/2 connection beyond what nghttp2 bounds. Looks at the heads of the
 * frames as they pass, before nghttp2 sees them:
 *
 *   CONTINUATION     frames and bytes of one header block (CVE-2024-28182): nghttp2 hands them up as
 *                    one HEADERS frame, so a callback would be too late
 *   RST_STREAM       streams given up in quick succession (rapid reset, CVE-2023-44487), and those that a
 *                    peer makes this side reset by breaking the rules (CVE-2025-8671)
 *   PING, SETTINGS,  frames that cost work and move nothing (CVE-2019-9512, -9515, -9513, -9518)
 *   PRIORITY, unknown types, empty DATA. Each DATA frame with content, either way, makes up for one: a gRPC
 *                    client keeps one PING under way for as long as a download lasts, to measure the link
 *
 * And what RFC 9113 makes an error and nghttp2 lets be: HEADERS and DATA of a stream that the client itself
 * had ended or passed over (5.1, 5.1.1), and PRIORITY of no stream (6.3).
 *
 * Pure.
 */
#ifndef PROXY_H2_GUARD_H
#define PROXY_H2_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum h2_guard_limits {
	H2_BLOCK_FRAMES =
		8, /* HEADERS and seven CONTINUATION: twice the largest list in full frames */
	H2_BLOCK_BYTES = 128 * 1024,
	H2_PERIOD_MS = 30 * 1000,
	H2_RESETS_MAX = 1000, /* in a period */
	H2_IDLE_FRAMES_MAX = 10000,
	H2_OPEN_KEPT = 128, /* streams that a client may still send on; it was told of 100 */
};

struct h2_guard {
	uint8_t head[9]; /* of the next frame, as far as it is there */
	uint8_t have;
	bool in_block; /* a header block has begun and not ended */
	uint32_t skip; /* bytes of the preface or of a payload still to pass */
	uint32_t block_frames, block_bytes;
	uint32_t resets, idle_frames; /* in this period; the latter less what was made up for */
	uint64_t period_ms;	      /* when it began */
	uint32_t error_code;	      /* of HTTP/2, once a limit is passed */
	/* The streams of a client, as it must see them: what this side reset or refused stays open here
	 * until the client ends it. The oldest is forgotten where they become too many. */
	bool is_from_client;
	uint32_t last_id, begun_count;
	uint32_t open_ids[H2_OPEN_KEPT], open_count, forgotten_id;
};

/* `has_preface`: the peer is a client, whose first 24 bytes are no frame. */
void h2_guard_init(struct h2_guard *guard, bool has_preface);

/* Looks at the next bytes of the connection. 0, or -EPROTO once a limit is passed: *ret_problem is a
 * static sentence, error_code is set, and the bytes must go no further. */
int h2_guard_look(struct h2_guard *guard, const uint8_t *bytes, size_t len, uint64_t now_ms,
		  const char **ret_problem) MUST_CHECK;

/* One more stream that had to be reset for what the peer did. Returns as h2_guard_look. */
int h2_guard_count_reset(struct h2_guard *guard, uint64_t now_ms,
			 const char **ret_problem) MUST_CHECK;

/* A frame of content went to the peer; those that come are seen by h2_guard_look. */
void h2_guard_forgive(struct h2_guard *guard);

/* A header block has begun, or may have, and is not whole. */
bool h2_guard_owes_head(const struct h2_guard *guard);

#endif
