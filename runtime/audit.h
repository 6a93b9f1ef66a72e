/* SPDX-License-Identifier: Apache-2.0
 *
 * The audit log, launcher's side. Proxy and gate write JSON lines; both are taken as hostile. What
 * is written to <state>/<name>/egress.jsonl was parsed, bounded and encoded anew by us, in ASCII,
 * with `run` and `source` set by us: no line can pretend to be another's, break the format, or
 * carry an escape sequence to the terminal of who reads the file.
 *
 * A record that cannot be kept is counted as lost and never stops the run.
 *
 * Runs in: the launcher. Holds: the log file (append only).
 */
#ifndef RUNTIME_AUDIT_H
#define RUNTIME_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct secrets;

enum audit_source { AUDIT_PROXY, AUDIT_GATE, AUDIT_SOURCES };

enum {
	AUDIT_LINE_MAX = 16 * 1024,
	AUDIT_FIELD_MAX = 256,
	AUDIT_RUN_BYTES = 64 * 1024 * 1024, /* default cap of one run */
};

/* The first refusal, as it was said: hostile, escape before printing. */
struct audit_denial {
	char method[32];
	char host[AUDIT_FIELD_MAX];
	char path[AUDIT_FIELD_MAX];
	char reason[AUDIT_FIELD_MAX];
	int port; /* 0: unknown */
};

struct audit_stream {
	char *line; /* AUDIT_LINE_MAX bytes */
	size_t len;
	bool skipping; /* to the next newline, after a line that was too long */
};

struct audit {
	int fd;
	char *run_id;
	uint64_t max_bytes; /* AUDIT_RUN_BYTES; may be changed after audit_open */
	uint64_t bytes;
	bool capped;	  /* the `truncated` record for the cap is written */
	bool broken_line; /* the last write was cut short: the next begins with a newline */
	int write_errno; /* of the first record that the file did not take, else 0: what follows would
			   * go unseen, so the run is to end */
	struct audit_stream stream[AUDIT_SOURCES];
	uint64_t requests, denied, lost, invalid;
	bool has_first;
	struct audit_denial first;
	const struct secrets
		*secrets; /* borrowed, or NULL: a record that holds a token is not kept */
};

void audit_init(struct audit *audit);

/* Opens (makes, 0700 / 0600, no symlinks) <state>/<name>/egress.jsonl. */
int audit_open(int state_dir_fd, const char *name, const char *run_id, struct audit *ret_audit,
	       struct err *err) MUST_CHECK;

/* Takes what was read from a source; records are written as their newline comes. */
void audit_feed(struct audit *audit, enum audit_source source, const void *bytes, size_t len);

/* The source closed: a last line without a newline is taken too. */
void audit_end(struct audit *audit, enum audit_source source);

/* The sentence for write_errno, which must be set; returns its negative. */
int audit_write_failed(const struct audit *audit, struct err *err);

/* The last line of a run, without "bottle: ", all hostile values escaped:
 *   3 requests refused; first: GET https://host/path (reason); to allow it: --allow host/path
 * Returns false and leaves "" when there is nothing to say. What --allow would take is proposed
 * only where it is safe to paste into a shell. `found` (or NULL): the manifest that counted although no -f
 * named it, to which an option would have to add. */
bool audit_summary_line(const struct audit *audit, const char *found, char *out, size_t out_size);

void audit_clear(struct audit *audit);

#endif
