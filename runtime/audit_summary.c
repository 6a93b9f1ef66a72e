/* SPDX-License-Identifier: Apache-2.0
 *
 * The last line of a run in which something was refused. Runs in: the launcher.
 *
 * Host, path, method and reason were chosen inside the bottle. They are printed escaped; and a
 * command line is proposed only when every character of it is one that no shell minds, since the
 * agent would like nothing better than to have the caller paste its words.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "config/check.h"
#include "runtime/audit.h"

enum { SHOWN_MAX = 160 };

static bool is_plain(const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "._-/@%+:,";

	return text[0] && text[0] != '-' && strspn(text, plain) == strlen(text);
}

/* With `--allow` a port other than 443 is said. */
static void put_port(struct buf *out, int port)
{
	if (port && port != 443)
		buf_printf(out, ":%d", port);
}

/* Without -f `--allow` would have the manifest that was found not read, and its other routes gone. */
static void put_allow(struct buf *out, const char *found)
{
	buf_puts(out, "; to allow it: ");
	if (found && is_plain(found))
		buf_printf(out, "-f %s ", found);
	else if (found)
		buf_puts(out, "-f MANIFEST ");
	buf_puts(out, "--allow ");
}

static void hint_host(struct buf *out, const struct audit_denial *first, const char *found)
{
	bool is_ipv6 = strchr(first->host, ':') != NULL;

	put_allow(out, found);
	buf_printf(out, is_ipv6 ? "'[%s]'" : "%s", first->host);
	put_port(out, first->port);
}

static void hint_path(struct buf *out, const struct audit_denial *first, const char *found)
{
	struct err unsaid;

	/* Many a path that is sent is none that a route may have: with a %XX, or with a dot segment. */
	if (!is_plain(first->path) || check_url_path(first->path, &unsaid) < 0)
		return;
	hint_host(out, first, found);
	buf_puts(out, first->path);
}

static void hint_method(struct buf *out, const struct audit_denial *first, const char *found)
{
	struct err unsaid;

	(void)found;
	if (is_plain(first->method) && check_method(first->method, &unsaid) == 0)
		buf_printf(out, "; to allow it: add %s to `methods` of the route for %s",
			   first->method, first->host);
}

static void hint_git_push(struct buf *out, const struct audit_denial *first, const char *found)
{
	(void)found;
	buf_printf(out, "; to allow it: `git: {push: true}` on the route for %s", first->host);
}

static void hint_private(struct buf *out, const struct audit_denial *first, const char *found)
{
	(void)found;
	buf_printf(out, "; to allow it: `allow_private: true` on the route for %s", first->host);
}

static void hint_tls(struct buf *out, const struct audit_denial *first, const char *found)
{
	(void)found;
	buf_printf(out, "; use https://%s/", first->host);
}

static const struct {
	const char *reason;
	void (*put)(struct buf *out, const struct audit_denial *first, const char *found);
} hints[] = {
	{ "host_not_allowed", hint_host },     { "not_routed", hint_host },
	{ "port_not_allowed", hint_host },     { "path_not_allowed", hint_path },
	{ "method_not_allowed", hint_method }, { "git_push", hint_git_push },
	{ "auth_needs_tls", hint_tls },	       { "private_address", hint_private },
};

static void put_hint(struct buf *out, const struct audit_denial *first, const char *found)
{
	if (!is_plain(first->host))
		return;
	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if (strcmp(first->reason, hints[i].reason) == 0)
			hints[i].put(out, first, found);
}

static void put_shown(struct buf *out, const char *before, const char *text)
{
	char shown[SHOWN_MAX];

	if (text[0]) {
		buf_puts(out, before);
		buf_puts(out, str_escape(shown, sizeof(shown), text, strlen(text)));
	}
}

static void put_first(struct buf *out, const struct audit_denial *first)
{
	buf_puts(out, "; first:");
	put_shown(out, " ", first->method);
	if (first->path[0]) {
		put_shown(out, first->port == 80 ? " http://" : " https://", first->host);
		if (first->port && first->port != 443 && first->port != 80)
			buf_printf(out, ":%d", first->port);
		put_shown(out, "", first->path);
	} else {
		put_shown(out, " ", first->host);
		if (first->port)
			buf_printf(out, ":%d", first->port);
	}
	put_shown(out, " (", first->reason);
	if (first->reason[0])
		buf_puts(out, ")");
}

bool audit_summary_line(const struct audit *audit, const char *found, char *out, size_t out_size)
{
	struct buf line = { 0 };

	if (out_size)
		out[0] = '\0';
	if (!audit->denied && !audit->lost)
		return false;
	if (audit->denied) {
		buf_printf(&line, "%" PRIu64 " request%s refused", audit->denied,
			   audit->denied == 1 ? "" : "s");
		put_first(&line, &audit->first);
		put_hint(&line, &audit->first, found);
	}
	if (audit->lost)
		buf_printf(&line, "%s%" PRIu64 " audit record%s lost", audit->denied ? "; " : "",
			   audit->lost, audit->lost == 1 ? "" : "s");
	if (!line.failed)
		snprintf(out, out_size, "%s", line.data);
	buf_clear(&line);
	return true;
}
