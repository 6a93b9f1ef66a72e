/* SPDX-License-Identifier: Apache-2.0
 * What the proxy prints, and the audit lines of proxy and gate; see session.h. Runs in: launcher. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "runtime/session_parts.h"

/* Takes what is there; true when the pipe is at its end. */
static bool drain(struct session *s, int fd, void (*take)(struct session *, const char *, size_t))
{
	char bytes[16384];
	ssize_t n = read(fd, bytes, sizeof(bytes));

	if (n > 0)
		take(s, bytes, (size_t)n);
	return n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
}

/* Or an agent that fills the disk would blind the log first. */
static void take_audit(struct session *s, enum audit_source source, const char *bytes, size_t len)
{
	struct err err;

	audit_feed(&s->audit, source, bytes, len);
	if (s->audit.write_errno)
		session_fail(s, audit_write_failed(&s->audit, &err), "audit", err.text);
}

static void take_proxy_audit(struct session *s, const char *bytes, size_t len)
{
	take_audit(s, AUDIT_PROXY, bytes, len);
}

static void take_gate_audit(struct session *s, const char *bytes, size_t len)
{
	take_audit(s, AUDIT_GATE, bytes, len);
}

static void take_out(struct session *s, const char *bytes, size_t len)
{
	tail_append(&s->tail, bytes, len);
}

static void take_ready(struct session *s, const char *bytes, size_t len)
{
	if (memmem(bytes, len, "READY=1", 7))
		s->facts |= FACT_PROXY_READY;
}

void session_on_out(struct session *s)
{
	if (drain(s, s->launch.out[0], take_out))
		fd_close(&s->launch.out[0]);
}

void session_on_ready(struct session *s)
{
	if (drain(s, s->launch.ready[0], take_ready))
		fd_close(&s->launch.ready[0]);
}

void session_on_proxy_audit(struct session *s)
{
	if (drain(s, s->launch.audit[0], take_proxy_audit)) {
		audit_end(&s->audit, AUDIT_PROXY);
		fd_close(&s->launch.audit[0]);
		s->facts |= FACT_AUDIT_CLOSED;
		s->audit_closed_early = !s->ending && s->plan->image.knows_ready_fd;
	}
}

void session_on_gate_audit(struct session *s)
{
	if (drain(s, s->gate_audit[0], take_gate_audit)) {
		audit_end(&s->audit, AUDIT_GATE);
		fd_close(&s->gate_audit[0]);
	}
}
