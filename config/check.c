/* SPDX-License-Identifier: Apache-2.0
 * Checks of names, tokens' places and paths; see check.h. check_host.c has those of hosts. Runs in:
 * launcher, proxy. */
#include "config/check.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "config/manifest.h"

/* No scheme that anybody means is longer, and no token is as short. */
enum { SCHEME_SHOWN_BYTES = 10 };

static const char digits[] = "0123456789";
static const char name_bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
static const char env_bytes[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
/* RFC 9110, 5.6.2 */
static const char token_bytes[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/* What runtime/ puts into the agent's environment so that it finds its proxy and its CA. */
const char *const manifest_reserved_env[] = {
	"HTTP_PROXY",
	"HTTPS_PROXY",
	"ALL_PROXY",
	"NO_PROXY",
	"http_proxy",
	"https_proxy",
	"all_proxy",
	"no_proxy",
	"NODE_USE_ENV_PROXY",
	"NODE_EXTRA_CA_CERTS",
	"DENO_CERT",
	"SSL_CERT_FILE",
	"CURL_CA_BUNDLE",
	"REQUESTS_CA_BUNDLE",
	"PIP_CERT",
	"GIT_SSL_CAINFO",
	"AWS_CA_BUNDLE",
	"CARGO_HTTP_CAINFO",
	"NIX_SSL_CERT_FILE",
	"CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
	NULL,
};

struct quoted quote(const char *text)
{
	struct quoted quoted;

	str_escape(quoted.text, sizeof(quoted.text), text, strlen(text));
	return quoted;
}

static bool only(const char *text, const char *bytes)
{
	return *text && !text[strspn(text, bytes)];
}

static bool listed(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(text, *words) == 0)
			return true;
	return false;
}

int check_port(const char *text, uint16_t *ret_port, struct err *err)
{
	unsigned long long port;

	if (str_to_u64(text, 1, 65535, &port) < 0 || text[0] == '0')
		return err_set(err, EINVAL, "'%s' is no port; a port is 1 to 65535",
			       quote(text).text);
	*ret_port = (uint16_t)port;
	return 0;
}

/* Whether a segment of the path is "." or "..", alone or before ';' (servers that know path
 * parameters drop what stands behind it and climb). */
static bool has_dot_segment(const char *path)
{
	while (*path) {
		size_t len = strcspn(path, "/");
		size_t bare = strcspn(path, "/;");

		if ((bare == 1 && path[0] == '.') ||
		    (bare == 2 && path[0] == '.' && path[1] == '.'))
			return true;
		path += len + (path[len] == '/');
	}
	return false;
}

/* Any byte that a request's path cannot hold, or that ends it. */
static int check_path_bytes(const char *text, struct err *err)
{
	for (const char *c = text; *c; c++) {
		if (*c == '?' || *c == '#')
			return err_set(
				err, EINVAL,
				"'%s' has a '%c'; only the path is compared, so end it there",
				quote(text).text, *c);
		if (*c == '*')
			return err_set(
				err, EINVAL,
				"'%s' has a '*', which is no wildcard here; '/a/' lets through "
				"all that lies below /a",
				quote(text).text);
		if (*c == '\\' || *c == ' ' || !isprint((unsigned char)*c))
			return err_set(
				err, EINVAL,
				"'%s' could never match: a request with this byte (0x%02x) in "
				"its path is refused",
				quote(text).text, (unsigned char)*c);
	}
	return 0;
}

/* The first '%' that no request can match, or NULL. `%2f` can, where another entry lets its decoded
 * form through: npm asks for /@scope%2fname. */
static const char *find_percent(const char *text)
{
	const char *at = strchr(text, '%');

	while (at && strncasecmp(at, "%2f", 3) == 0)
		at = strchr(at + 1, '%');
	return at;
}

int check_url_path(const char *text, struct err *err)
{
	const char *percent = find_percent(text);

	if (*text != '/')
		return err_set(err, EINVAL, "'%s' must begin with '/'", quote(text).text);
	if (strlen(text) > 2048)
		return err_set(err, EINVAL, "longer than 2048 bytes");
	TRY(check_path_bytes(text, err));
	if (percent) {
		/* What lies below the folder before the '%' is the nearest that can match. */
		while (*percent != '/')
			percent--;
		return err_set(err, EINVAL,
			       "'%s' could never match: a path must match as it is sent and with "
			       "every %%XX decoded; the nearest that can is '%.*s'",
			       quote(text).text, (int)(percent + 1 - text), text);
	}
	if (has_dot_segment(text))
		return err_set(
			err, EINVAL,
			"'%s' could never match: a request with '.' or '..' as a part of its "
			"path is refused",
			quote(text).text);
	return 0;
}

int check_method(const char *text, struct err *err)
{
	char upper[32];
	size_t len = strlen(text);

	if (strcmp(text, "*") == 0) /* a token to HTTP, but the method of no request */
		return err_set(err, EINVAL,
			       "'*' would match no request; leave the key out for every method");
	if (!only(text, token_bytes) || len >= sizeof(upper))
		return err_set(err, EINVAL, "'%s' is no HTTP method", quote(text).text);
	for (size_t i = 0; i <= len; i++)
		upper[i] = (char)toupper((unsigned char)text[i]);
	if (strcmp(upper, "TRACE") == 0)
		return err_set(err, EINVAL,
			       "TRACE is never let through: it echoes the credentials");
	if (strcmp(upper, "CONNECT") == 0)
		return err_set(
			err, EINVAL,
			"CONNECT opens every HTTPS connection and needs no mention; name the "
			"methods of the requests inside");
	if (strcmp(text, upper) != 0)
		return err_set(err, EINVAL, "'%s' must be in upper case: %s", quote(text).text,
			       upper);
	return 0;
}

/* Fields that frame the message, belong to one connection, or say which host is meant: a token in
 * one of them would change the request itself. */
static const char *const framing_headers[] = {
	"host",
	"content-length",
	"content-type",
	"content-encoding",
	"transfer-encoding",
	"connection",
	"keep-alive",
	"te",
	"trailer",
	"upgrade",
	"expect",
	"http2-settings",
	"via",
	"forwarded",
	"x-forwarded-for",
	"x-forwarded-host",
	"x-forwarded-proto",
	NULL,
};

int check_header(const char *text, char **ret_header, struct err *err)
{
	char *header;

	if (strpbrk(text, ": "))
		return err_set(
			err, EINVAL,
			"must be the header's name alone (the text is not shown: it may hold a "
			"token)");
	if (strlen(text) > 64)
		return err_set(err, EINVAL,
			       "is no header name (the text is not shown: it may be a token)");
	if (!only(text, token_bytes))
		return err_set(err, EINVAL, "'%s' is no header name", quote(text).text);
	header = strdup(text);
	if (!header)
		return err_sys(err, ENOMEM, "header");
	for (char *c = header; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (listed(header, framing_headers) || str_starts(header, "proxy-") ||
	    str_starts(header, "sec-")) {
		free(header);
		return err_set(err, EINVAL,
			       "'%s' belongs to the connection or the message's framing and cannot "
			       "carry a token",
			       quote(text).text);
	}
	*ret_header = header;
	return 0;
}

int check_scheme(const char *text, struct err *err)
{
	static const char *const schemes[] = { "Bearer", "token", "Basic", NULL };

	if (listed(text, schemes))
		return 0;
	if (strpbrk(text, ": ") || strlen(text) > SCHEME_SHOWN_BYTES)
		return err_set(
			err, EINVAL,
			"must be the scheme alone (the text is not shown: it may hold a token)");
	for (size_t i = 0; schemes[i]; i++)
		if (strcasecmp(text, schemes[i]) == 0)
			return err_set(err, EINVAL, "'%s' must be written '%s'", quote(text).text,
				       schemes[i]);
	return err_set(
		err, EINVAL,
		"'%s' is none of Bearer, token, Basic; for a header of its own, write 'header' "
		"in place of 'scheme'",
		quote(text).text);
}

static bool is_env_name(const char *text)
{
	return only(text, env_bytes) && !strchr(digits, *text) && strlen(text) <= 128;
}

int check_env_name(const char *text, struct err *err)
{
	if (!is_env_name(text))
		return err_set(err, EINVAL,
			       "'%s' is no name of an environment variable (letters, digits and _, "
			       "not beginning with a digit)",
			       quote(text).text);
	return 0;
}

static int refuse_slot_name(const char *text, struct err *err)
{
	if (str_starts(text, "EGRESS_PROXY_TOKEN_"))
		return err_set(err, EINVAL,
			       "'%s' is one of the names under which the proxy gets its tokens; "
			       "use another variable",
			       quote(text).text);
	return 0;
}

int check_agent_env_name(const char *text, struct err *err)
{
	TRY(check_env_name(text, err));
	if (listed(text, manifest_reserved_env))
		return err_set(
			err, EINVAL,
			"'%s' is set by bottle, so that the agent finds its proxy and trusts "
			"its CA; leave it out",
			quote(text).text);
	return refuse_slot_name(text, err);
}

/* Beginnings of well-known tokens that are also valid names of variables. */
static bool looks_like_token(const char *text)
{
	static const char *const beginnings[] = { "ghp_",	 "gho_", "ghu_", "ghs_",  "ghr_",
						  "github_pat_", "hf_",	 "npm_", "pypi_", NULL };

	for (size_t i = 0; beginnings[i]; i++)
		if (str_starts(text, beginnings[i]) && strlen(text) >= 20)
			return true;
	return false;
}

int check_token_ref(const char *text, struct err *err)
{
	if (!is_env_name(text) || looks_like_token(text))
		return err_set(
			err, EINVAL,
			"not the name of an environment variable, such as API_TOKEN (the text is "
			"not shown: it may be the token itself, which must not stand here)");
	return refuse_slot_name(text, err);
}

int check_name(const char *text, struct err *err)
{
	if (!only(text, name_bytes) || *text == '-' || strlen(text) > 41)
		return err_set(err, EINVAL,
			       "'%s' is no bottle's name: 1 to 41 of a-z, 0-9 and -, not beginning "
			       "with -",
			       quote(text).text);
	return 0;
}

int check_hostname(const char *text, struct err *err)
{
	size_t len = strlen(text);

	if (!only(text, name_bytes) || *text == '-' || len > 63 || text[len - 1] == '-')
		return err_set(err, EINVAL,
			       "'%s' is no host name: 1 to 63 of a-z, 0-9 and -, not beginning or "
			       "ending with -",
			       quote(text).text);
	if (strcmp(text, "egress-proxy") == 0 || strcmp(text, "localhost") == 0)
		return err_set(err, EINVAL, "'%s' already means another host inside the bottle",
			       text);
	return 0;
}

int check_image(const char *text, struct err *err)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	static const char more[] = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "._-/:@";

	if (!*text || !strchr(first, *text) || !only(text, more) || strlen(text) > 255 ||
	    strstr(text, "..") || strstr(text, "//"))
		return err_set(err, EINVAL, "'%s' is no image; write NAME[:TAG] or sha256:DIGEST",
			       quote(text).text);
	return 0;
}
