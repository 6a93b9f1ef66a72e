/* SPDX-License-Identifier: Apache-2.0
 * When each phase of a run was reached; see timing.h. Runs in: launcher. */
#include "runtime/timing.h"

#include <time.h>

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void timing_start(struct timings *timings)
{
	*timings = (struct timings){ .start_ns = now_ns() };
}

void timing_mark(struct timings *timings, enum timing_point point)
{
	if (!timings->at_ns[point])
		timings->at_ns[point] = now_ns();
}

void timing_print(const struct timings *timings, FILE *out)
{
	static const char *const names[] = {
#define X(id, name) [TIMING_##id] = name,
		TIMING_POINTS(X)
#undef X
	};

	for (size_t i = 0; i < TIMING_COUNT; i++) {
		fprintf(out, "%s\"%s\":", i ? "," : "{", names[i]);
		if (timings->at_ns[i])
			fprintf(out, "%lld",
				(long long)(timings->at_ns[i] - timings->start_ns) / 1000);
		else
			fputs("null", out);
	}
	fputs("}\n", out);
}
