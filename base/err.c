/* SPDX-License-Identifier: Apache-2.0
 * Errors as values; see err.h. Runs in: every process. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (err) {
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
	}
	return -code;
}

/* Puts ": <reason><more>" behind what vsnprintf(3) wrote `used` bytes of. */
static void add_reason(struct err *err, int used, int code, const char *more)
{
	char reason[128];

	if (used >= 0 && (size_t)used < sizeof(err->text))
		snprintf(err->text + used, sizeof(err->text) - (size_t)used, ": %s%s",
			 strerror_r(code, reason, sizeof(reason)), more);
}

int err_sys(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return -code;
	va_start(ap, fmt);
	add_reason(err, vsnprintf(err->text, sizeof(err->text), fmt, ap), code, "");
	va_end(ap);
	return -code;
}

int err_fork(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return -code;
	va_start(ap, fmt);
	add_reason(err, vsnprintf(err->text, sizeof(err->text), fmt, ap), code,
		   code == EAGAIN ? " (the limit of processes: `ulimit -u`, or a cgroup's pids.max)"
				  : "");
	va_end(ap);
	return -code;
}

int err_folder(struct err *err, int code, const char *variable, const char *fmt, ...)
{
	const bool is_refused = code == EROFS || code == EACCES || code == EPERM ||
				code == ENOENT || code == ENOTDIR;
	char way_out[128] = "";
	va_list ap;

	if (!err)
		return -code;
	if (is_refused)
		snprintf(way_out, sizeof(way_out), "; set %s to a folder you can write", variable);
	va_start(ap, fmt);
	add_reason(err, vsnprintf(err->text, sizeof(err->text), fmt, ap), code, way_out);
	va_end(ap);
	return -code;
}

int err_context(struct err *err, int code, const char *fmt, ...)
{
	char old[ERR_TEXT_BYTES];
	va_list ap;
	int used;

	if (!err)
		return code;
	memcpy(old, err->text, sizeof(old));
	va_start(ap, fmt);
	used = vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	if (used >= 0 && (size_t)used < sizeof(err->text))
		snprintf(err->text + used, sizeof(err->text) - (size_t)used, ": %s", old);
	return code;
}
