/* SPDX-License-Identifier: Apache-2.0
 * See tail.h. Runs in: launcher. */
#include "runtime/tail.h"

#include <string.h>

#include "base/str.h"

enum { SHOWN_LINES = 3, SHOWN_BYTES = 600 };

void tail_append(struct tail *tail, const char *bytes, size_t len)
{
	size_t keep;

	if (len > TAIL_BYTES) {
		bytes += len - TAIL_BYTES;
		len = TAIL_BYTES;
	}
	keep = tail->len + len > TAIL_BYTES ? TAIL_BYTES - len : tail->len;
	memmove(tail->bytes, tail->bytes + tail->len - keep, keep);
	memcpy(tail->bytes + keep, bytes, len);
	tail->len = keep + len;
}

void tail_text(const struct tail *tail, char *out, size_t out_size)
{
	size_t len = tail->len, start, lines = 0;

	while (len && (tail->bytes[len - 1] == '\n' || tail->bytes[len - 1] == '\0'))
		len--;
	for (start = len; start > 0 && len - start < SHOWN_BYTES; start--)
		if (tail->bytes[start - 1] == '\n' && ++lines == SHOWN_LINES)
			break;
	str_escape(out, out_size, tail->bytes + start, len - start);
}
