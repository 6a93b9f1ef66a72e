/* SPDX-License-Identifier: Apache-2.0
 *
 * The audit log: docs/audit.md. One record is one write(2) of at most 16 KiB, in ASCII. A proxy that
 * cannot write its log exits (74): requests that nobody sees are what it is there to prevent.
 */
#ifndef PROXY_AUDIT_H
#define PROXY_AUDIT_H

#include "proxy/message.h"

struct audit_phases { /* µs; 0: did not happen, or not measurably */
	uint32_t decision, dial, connect, tls, first_byte, total;
};

struct audit_record {
	const char *event;   /* "request", "connection", "websocket_end", "reload" */
	const char *verdict; /* "allow", "deny", "error", or NULL */
	const char *reason;  /* or NULL: left out; "" is written */
	const char *detail;  /* or NULL */
	struct span method;
	const char *protocol; /* or NULL */
	const char *host;     /* or NULL */
	uint16_t port;	      /* 0: left out */
	struct span
		target; /* path and query as sent; of the query only the names are written, with "request" alone */
	const char *rule; /* or NULL */
	unsigned status;  /* 0: left out */
	bool has_bytes;
	uint64_t bytes_up, bytes_down;
	bool has_phases;
	struct audit_phases phases;
	const char *request_id; /* or NULL */
	size_t routes;		/* of "reload"; 0: left out */
};

enum { AUDIT_RECORD_MAX = 16 * 1024, EXIT_AUDIT_LOST = 74 }; /* EX_IOERR of sysexits.h */

/* The descriptor stays the caller's. */
void audit_start(int fd);

/* Writes one line with the time of now. Does not return when it cannot. */
void audit_write(const struct audit_record *record);

/* The line with its newline, for audit_write and its test; returns its length. `now_us`: since 1970.
 * Where it would be too long, texts are cut and `truncated` is set. */
size_t audit_render(const struct audit_record *record, uint64_t now_us,
		    char out[static AUDIT_RECORD_MAX]);

#endif
