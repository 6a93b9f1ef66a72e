# SPDX-License-Identifier: Apache-2.0
"""What a client is told when the proxy itself answers: JSON, and what to do about it.

Pure. Also sorts the errors that mitmproxy has only as sentences.
"""

import json
import re

ERRORS = {403: "egress_denied", 400: "bad_request", 421: "misdirected_request", 431: "bad_request"}
MAX_SHOWN = 1024

HINTS = {
    "host_not_allowed": "add `- host: {host}` under egress.routes in bottle.yaml",
    "port_not_allowed": "add {port} to `ports` of the route for {host}",
    "path_not_allowed": "add the path to path_allowlist of the route for {rule}",
    "method_not_allowed": "add the method to `methods` of the route for {rule}",
    "git_push": "set `git: {{push: true}}` on the route for {rule}",
    "auth_needs_tls": "use https://{host}/",
    "no_token": "set the variable that the route's token_ref names",
    "sni_mismatch": "send the TLS server name of the host that CONNECT named",
    "authority_mismatch": "name one host in URL, Host and CONNECT",
    "not_a_proxy_request": "send an absolute http:// URL, or CONNECT and then TLS",
}

UPSTREAM_ERRORS = (
    (re.compile(r"refused HTTP CONNECT request: (\d{3})"), "upstream_proxy_refused"),
    (re.compile(r"[Cc]ertificate verify failed"), "upstream_tls_verify"),
    (re.compile(r"does not speak TLS|OpenSSL|TLS"), "upstream_tls"),
    (re.compile(r"Name or service not known|No address associated|Temporary failure in name"
                r"|Errno -\d"), "upstream_dns"),
    (re.compile(r"stream reset by"), "upstream_closed"),
    (re.compile(r"refused|_address \(|never_dialled|unreachable|Connect call failed|timed out|reset"), "upstream_connect"),
    (re.compile(r"Cannot parse HTTP response|bad_response|unexpected server response"
                r"|HTTP/1 protocol error|HTTP/2"), "upstream_protocol"),
    (re.compile(r"closed|EOF|disconnect"), "upstream_closed"),
)  # fmt: skip


def sort_upstream_error(message):
    """A sentence of mitmproxy → (reason, status for the client)."""
    for pattern, reason in UPSTREAM_ERRORS:
        if match := pattern.search(message):
            refused = reason == "upstream_proxy_refused" and match[1] == "403"
            return reason, 403 if refused else 502
    return "upstream_error", 502


def _shown(text):
    return text if text is None else text[:MAX_SHOWN]


def body(status, reason, detail, host=None, port=None, path=None, rule=None):
    """The answer's JSON as bytes."""
    template = HINTS.get(reason)
    hint = template.format(host=host, port=port, rule=rule) if template else detail
    record = {
        "error": ERRORS.get(status, "upstream_failed"),
        "reason": reason,
        "host": _shown(host),
        "path": _shown(path),
        "hint": hint,
        "detail": detail,
    }
    return json.dumps(record).encode("ascii") + b"\n"


def raw_http1(status, phrase, payload):
    """A whole HTTP/1 answer, after which the connection closes."""
    head = (
        f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(payload)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode("ascii") + payload
