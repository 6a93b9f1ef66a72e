/* SPDX-License-Identifier: Apache-2.0
 *
 * Paths: what a rule is compared with, and what makes a path ambiguous. A server behind the proxy may
 * percent-decode once, twice or not at all, and the proxy cannot know which. So a path has several forms
 * (as sent, decoded, decoded again, …) and each of them must be free of tricks and must match; what is
 * sent on is the path as it came. rootfs/mitmproxy/egress_proxy/paths.py is the same in Python.
 */
#ifndef PROXY_PATH_H
#define PROXY_PATH_H

#include "base/err.h"
#include "base/str.h"
#include "proxy/message.h"

enum { PATH_DECODINGS_MAX = 8 }; /* a client that encodes more often than this means no good */

struct path_judgement {
	const char *problem; /* static: why this is no path, or NULL; then the rest counts */
	bool is_allowed;     /* every form matches some rule; no rules allow every path */
	bool is_git_push;    /* some reading is one of the two requests of a `git push` */
};

/* Judges a target in origin form. A rule `/a` matches `/a` and what lies below, `/a/` only what lies
 * below. 0 or -ENOMEM; no memory is taken for a target without a percent sign. */
int path_judge(struct span target, const struct strlist *rules,
	       struct path_judgement *ret) MUST_CHECK;

#endif
