/* SPDX-License-Identifier: Apache-2.0
 * Lines for a person; see log.h. Runs in: launcher. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void log_print_safe(FILE *out, const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0))
			fprintf(out, "\\x%02x", *c);
		else
			fputc(*c, out);
	}
}

static void print_line(const char *kind, const char *fmt, va_list ap)
{
	char text[4096];

	vsnprintf(text, sizeof(text), fmt, ap);
	flockfile(stderr);
	fputs("bottle: ", stderr);
	fputs(kind, stderr);
	log_print_safe(stderr, text);
	fputc('\n', stderr);
	funlockfile(stderr);
}

void log_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_line("", fmt, ap);
	va_end(ap);
}

void log_warning(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_line("warning: ", fmt, ap);
	va_end(ap);
}

void log_note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_line("", fmt, ap);
	va_end(ap);
}
