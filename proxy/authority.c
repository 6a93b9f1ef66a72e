/* SPDX-License-Identifier: Apache-2.0
 *
 * Names and ports in their one form; see authority.h. Runs in: the proxy's worker. Pure: bytes in,
 * values or a refusal out. Holds: nothing.
 *
 * inet_pton(3) reads IPv4 as four decimal octets without leading zeros and IPv6 without a zone, which
 * is all that is accepted here. IPv6 is written by our own hand: inet_ntop(3) gives the mapped
 * addresses a dotted tail, and RFC 5952, section 5, leaves that open; one form is enough.
 */
#include "proxy/authority.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { NAME_MAX_BYTES = 253, LABEL_MAX_BYTES = 63, HEXTETS = 8, PORT_DIGITS = 5 };

static int refuse(const char **ret_problem, const char *sentence)
{
	*ret_problem = sentence;
	return -EINVAL;
}

/* Reads an IP literal of either family into network[], or fails. */
static int read_literal(int family, struct span text, void *network)
{
	char copy[INET6_ADDRSTRLEN];

	if (text.len >= sizeof(copy) || memchr(text.at, '\0', text.len))
		return -EINVAL;
	memcpy(copy, text.at, text.len);
	copy[text.len] = '\0';
	return inet_pton(family, copy, network) == 1 ? 0 : -EINVAL;
}

struct run {
	int start, len;
};

/* The first of the longest runs of two or more zeros (RFC 5952, 4.2). */
static struct run longest_zeros(const uint16_t hextets[static HEXTETS])
{
	struct run best = { -1, 1 }, run = { 0, 0 };

	for (int i = 0; i < HEXTETS; i++) {
		run = hextets[i] ? (struct run){ i + 1, 0 }
				 : (struct run){ run.start, run.len + 1 };
		if (run.len > best.len)
			best = run;
	}
	return best;
}

static void write_ipv6(const uint8_t network[static 16], char out[static HOST_BYTES])
{
	uint16_t hextets[HEXTETS];
	size_t len = 0;

	for (int i = 0; i < HEXTETS; i++)
		hextets[i] = (uint16_t)(network[2 * i] << 8 | network[2 * i + 1]);
	struct run zeros = longest_zeros(hextets);
	for (int i = 0; i < HEXTETS; i++) {
		if (i == zeros.start) {
			out[len++] = ':';
			i += zeros.len - 1;
			if (i == HEXTETS - 1)
				out[len++] = ':';
			continue;
		}
		len += (size_t)snprintf(out + len, HOST_BYTES - len, "%s%x", i ? ":" : "",
					hextets[i]);
	}
	out[len] = '\0';
}

static int canonical_ipv6(struct span text, char out[static HOST_BYTES], const char **ret_problem)
{
	uint8_t network[16];

	if (memchr(text.at, '%', text.len))
		return refuse(ret_problem, "an IPv6 address with a zone");
	if (read_literal(AF_INET6, text, network) < 0)
		return refuse(ret_problem, "no IPv6 address");
	write_ipv6(network, out);
	return 0;
}

/* inet_pton(3) knows one spelling of each IPv4 address, so the text is its own canonical form. */
static int canonical_ipv4(struct span text, char out[static HOST_BYTES], const char **ret_problem)
{
	uint8_t network[4];

	if (read_literal(AF_INET, text, network) < 0)
		return refuse(ret_problem, "no IPv4 address in dotted form");
	memcpy(out, text.at, text.len);
	out[text.len] = '\0';
	return 0;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Whether a label makes browsers and libcs read the name as an IPv4 address: digits, or 0x… */
static bool is_number(const char *label, size_t len)
{
	bool is_hex = len >= 2 && label[0] == '0' && lower(label[1]) == 'x';

	for (size_t i = is_hex ? 2 : 0; i < len; i++) {
		char c = lower(label[i]);
		if (!is_digit(c) && !(is_hex && c >= 'a' && c <= 'f'))
			return false;
	}
	return len > 0;
}

/* Copies one label, lower case: letters, digits and `_`, and `-` where it is neither first nor last.
 * Returns its length, 0 when it is none. */
static size_t copy_label(const char *at, const char *end, char *out)
{
	size_t len = 0;

	for (; at + len < end && at[len] != '.'; len++) {
		char c = lower(at[len]);
		if (!is_digit(c) && !(c >= 'a' && c <= 'z') && c != '_' && c != '-')
			return 0;
		out[len] = c;
	}
	if (!len || len > LABEL_MAX_BYTES || out[0] == '-' || out[len - 1] == '-')
		return 0;
	return len;
}

static int canonical_name(struct span text, char out[static HOST_BYTES], const char **ret_problem)
{
	const char *at = text.at, *end = text.at + text.len;

	if (text.len > NAME_MAX_BYTES)
		return refuse(ret_problem, "no host name in ASCII form");
	for (;;) {
		size_t len = copy_label(at, end, out);
		if (!len)
			return refuse(ret_problem, "no host name in ASCII form");
		at += len;
		out += len;
		if (at == end)
			break;
		at++;
		*out++ = '.';
	}
	*out = '\0';
	return 0;
}

static int canonical_host(struct span text, char out[static HOST_BYTES], const char **ret_problem)
{
	if (text.len >= 2 && text.at[0] == '[' && text.at[text.len - 1] == ']') {
		text = (struct span){ text.at + 1, text.len - 2 };
		if (!memchr(text.at, ':', text.len))
			return refuse(ret_problem, "brackets hold an IPv6 address");
	}
	if (!text.len)
		return refuse(ret_problem, "no host name in ASCII form");
	if (memchr(text.at, ':', text.len))
		return canonical_ipv6(text, out, ret_problem);
	const char *dot = memrchr(text.at, '.', text.len);
	const char *last = dot ? dot + 1 : text.at;
	if (is_number(last, (size_t)(text.at + text.len - last)))
		return canonical_ipv4(text, out, ret_problem);
	return canonical_name(text, out, ret_problem);
}

int authority_canonical_host(struct span text, char out[static HOST_BYTES])
{
	const char *problem;

	return canonical_host(text, out, &problem);
}

/* `:1` to `:65535`, without leading zeros. Returns 0 when it is none. */
static uint16_t read_port(struct span rest)
{
	unsigned port = 0;

	if (rest.len < 2 || rest.len > 1 + PORT_DIGITS || rest.at[0] != ':' || rest.at[1] == '0')
		return 0;
	for (size_t i = 1; i < rest.len; i++) {
		if (!is_digit(rest.at[i]))
			return 0;
		port = port * 10 + (unsigned)(rest.at[i] - '0');
	}
	return port <= UINT16_MAX ? (uint16_t)port : 0;
}

/* How many bytes of an authority are its host: up to the `]`, or up to the first `:`. */
static size_t host_len(struct span raw)
{
	if (raw.len && raw.at[0] == '[') {
		const char *end = memchr(raw.at, ']', raw.len);
		return end ? (size_t)(end + 1 - raw.at) : 0;
	}
	const char *colon = raw.len ? memchr(raw.at, ':', raw.len) : NULL;
	return colon ? (size_t)(colon - raw.at) : raw.len;
}

static bool is_ascii(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.at[i] & 0x80)
			return false;
	return true;
}

int authority_parse_or_say(struct span raw, struct authority *ret, const char **ret_problem)
{
	struct span host = { raw.at, host_len(raw) };
	struct authority parsed;

	if (!host.len)
		return refuse(ret_problem, "no host");
	parsed.port = read_port((struct span){ raw.at + host.len, raw.len - host.len });
	if (host.len < raw.len && !parsed.port)
		return refuse(ret_problem, "no port between 1 and 65535 after the host");
	if (!is_ascii(host))
		return refuse(ret_problem, "a host with bytes beyond ASCII");
	TRY(canonical_host(host, parsed.host, ret_problem));
	*ret = parsed;
	return 0;
}

size_t authority_render(const struct authority *authority, bool is_https, char *out, size_t size)
{
	bool is_literal = strchr(authority->host, ':');
	bool has_port = authority->port && authority->port != (is_https ? 443 : 80);
	char port[sizeof(":65535")] = "";

	if (has_port)
		snprintf(port, sizeof(port), ":%u", authority->port);
	int len = snprintf(out, size, "%s%s%s%s", is_literal ? "[" : "", authority->host,
			   is_literal ? "]" : "", port);
	return len > 0 ? (size_t)len : 0;
}
