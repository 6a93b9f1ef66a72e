# SPDX-License-Identifier: Apache-2.0
"""Paths: what a rule is compared with, and what makes a path ambiguous.

Pure. A server behind the proxy may percent-decode once, twice or not at all, and the proxy cannot
know which. So a path has several forms (as sent, decoded, decoded again, …) and each of them must
be free of tricks and must match; what is sent on is the path as it came.
"""

import re

MAX_DECODINGS = 8  # a client that encodes more often than this means no good

ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
NOT_URI_BYTE = re.compile(rb"[^\x21-\x7e]")
CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
# Up to a `;` (parameters), and up to a `?` or `#` that only a decoding brought: a server that cuts
# there after decoding has the dots at the end.
DOT_SEGMENT = re.compile(rb"(?:^|/)\.\.?(?:[/;?#]|\Z)")
# Lead bytes that valid UTF-8 never has: the overlong spellings of `.`, `/` and `\`.
OVERLONG = re.compile(rb"[\xc0\xc1]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]")


class BadPath(ValueError):
    pass


def decode_once(raw):
    return ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), raw)


def decodings(raw):
    """`raw` and each further decoding of it, until it no longer changes."""
    forms = [raw]
    while (decoded := decode_once(forms[-1])) != forms[-1]:
        if len(forms) > MAX_DECODINGS:
            raise BadPath("percent-encoded too often")
        forms.append(decoded)
    return forms


def _check_form(form):
    if CONTROL.search(form):
        raise BadPath("a control character")
    if b"\\" in form:
        raise BadPath("a backslash")
    if OVERLONG.search(form):
        raise BadPath("an overlong UTF-8 sequence")
    if DOT_SEGMENT.search(form):
        raise BadPath("a dot segment")


def split_target(target):
    """A request's target in origin form. → (path, query or None); refuses what is no URI."""
    if NOT_URI_BYTE.search(target):
        raise BadPath("a byte that no URI has")
    if b"#" in target:
        raise BadPath("a fragment")
    path, mark, query = target.partition(b"?")
    return path, query if mark else None


def path_forms(path):
    """All forms of a path that begins with `/`, each free of tricks."""
    if not path.startswith(b"/"):
        raise BadPath("no `/` at its start")
    if BROKEN_ESCAPE.search(path):
        raise BadPath("a broken percent-escape")
    forms = decodings(path)
    for form in forms:
        _check_form(form)
    return forms


def rule_matches(rule, form):
    """`/a` matches `/a` and what lies below, `/a/` only what lies below."""
    if rule.endswith(b"/"):
        return form.startswith(rule)
    return form == rule or form.startswith(rule + b"/")


def allowed(rules, forms):
    """Every form must match some rule; no rules allow every path."""
    return not rules or all(any(rule_matches(rule, form) for rule in rules) for form in forms)


def is_git_push(forms, query):
    """Whether any reading of path and query is one of the two requests of a `git push`."""
    for form in forms:
        path, _, inner_query = form.partition(b"?")  # from a %3f, which a second reader may split at
        segments = [part.split(b";", 1)[0].lower() for part in path.split(b"/")]
        segments = [part for part in segments if part]
        if segments[-1:] == [b"git-receive-pack"]:
            return True
        if segments[-2:] == [b"info", b"refs"] and _asks_receive_pack((query or b"") + b"&" + inner_query):
            return True
    return False


def _asks_receive_pack(query):
    for form in decodings(query):
        for pair in re.split(rb"[&;?]", form.replace(b"+", b" ").lower()):
            name, _, value = pair.partition(b"=")
            if name.strip() == b"service" and value.strip() == b"git-receive-pack":
                return True
    return False


def query_names(query):
    """The names in a query, for the log; a pair without `=` could be a secret and is hidden."""
    if not query:
        return []
    pairs = query.split(b"&")
    return [name.decode("latin-1") if eq else "*" for name, eq, _ in (p.partition(b"=") for p in pairs)]
