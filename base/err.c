/* SPDX-License-Identifier: Apache-2.0
 * Errors as values; see err.h. Runs in: every process. */
#include "base/err.h"

#include <stdarg.h>
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

int err_sys(struct err *err, int code, const char *fmt, ...)
{
	char reason[128];
	va_list ap;
	int used;

	if (!err)
		return -code;
	va_start(ap, fmt);
	used = vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	if (used >= 0 && (size_t)used < sizeof(err->text))
		snprintf(err->text + used, sizeof(err->text) - (size_t)used, ": %s",
			 strerror_r(code, reason, sizeof(reason)));
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
