/* SPDX-License-Identifier: Apache-2.0
 * Checks of hosts, addresses and the upstream proxy's URL; see check.h. Runs in: launcher, proxy.
 *
 * A host here is what the gate compares and dials and what the proxy compares with SNI and Host, so
 * there must be one spelling for each: lower case, A-labels, no final dot, no number that a
 * resolver would take for an address (127.1, 0x7f.1). */
#include "config/check.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

static int no_memory(struct err *err)
{
	return err_sys(err, ENOMEM, "host");
}

/* -EINVAL for an IPv4 address that no route may have. */
static int check_v4(const char *text, uint32_t address, struct err *err)
{
	if ((address & 0xfffe0000) == 0xc6120000)
		return err_set(err, EINVAL,
			       "'%s' lies in 198.18.0.0/15, where the gate's own addresses are",
			       text);
	if (address >> 24 == 0 || address >> 28 == 0xe || address == 0xffffffff)
		return err_set(err, EINVAL, "'%s' is no address of one host", text);
	return 0;
}

static int check_v6(const char *text, const struct in6_addr *address, struct err *err)
{
	if (IN6_IS_ADDR_V4MAPPED(address))
		return err_set(err, EINVAL,
			       "'%s' is an IPv4 address in IPv6's clothes; write %u.%u.%u.%u", text,
			       address->s6_addr[12], address->s6_addr[13], address->s6_addr[14],
			       address->s6_addr[15]);
	if (IN6_IS_ADDR_UNSPECIFIED(address) || IN6_IS_ADDR_MULTICAST(address))
		return err_set(err, EINVAL, "'%s' is no address of one host", text);
	return 0;
}

/* An IP literal in canonical form. 1 and *ret_literal when `text` is one, 0 when not, -EINVAL. */
static int parse_literal(const char *text, char **ret_literal, struct err *err)
{
	struct in6_addr v6;
	struct in_addr v4;
	char canonical[INET6_ADDRSTRLEN];

	if (inet_pton(AF_INET, text, &v4) == 1) {
		TRY(check_v4(text, ntohl(v4.s_addr), err));
		inet_ntop(AF_INET, &v4, canonical, sizeof(canonical));
	} else if (inet_pton(AF_INET6, text, &v6) == 1) {
		TRY(check_v6(text, &v6, err));
		inet_ntop(AF_INET6, &v6, canonical, sizeof(canonical));
	} else {
		return 0;
	}
	*ret_literal = strdup(canonical);
	return *ret_literal ? 1 : no_memory(err);
}

/* Says what is wrong with a host that is more than a host. */
static int refuse_decorated(const char *text, struct err *err)
{
	/* First, since each of the others shows the text. */
	if (strchr(text, '@'))
		return err_set(err, EINVAL, "a host has no user and password before it");
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c >= 0x80)
			return err_set(err, EINVAL,
				       "'%s' is not ASCII; write the name in its xn-- form",
				       quote(text).text);
	if (strstr(text, "://"))
		return err_set(err, EINVAL, "'%s' is a URL; write the host alone",
			       quote(text).text);
	if (strchr(text, '/'))
		return err_set(err, EINVAL,
			       "'%s' has a path or mask; write the host alone, and paths in "
			       "path_allowlist",
			       quote(text).text);
	if (*text == '[')
		return err_set(err, EINVAL, "'%s': write an IPv6 address without brackets",
			       quote(text).text);
	if (strchr(text, '%'))
		return err_set(err, EINVAL, "'%s': an address with a zone is not allowed",
			       quote(text).text);
	if (strchr(text, ':'))
		return err_set(
			err, EINVAL,
			"'%s' is neither a host nor an IPv6 address; write a port in 'ports'",
			quote(text).text);
	return 0;
}

static int check_label(const char *name, const char *label, size_t len, struct err *err)
{
	if (!len)
		return err_set(err, EINVAL, "'%s' has an empty part between its dots",
			       quote(name).text);
	if (len > 63)
		return err_set(err, EINVAL, "'%s' has a part longer than 63 bytes",
			       quote(name).text);
	if (label[0] == '-' || label[len - 1] == '-')
		return err_set(err, EINVAL, "'%s' has a part that begins or ends with '-'",
			       quote(name).text);
	for (size_t i = 0; i < len; i++) {
		if (label[i] == '*')
			return err_set(err, EINVAL,
				       "'%s': a * stands only alone and first, as in *.example.com",
				       quote(name).text);
		/* '_' is no host name's letter by RFC 1123, but hosts with one exist. */
		if (!isalnum((unsigned char)label[i]) && label[i] != '-' && label[i] != '_')
			return err_set(err, EINVAL, "'%s' has a byte that no host name has: 0x%02x",
				       quote(name).text, (unsigned char)label[i]);
	}
	return 0;
}

/* Resolvers take a name whose last part is a number for an IPv4 address in one of its many
 * forms. */
static bool ends_in_number(const char *name)
{
	const char *last = strrchr(name, '.');

	last = last ? last + 1 : name;
	if (last[0] == '0' && (last[1] == 'x' || last[1] == 'X'))
		return !last[2 + strspn(last + 2, "0123456789abcdefABCDEF")];
	return !last[strspn(last, "0123456789")];
}

static int check_labels(const char *whole, const char *name, size_t *ret_count, struct err *err)
{
	size_t count = 0;

	for (const char *label = name;; count++) {
		size_t len = strcspn(label, ".");

		TRY(check_label(whole, label, len, err));
		label += len;
		if (!*label++)
			break;
	}
	*ret_count = count + 1;
	return 0;
}

static int check_dns_name(const char *text, struct err *err)
{
	bool wildcard = str_starts(text, "*.");
	const char *name = wildcard ? text + 2 : text;
	size_t len = strlen(text), count;

	if (strcmp(text, "*") == 0)
		return err_set(
			err, EINVAL,
			"'*' would let everything through; name the hosts, or *.example.com");
	if (len > 1 && text[len - 1] == '.')
		return err_set(err, EINVAL, "'%s' must be written without the final dot",
			       quote(text).text);
	if (len > 253)
		return err_set(err, EINVAL, "'%s' is longer than 253 bytes", quote(text).text);
	TRY(check_labels(text, name, &count, err));
	if (ends_in_number(name))
		return err_set(
			err, EINVAL,
			"'%s' ends in a number, but is no IP address; write four numbers from 0 "
			"to 255 without leading zeros",
			quote(text).text);
	if (wildcard && count < 2)
		return err_set(err, EINVAL,
			       "'%s' is too wide; at least two parts must follow the *., as in "
			       "*.example.com",
			       quote(text).text);
	return 0;
}

int check_host(const char *text, char **ret_host, bool *ret_is_literal, struct err *err)
{
	char *host = NULL;
	int rc;

	if (!*text)
		return err_set(err, EINVAL, "is empty; write a host such as api.example.com");
	rc = parse_literal(text, &host, err);
	if (rc == 0) {
		TRY(refuse_decorated(text, err));
		TRY(check_dns_name(text, err));
		host = strdup(text);
		if (!host)
			return no_memory(err);
		for (char *c = host; *c; c++)
			*c = (char)tolower((unsigned char)*c);
	}
	if (rc < 0)
		return rc;
	*ret_host = host;
	*ret_is_literal = rc == 1;
	return 0;
}

int check_address(const char *text, char **ret_address, uint16_t *ret_port, struct err *err)
{
	cleanup_free char *bare = strdup(text);
	const char *port_text = NULL;
	uint16_t port = 0;
	char *colon;
	int rc;

	if (!bare)
		return no_memory(err);
	if (strchr(text, '@'))
		return err_set(err, EINVAL, "an address has no user and password before it");
	colon = strrchr(bare, ':');
	if (bare[0] == '[') {
		char *end = strchr(bare, ']');

		if (!end || (end[1] && end[1] != ':'))
			return err_set(err, EINVAL, "'%s' must be IP, IP:PORT or [IPV6]:PORT",
				       quote(text).text);
		port_text = end[1] ? end + 2 : NULL;
		*end = '\0';
		memmove(bare, bare + 1, strlen(bare));
	} else if (colon && strchr(bare, ':') == colon) {
		*colon = '\0';
		port_text = colon + 1;
	}
	if (port_text)
		TRY(check_port(port_text, &port, err));
	rc = parse_literal(bare, ret_address, err);
	if (rc == 0)
		return err_set(err, EINVAL,
			       "'%s' must be an IP address, with or without a port: 192.0.2.1, "
			       "192.0.2.1:8443, [2001:db8::1]:8443",
			       quote(text).text);
	TRY(rc);
	*ret_port = port;
	return 0;
}

/* Splits "host:port" or "[v6]:port" in place; false when there is no port. */
static bool split_authority(char *authority, char **ret_host, char **ret_port)
{
	char *colon = strrchr(authority, ':');
	char *end = strchr(authority, ']');

	if (!colon || (authority[0] == '[' && (!end || colon != end + 1)) ||
	    (authority[0] != '[' && strchr(authority, ':') != colon))
		return false;
	*colon = '\0';
	*ret_port = colon + 1;
	*ret_host = authority;
	if (authority[0] == '[') {
		*end = '\0';
		(*ret_host)++;
	}
	return true;
}

int check_proxy_url(const char *text, char **ret_host, uint16_t *ret_port, struct err *err)
{
	size_t skip = str_starts(text, "http://") ? 7 : str_starts(text, "https://") ? 8 : 0;
	cleanup_free char *authority = strdup(text + skip);
	char *host, *port;
	bool is_literal;
	size_t len;

	if (!authority)
		return no_memory(err);
	if (strchr(text, '@'))
		return err_set(
			err, EINVAL,
			"has a user or password in it (not shown); write them as 'auth' with a "
			"'token_ref'");
	if (!skip)
		return err_set(err, EINVAL, "'%s' must begin with http:// or https://",
			       quote(text).text);
	len = strlen(authority);
	if (len && authority[len - 1] == '/')
		authority[len - 1] = '\0';
	if (strpbrk(authority, "/?#"))
		return err_set(err, EINVAL, "'%s' must end after the port", quote(text).text);
	if (!split_authority(authority, &host, &port))
		return err_set(
			err, EINVAL,
			"'%s' names no port, and clients differ in what they take then; write "
			"http://HOST:PORT",
			quote(text).text);
	TRY(check_port(port, ret_port, err));
	if (str_starts(host, "*"))
		return err_set(err, EINVAL, "'%s' must name one host", quote(text).text);
	return check_host(host, ret_host, &is_literal, err);
}
