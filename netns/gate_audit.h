/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate's audit lines: JSON, one write(2) each, at most GATE_AUDIT_LINE_BYTES, never waiting for
 * the reader. Their number is bounded by a token bucket, because the proxy's side decides how often
 * something is refused; what was left out is counted in the next line that passes.
 */
#ifndef NETNS_GATE_AUDIT_H
#define NETNS_GATE_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

enum { GATE_AUDIT_LINE_BYTES = 4096 };

struct gate_audit {
	int fd; /* borrowed; -1: no log */
	const char *run_id;
	uint64_t suppressed; /* by the bucket, since the last line */
	uint64_t lost;	     /* the reader was too slow or gone, since the last line */
	uint64_t refilled_ms;
	unsigned tokens;
	uint64_t seen[1024]; /* gate_audit_first_time: a hash in each place */
};

struct gate_event {
	const char *event;   /* "gate" (default) or "dns" */
	const char *verdict; /* "deny" or "error" */
	const char *reason;
	const char *host; /* any bytes; NULL: left out, as all below */
	uint16_t port;	  /* 0: left out */
	const char *address;
	const char *detail;
};

void gate_audit_init(struct gate_audit *audit, int fd, const char *run_id);
void gate_audit_write(struct gate_audit *audit, uint64_t now_ms, const struct gate_event *event);

/* True when this host was not seen before (a bounded memory: once in a while it forgets one). */
bool gate_audit_first_time(struct gate_audit *audit, const char *host);

/* Says what is still untold (suppressed, lost). At the end. */
void gate_audit_finish(struct gate_audit *audit);

#endif
