/* SPDX-License-Identifier: Apache-2.0
 * Scalars; see scalar.h. Runs in: launcher, proxy. */
#include "config/scalar.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "config/check.h"

static const char digits[] = "0123456789";

static bool one_of(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strcasecmp(text, *words) == 0)
			return true;
	return false;
}

bool scalar_is_null(const char *plain)
{
	return !*plain || strcmp(plain, "~") == 0 || strcasecmp(plain, "null") == 0;
}

static bool only(const char *text, const char *bytes)
{
	return *text && !text[strspn(text, bytes)];
}

/* 2026-11-24, and with a time behind it. */
static bool is_date(const char *text)
{
	static const char shape[] = "dddd-dd-dd";

	for (size_t i = 0; shape[i]; i++)
		if (shape[i] == 'd' ? !strchr(digits, text[i]) || !text[i] : text[i] != '-')
			return false;
	return !text[10] || strchr("Tt \t", text[10]);
}

/* What an unsigned number is to one or the other version of YAML. */
static const char *number_trap(const char *number)
{
	size_t whole = strspn(number, digits);

	if (number[0] == '0' && number[1] && strchr("xX", number[1]) &&
	    only(number + 2, "0123456789abcdefABCDEF_"))
		return "hexadecimal";
	if (number[0] == '0' && number[1] && strchr("oO", number[1]) &&
	    only(number + 2, "01234567_"))
		return "octal";
	if (number[0] == '0' && number[1] && strchr("bB", number[1]) && only(number + 2, "01_"))
		return "binary";
	if (!whole && !(number[0] == '.' && strchr(digits, number[1]) && number[1]))
		return NULL;
	if (number[0] == '0' && number[1] && !number[whole])
		return "octal to YAML 1.1, decimal to YAML 1.2";
	if (only(number, "0123456789:") && !strstr(number, "::") &&
	    number[strlen(number) - 1] != ':')
		return strchr(number, ':') ? "a number in base 60 to YAML 1.1" : NULL;
	if (only(number, "0123456789_"))
		return "a number to YAML 1.1";
	number += whole;
	if (*number == '.')
		number += 1 + strspn(number + 1, "0123456789_");
	if (*number == 'e' || *number == 'E') {
		number++;
		number += *number == '+' || *number == '-';
		number += strspn(number, digits);
	}
	return *number ? NULL : "a floating-point number";
}

const char *scalar_trap(const char *plain)
{
	static const char *const booleans[] = { "true", "false", "yes", "no", "on",
						"off",	"y",	 "n",	NULL };
	static const char *const floats[] = { ".inf", ".nan", NULL };
	bool is_signed = *plain == '+' || *plain == '-';

	if (scalar_is_null(plain))
		return "null";
	if (one_of(plain, booleans))
		return "a boolean";
	if (one_of(plain + is_signed, floats))
		return "a number";
	if (is_date(plain))
		return "a date";
	if (is_signed && (only(plain + 1, digits) || number_trap(plain + 1)))
		return "a number with a sign";
	return number_trap(plain);
}

static int want_scalar(struct schema *schema, const struct yaml_value *value, const char *what)
{
	if (value->kind == YAML_SCALAR)
		return 0;
	return schema_fail(schema, value, "must be %s, not a %s", what,
			   value->kind == YAML_LIST ? "list" : "map");
}

int scalar_borrow(struct schema *schema, const struct yaml_value *value, bool multiline,
		  const char **ret_text)
{
	const char *trap;

	TRY(want_scalar(schema, value, "text"));
	trap = value->quoted ? NULL : scalar_trap(value->text);
	if (trap)
		return schema_fail(schema, value,
				   "'%s' without quotes is %s; as text, write \"%s\"",
				   quote(value->text).text, trap, quote(value->text).text);
	for (const char *c = value->text; *c; c++) {
		if (((unsigned char)*c >= 0x20 && *c != 0x7f) ||
		    (multiline && (*c == '\n' || *c == '\t')))
			continue;
		return schema_fail(schema, value, "control byte 0x%02x in the text",
				   (unsigned char)*c);
	}
	*ret_text = value->text;
	return 0;
}

int scalar_text(struct schema *schema, const struct yaml_value *value, bool multiline,
		char **ret_text)
{
	const char *text;
	char *copy;

	TRY(scalar_borrow(schema, value, multiline, &text));
	copy = strdup(text);
	if (!copy)
		return schema_no_memory(schema);
	*ret_text = copy;
	return 0;
}

/* A number must be plain: in quotes it is text to every reader. */
static int want_plain(struct schema *schema, const struct yaml_value *value, const char *what)
{
	TRY(want_scalar(schema, value, what));
	if (value->quoted)
		return schema_fail(schema, value, "must be %s, but in quotes it is text; write %s",
				   what, quote(value->text).text);
	return 0;
}

static int fail_range(struct schema *schema, const struct yaml_value *value, enum field_unit unit,
		      uint64_t min, uint64_t max)
{
	struct buf range = { 0 };
	int rc;

	scalar_print(&range, unit, min);
	buf_puts(&range, " to ");
	scalar_print(&range, unit, max);
	rc = range.failed ? schema_no_memory(schema)
			  : schema_fail(schema, value, "must be %s, not %s", range.data,
					quote(value->text).text);
	buf_clear(&range);
	return rc;
}

/* Whether all of `text` is decimal digits; the number (UINT64_MAX when it does not fit). */
static bool parse_decimal(const char *text, size_t len, uint64_t *ret_number)
{
	uint64_t number = 0;

	if (!len || strspn(text, digits) < len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (__builtin_mul_overflow(number, 10U, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number))
			number = UINT64_MAX;
	*ret_number = number;
	return true;
}

int scalar_integer(struct schema *schema, const struct yaml_value *value, uint64_t min,
		   uint64_t max, uint64_t *ret_number)
{
	const char *text = value->text;
	const char *trap;
	uint64_t number;

	TRY(want_plain(schema, value, "an integer"));
	trap = scalar_trap(text);
	if (trap && strcmp(trap, "octal to YAML 1.1, decimal to YAML 1.2") == 0)
		return schema_fail(schema, value, "'%s' is %s; leave out the leading 0",
				   quote(text).text, trap);
	if (trap)
		return schema_fail(schema, value, "'%s' is %s; write a plain decimal integer",
				   quote(text).text, trap);
	if (!parse_decimal(text, strlen(text), &number))
		return schema_fail(schema, value, "must be an integer, not '%s'", quote(text).text);
	if (number < min || number > max)
		return fail_range(schema, value, UNIT_COUNT, min, max);
	*ret_number = number;
	return 0;
}

int scalar_bool(struct schema *schema, const struct yaml_value *value, bool *ret_flag)
{
	TRY(want_plain(schema, value, "true or false"));
	if (strcmp(value->text, "true") != 0 && strcmp(value->text, "false") != 0)
		return schema_fail(schema, value, "must be true or false, not '%s'",
				   quote(value->text).text);
	*ret_flag = value->text[0] == 't';
	return 0;
}

struct suffix {
	const char *text;
	uint64_t factor;
};

static const struct suffix byte_suffixes[] = {
	{ "K", 1ULL << 10 }, { "M", 1ULL << 20 }, { "G", 1ULL << 30 },
	{ "T", 1ULL << 40 }, { NULL, 0 },
};

static const struct suffix ms_suffixes[] = {
	{ "ms", 1 },
	{ "s", 1000 },
	{ "m", 60000 },
	{ NULL, 0 },
};

/* A decimal integer with one of the suffixes behind it. Quotes are no matter: it is text to
 * YAML. */
static int with_suffix(struct schema *schema, const struct yaml_value *value,
		       const struct suffix *suffixes, const char *what, uint64_t *ret_number)
{
	const struct suffix *suffix;
	uint64_t number;
	size_t whole;

	TRY(want_scalar(schema, value, what));
	whole = strspn(value->text, digits);
	for (suffix = suffixes; suffix->text; suffix++)
		if (strcmp(value->text + whole, suffix->text) == 0)
			break;
	if (!suffix->text || !parse_decimal(value->text, whole, &number) ||
	    (whole > 1 && value->text[0] == '0'))
		return schema_fail(schema, value, "must be %s, not '%s'", what,
				   quote(value->text).text);
	if (__builtin_mul_overflow(number, suffix->factor, &number))
		number = UINT64_MAX;
	*ret_number = number;
	return 0;
}

int scalar_bytes(struct schema *schema, const struct yaml_value *value, uint64_t min, uint64_t max,
		 uint64_t *ret_bytes)
{
	uint64_t bytes;

	TRY(with_suffix(schema, value, byte_suffixes,
			"a size: an integer and K, M, G or T, such as 512M", &bytes));
	if (bytes < min || bytes > max)
		return fail_range(schema, value, UNIT_BYTES, min, max);
	*ret_bytes = bytes;
	return 0;
}

int scalar_ms(struct schema *schema, const struct yaml_value *value, uint64_t min, uint64_t max,
	      uint64_t *ret_ms)
{
	uint64_t ms;

	TRY(with_suffix(schema, value, ms_suffixes,
			"a time: an integer and ms, s or m, such as 10s", &ms));
	if (ms < min || ms > max)
		return fail_range(schema, value, UNIT_MS, min, max);
	*ret_ms = ms;
	return 0;
}

int scalar_milli(struct schema *schema, const struct yaml_value *value, uint64_t min, uint64_t max,
		 uint64_t *ret_milli)
{
	static const char what[] = "a number such as 2 or 1.5";
	const char *text = value->text;
	uint64_t milli, fraction = 0;
	size_t whole, places = 0;

	TRY(want_plain(schema, value, what));
	whole = strspn(text, digits);
	if (text[whole] == '.') {
		places = strspn(text + whole + 1, digits);
		if (places < 1 || places > 3 || !parse_decimal(text + whole + 1, places, &fraction))
			whole = 0;
	}
	if (!parse_decimal(text, whole, &milli) || (whole > 1 && text[0] == '0') ||
	    text[whole + places + (places > 0)])
		return schema_fail(schema, value, "must be %s, not '%s'", what, quote(text).text);
	for (size_t i = places; i < 3; i++)
		fraction *= 10;
	if (__builtin_mul_overflow(milli, 1000U, &milli) ||
	    __builtin_add_overflow(milli, fraction, &milli))
		milli = UINT64_MAX;
	if (milli < min || milli > max)
		return fail_range(schema, value, UNIT_MILLI, min, max);
	*ret_milli = milli;
	return 0;
}

static void print_scaled(struct buf *buf, const struct suffix *suffixes, uint64_t number)
{
	const struct suffix *best = NULL;

	for (const struct suffix *suffix = suffixes; suffix->text; suffix++)
		if (number && number % suffix->factor == 0)
			best = suffix;
	buf_printf(buf, "%llu%s", (unsigned long long)(best ? number / best->factor : number),
		   best ? best->text : "");
}

/* 1500 → 1.5, 10 → 0.01 */
static void print_milli(struct buf *buf, uint64_t number)
{
	unsigned fraction = (unsigned)(number % 1000);
	int places = 3;

	buf_printf(buf, "%llu", (unsigned long long)number / 1000);
	if (!fraction)
		return;
	for (; fraction % 10 == 0; fraction /= 10)
		places--;
	buf_printf(buf, ".%0*u", places, fraction);
}

void scalar_print(struct buf *buf, enum field_unit unit, uint64_t number)
{
	switch (unit) {
	case UNIT_BYTES:
		print_scaled(buf, byte_suffixes, number);
		break;
	case UNIT_MS:
		print_scaled(buf, ms_suffixes, number);
		break;
	case UNIT_MILLI:
		print_milli(buf, number);
		break;
	case UNIT_NONE:
	case UNIT_COUNT:
		buf_printf(buf, "%llu", (unsigned long long)number);
		break;
	}
}
